"""The lists of the simulated account (vendor sheet §8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.testing.simulator import Table
from syncline_hubspot.simulator.portal import Portal, RefusedWrite, printed
from syncline_hubspot.simulator.schema import OBJECT_IDS

__all__ = ["Lists"]

_TYPES: Final = ("MANUAL", "DYNAMIC", "SNAPSHOT")


class Lists:
    """Lists and who is in them."""

    def __init__(self, portal: Portal, table: Table) -> None:
        self._portal = portal
        self._table = table
        self.new_spelling = False
        """Whether `recordIdsAdded` is spelled as a newer page of the documentation has it."""

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        name, type_id, processing = body.get("name"), body.get("objectTypeId"), body.get("processingType")
        if not name or type_id not in OBJECT_IDS.values() or processing not in _TYPES:
            raise RefusedWrite("VALIDATION_ERROR", "name, objectTypeId and processingType are needed")
        if processing == "DYNAMIC" and not body.get("filterBranch"):
            raise RefusedWrite("VALIDATION_ERROR", "DYNAMIC lists need a filterBranch")
        if any(row["name"] == name for row in self._table.values()):
            raise RefusedWrite("VALIDATION_ERROR", f"A list with the name '{name}' already exists.")
        id = self._portal.new_id("lists")
        moment = printed(self._portal.stamp())
        self._table[id] = {
            "listId": id,
            "name": name,
            "objectTypeId": type_id,
            "processingType": processing,
            "createdAt": moment,
            "updatedAt": moment,
            "members": {},
        }
        return self.shown(id)

    def shown(self, id: str) -> dict[str, Any]:
        """As recorded (hubspot-api-ruby, create_list)."""
        row = self._row(id)
        told = {n: row[n] for n in ("listId", "name", "objectTypeId", "processingType", "createdAt", "updatedAt")}
        return told | {
            "listVersion": 1,
            "filtersUpdatedAt": row["createdAt"],
            "processingStatus": "COMPLETE",
            "createdById": "88842095",
            "updatedById": "88842095",
        }

    def named(self, type_id: str, name: str) -> dict[str, Any]:
        for id, row in self._table.items():
            if row["name"] == name and row["objectTypeId"] == type_id:
                return self.shown(id)
        raise RefusedWrite("OBJECT_NOT_FOUND", f"List does not exist with name {name}.", status=404)

    def delete(self, id: str) -> None:
        self._row(id)
        del self._table[id]

    def found(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A page of a search by name."""
        text = str(body.get("query") or "").lower()
        count, offset = min(int(body.get("count") or 20), 500), int(body.get("offset") or 0)
        ids = [id for id, row in self._table.items() if text in row["name"].lower()]
        shown = [self.shown(id) for id in ids[offset : offset + count]]
        end = offset + len(shown)
        return {"lists": shown, "hasMore": end < len(ids), "offset": end, "total": len(ids)}

    def change(self, id: str, add: Sequence[str], remove: Sequence[str]) -> dict[str, list[str]]:
        """Who went in and out; those who were in, or out, already are not mentioned."""
        row = self._row(id)
        if row["processingType"] == "DYNAMIC":
            raise RefusedWrite("VALIDATION_ERROR", f"List {id} is DYNAMIC; its memberships cannot be changed")
        members: dict[str, str] = row["members"]
        there = self._there(row, add)
        missing = [given for given in (*add, *remove) if self._resolved(row, given) is None]
        moment = printed(self._portal.stamp())
        added = [given for given, record in there.items() if record not in members]
        removed = [given for given, record in self._there(row, remove).items() if record in members]
        members.update({there[given]: moment for given in added})
        for given in removed:
            del members[self._there(row, [given])[given]]
        self._table.save(id)
        key = "recordIdsAdded" if self.new_spelling else "recordsIdsAdded"
        answer = {key: added, "recordIdsRemoved": removed, "recordIdsMissing": list(dict.fromkeys(missing))}
        return {name: ids for name, ids in answer.items() if ids}  # recorded answers leave out what is empty

    def members(self, id: str, limit: int, after: str) -> dict[str, Any]:
        rows = sorted(self._row(id)["members"].items(), key=lambda item: int(item[0]))
        rest = [(record, moment) for record, moment in rows if int(record) > int(after or 0)]
        page = [{"recordId": record, "membershipTimestamp": moment} for record, moment in rest[:limit]]
        answer: dict[str, Any] = {"results": page, "total": len(rows)}
        if len(rest) > limit:
            answer["paging"] = {"next": {"after": page[-1]["recordId"]}}
        return answer

    def _there(self, row: Mapping[str, Any], ids: Sequence[str]) -> dict[str, str]:
        """Given id → id of the living record."""
        return {given: record for given in ids if (record := self._resolved(row, given)) is not None}

    def _resolved(self, row: Mapping[str, Any], id: str) -> str | None:
        object = next(name for name, type_id in OBJECT_IDS.items() if type_id == row["objectTypeId"])
        record = self._portal.row(object, id)
        return record["id"] if record else None

    def _row(self, id: str) -> dict[str, Any]:
        if id not in self._table:
            raise RefusedWrite("OBJECT_NOT_FOUND", f"List does not exist with ID {id}.", status=404)
        return self._table[id]
