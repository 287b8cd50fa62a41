"""Segments as tags (vendor sheet §6): one call for those who join, one for those who leave, none for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.errors import ConfigError
from syncline.model import Member, Outcome, Status
from syncline_zoho.client import Client
from syncline_zoho.payloads import ItemResult, RecordsPage, Tags
from syncline_zoho.saving import MOST_IDS, problem_outcome

__all__ = ["MOST_MEMBERS", "Segments"]

MOST_MEMBERS: Final = 100
"""Records a tag call takes: 100 on one page, 500 on another (sheet §6); the smaller one."""
_LONGEST: Final = 25


class Segments:
    """The tags of one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def absent(self, modules: Sequence[str], segments: Sequence[str]) -> list[tuple[str, str]]:
        """(module, tag) of those that are not there."""
        if not segments:
            return []
        for segment in segments:
            refuse_long_name(segment)
        there = {module: self._names(module) for module in modules}
        return [(m, s) for m in modules for s in dict.fromkeys(segments) if s.casefold() not in there[m]]

    def _names(self, module: str) -> set[str]:
        found = self._client.read("GET", "settings/tags", params={"module": module}).read(Tags)
        return {tag.name.casefold() for tag in found.tags}

    def create(self, module: str, segment: str) -> None:
        """DUPLICATE_DATA says that somebody was quicker."""
        answer = self._client.call(
            "POST", "settings/tags", params={"module": module}, body={"tags": [{"name": segment}]}
        )
        result = answer.items("tags", 1)[0]
        if not result.ok and result.code != "DUPLICATE_DATA":
            raise ConfigError(f"tag {segment!r} of {module}: {result.reason}", where=self._client.where)

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        """One Outcome per member, those of `add` first, same order."""
        if not add and not remove:
            return []
        refuse_long_name(segment)
        tagged = self._tagged(segment, (*add, *remove))
        return [
            *self._change("add_tags", segment, add, [m for m in add if m.ref.id not in tagged]),
            *self._change("remove_tags", segment, remove, [m for m in remove if m.ref.id in tagged]),
        ]

    def _tagged(self, segment: str, members: Sequence[Member]) -> set[str]:
        """The ids of those who have the tag."""
        found: set[str] = set()
        for module, group in _by_module(members).items():
            ids = list(dict.fromkeys(m.ref.id for m in group))
            for start in range(0, len(ids), MOST_IDS):
                params = {"fields": "Tag", "ids": ",".join(ids[start : start + MOST_IDS]), "per_page": 200}
                page = self._client.read("GET", module, params=params).read(RecordsPage)
                found |= {str(row["id"]) for row in page.data if segment.casefold() in _tags(row)}
        return found

    def _change(
        self, action: str, segment: str, members: Sequence[Member], concerned: Sequence[Member]
    ) -> list[Outcome]:
        """The outcomes of `members`, of whom only those `concerned` are sent."""
        done: dict[str, Outcome] = {}
        for module, group in _by_module(concerned).items():
            ids = list(dict.fromkeys(m.ref.id for m in group))
            body: dict[str, Any] = {"tags": [{"name": segment}], "ids": ids}
            if action == "add_tags":
                body["over_write"] = False
            results = self._client.call("POST", f"{module}/actions/{action}", body=body).items("data", len(ids))
            by_id = _by_id(ids, results)
            done |= {m.key: _outcome(m, by_id[m.ref.id]) for m in group}
        return [done.get(m.key, Outcome(m.key, Status.UNCHANGED, m.ref)) for m in members]


def refuse_long_name(segment: str) -> None:
    """Before any network."""
    if not segment or len(segment) > _LONGEST:
        raise ConfigError(f"the tag {segment!r} has {len(segment)} characters; Zoho takes 1 to {_LONGEST}")


def _by_module(members: Sequence[Member]) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.ref.object, []).append(member)
    return found


def _by_id(ids: Sequence[str], results: Sequence[ItemResult]) -> dict[str, ItemResult]:
    """A result names its record, whatever the order; one that does not is taken for the record at its place."""
    placed = dict(zip(ids, results, strict=True))
    return placed | {r.id: r for r in results if r.id in placed}


def _tags(row: Mapping[str, Any]) -> set[str]:
    tags = row.get("Tag") or ()
    return {str(tag.get("name") if isinstance(tag, Mapping) else tag).casefold() for tag in tags}


def _outcome(member: Member, result: ItemResult) -> Outcome:
    return Outcome(member.key, Status.UPDATED, member.ref) if result.ok else problem_outcome(member.key, result)
