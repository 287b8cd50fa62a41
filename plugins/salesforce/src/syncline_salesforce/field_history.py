"""Who changed which field, where the org keeps field history (LeadHistory, ContactHistory, …).

A describe names the history object as a child called `Histories`; where none is kept there is none, and nothing is
asked. The newest rows come first, and some thousand must do: what is older than those is left out, and of such a field
the record's last change is what is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from syncline.errors import AuthError, ConnectorError, TransientError
from syncline.model import Edit, Writer
from syncline_salesforce.client import Client
from syncline_salesforce.payloads import ChildRelationship
from syncline_salesforce.values import parse_datetime, quoted, soql_datetime

__all__ = ["FieldHistory", "HistoryObject", "Who", "history_of"]

_log = logging.getLogger("syncline.salesforce")

_IDS_A_QUERY: Final = 200  # of 18 characters and some: well below the 16,384 of an address (vendor sheet §4)

_MOST_ROWS: Final = 2_000  # one page, as a rule; some are shorter (vendor sheet §7.1)
_MOST_PAGES: Final = 10

_CAUTION: Final[tuple[Writer, ...]] = ("person", "system", "unknown", "us")
"""Of several who changed a field in the same second, whom to name: what a person did is not to be taken for ours."""

Who = Callable[[Mapping[str, Any], str], tuple[Writer, str | None]]
"""Writer and name, from a row and what the row calls them (`CreatedBy`, `LastModifiedBy`)."""


@dataclass(frozen=True, slots=True)
class HistoryObject:
    """`LeadHistory`, and its field `LeadId` that names the record."""

    name: str
    parent: str


def history_of(children: Sequence[ChildRelationship]) -> HistoryObject | None:
    """The history object of a describe; None where none is kept."""
    return next((HistoryObject(c.object, c.field) for c in children if c.name == "Histories" and c.field), None)


@dataclass(slots=True)
class FieldHistory:
    """The history of one object during one read. `since` is from when on changes are read."""

    client: Client
    of: HistoryObject
    fields: Sequence[str]
    since: datetime
    who: Who
    _refused: bool = False
    _others: set[str] | None = None

    def edits(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Edit]]:
        """Record id → field → its last change, for rows of one page; empty where the history cannot be read.

        One call for up to 200 records. For more, one that says whom others than us have changed, and then one for each
        200 of those: after a large write of ours that is one call, not one for each 200 that we wrote.
        """
        living = [row for row in rows if not row.get("IsDeleted") and not self._refused]
        try:
            chosen = living if len(living) <= _IDS_A_QUERY else self._changed_by_others(living)
            found: dict[str, dict[str, Edit]] = {}
            for start in range(0, len(chosen), _IDS_A_QUERY):
                found |= self._read([row["Id"] for row in chosen[start : start + _IDS_A_QUERY]])
        except (AuthError, TransientError):
            raise
        except ConnectorError as error:
            self._refused = True
            _log.info("%s cannot be read, so single fields have no known writer: %s", self.of.name, error)
            return {}
        return found

    def _changed_by_others(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if self._others is None:
            since, us = soql_datetime(self.since), quoted(self.client.token.user_id)
            found, whole = self._newest(f"CreatedDate > {since} AND CreatedById != {us}", self.of.parent)
            if not whole:
                return list(rows)  # too many to be listed: any may be one
            self._others = {row[self.of.parent][:15] for row in found}
        us_15 = self.client.token.user_id[:15]
        return [r for r in rows if r["Id"][:15] in self._others or (r.get("LastModifiedById") or "")[:15] != us_15]

    def _read(self, ids: Sequence[str]) -> dict[str, dict[str, Edit]]:
        columns = f"{self.of.parent}, Field, CreatedDate, CreatedById, CreatedBy.Name, CreatedBy.UserType"
        rows, _ = self._newest(f"{self.of.parent} IN ({', '.join(map(quoted, ids))})", columns)
        # References are tracked under the name of their relationship: Owner for OwnerId.
        names = {name.removesuffix("Id"): name for name in self.fields} | {name: name for name in self.fields}
        found: dict[str, dict[str, Edit]] = {}
        for row in rows:
            if name := names.get(row["Field"]):
                edits = found.setdefault(row[self.of.parent], {})
                edits[name] = _later(edits.get(name), self._edit(row))
        return found

    def _newest(self, where: str, columns: str) -> tuple[list[dict[str, Any]], bool]:
        """Rows, the newest first, and whether they are all."""
        query = f"SELECT {columns} FROM {self.of.name} WHERE {where} ORDER BY CreatedDate DESC, Id DESC"  # noqa: S608  # quoted
        page = self.client.query(query)
        rows = list(page.records)
        for _ in range(_MOST_PAGES - 1):
            if page.done or not page.next_url or len(rows) >= _MOST_ROWS:
                break
            page = self.client.query_more(page.next_url)
            rows += page.records
        return rows, page.done

    def _edit(self, row: Mapping[str, Any]) -> Edit:
        by, name = self.who(row, "CreatedBy")
        return Edit(parse_datetime(row["CreatedDate"]), by, name)


def _later(known: Edit | None, other: Edit) -> Edit:
    """The later of two changes; of one second the more cautious one."""
    if known is None or known.at is None or other.at is None:
        return known or other
    if known.at != other.at:
        return known if known.at > other.at else other
    return min(known, other, key=lambda edit: _CAUTION.index(edit.by))
