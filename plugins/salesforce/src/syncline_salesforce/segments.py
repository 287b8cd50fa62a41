"""Segments as campaigns, members as campaign members."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from syncline.errors import ConfigError
from syncline.model import Member, Outcome, RemoteRef, Status
from syncline_salesforce.client import Client
from syncline_salesforce.payloads import SaveProblem, SaveResult
from syncline_salesforce.saving import MOST, create_records, delete_records, outcome_of, problem_outcome
from syncline_salesforce.values import quoted

__all__ = ["Campaigns"]

_COLUMN: Final[Mapping[str, str]] = {"Lead": "LeadId", "Contact": "ContactId"}
_MEMBER: Final = "CampaignMember"


class Campaigns:
    """The campaigns of one connection; a name is looked up once per run."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    def find(self, names: Iterable[str]) -> dict[str, str]:
        """Name → id of those that exist. Of several with one name the oldest is ours.

        SOQL compares names in any letter case, and so do we: else `prepare` would make a campaign's twin.
        """
        names = list(names)
        wanted = [n for n in names if n.casefold() not in self._ids]
        if wanted:
            listed = ", ".join(map(quoted, wanted))
            query = f"SELECT Id, Name FROM Campaign WHERE Name IN ({listed}) ORDER BY CreatedDate, Id"  # noqa: S608  # quoted
            rows = self._client.query_all(query)
            for row in reversed(rows):
                self._ids[row["Name"].casefold()] = row["Id"]
        return {n: self._ids[n.casefold()] for n in names if n.casefold() in self._ids}

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        """One Outcome per member, those of `add` first, same order."""
        if not add and not remove:
            return []
        campaign = self.find([segment]).get(segment)
        if campaign is None:
            raise ConfigError(
                f"there is no campaign named {segment!r}; `syncline prepare` creates it, or name an existing one"
            )
        added = [o for part in _parts(add) for o in self._add(campaign, part)]
        return added + [o for part in _parts(remove) for o in self._remove(campaign, part)]

    def _add(self, campaign: str, members: Sequence[Member]) -> list[Outcome]:
        records = [{"CampaignId": campaign, _column(m): m.ref.id} for m in members]
        results = create_records(self._client, _MEMBER, records)
        return [self._added(m, r) for m, r in zip(members, results, strict=True)]

    def _added(self, member: Member, result: SaveResult) -> Outcome:
        if result.success:
            return outcome_of(member.key, _MEMBER, result, created=True)
        problem = result.errors[0] if result.errors else SaveProblem(statusCode="UNKNOWN")
        return problem_outcome(member.key, problem, lambda p: _already(member, p))

    def _remove(self, campaign: str, members: Sequence[Member]) -> list[Outcome]:
        ids = self._member_ids(campaign, members)
        present = [m for m in members if m.ref.id[:15] in ids]
        if not present:
            return [Outcome(m.key, Status.UNCHANGED) for m in members]
        results = delete_records(self._client, [ids[m.ref.id[:15]] for m in present])
        removed = {m.key: _removed(m, r) for m, r in zip(present, results, strict=True)}
        return [removed.get(m.key, Outcome(m.key, Status.UNCHANGED)) for m in members]

    def _member_ids(self, campaign: str, members: Sequence[Member]) -> dict[str, str]:
        """Person → membership, of the members that are in."""
        conditions = []
        for column in _COLUMN.values():
            ids = [quoted(m.ref.id) for m in members if _column(m) == column]
            if ids:
                conditions.append(f"{column} IN ({', '.join(ids)})")
        where = f"CampaignId = {quoted(campaign)} AND ({' OR '.join(conditions)})"
        rows = self._client.query_all(f"SELECT Id, LeadId, ContactId FROM CampaignMember WHERE {where}")  # noqa: S608  # quoted
        return {row[column][:15]: row["Id"] for row in rows for column in _COLUMN.values() if row[column]}


def _parts(members: Sequence[Member]) -> list[Sequence[Member]]:
    return [members[i : i + MOST] for i in range(0, len(members), MOST)]


def _column(member: Member) -> str:
    column = _COLUMN.get(member.ref.object)
    if column is None:
        raise ConfigError(f"{member.ref.object} {member.ref.id}: campaign members are leads or contacts")
    return column


def _already(member: Member, problem: SaveProblem) -> Outcome | None:
    """A person is in a campaign once (unique by CampaignId and LeadId or ContactId; wording unverified)."""
    return Outcome(member.key, Status.UNCHANGED) if problem.code == "DUPLICATE_VALUE" else None


def _removed(member: Member, result: SaveResult) -> Outcome:
    if not result.success and result.errors and re.search("DELETED|INVALID_CROSS_REFERENCE", result.errors[0].code):
        return Outcome(member.key, Status.UNCHANGED)
    outcome = outcome_of(member.key, _MEMBER, result, created=False)
    return replace(outcome, ref=RemoteRef(_MEMBER, result.id)) if result.id else outcome
