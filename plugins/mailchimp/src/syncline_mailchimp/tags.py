"""Our segments as Mailchimp's tags, so that campaigns and automations there can act on them.

A tag is a static segment, and one call puts 500 members in or takes them out; it makes nobody a member (contract:
"emails that are not present on the list will be ignored"). Who is in already is asked first, member by member: the
answer to the change does not promise to tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field as Setting
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, TransientError, did_you_mean
from syncline.model import Member as SegmentMember
from syncline.model import Outcome, RemoteRef, Status, event_id
from syncline_mailchimp.batches import Batches, Job
from syncline_mailchimp.client import MailchimpClient, member_path
from syncline_mailchimp.errors import GoneError, InvalidError, error_of
from syncline_mailchimp.payloads import ARCHIVED, BatchResult, Member, Tag

__all__ = ["MOST", "Tags"]

MOST: Final = 500
"""Addresses a call, contract 3.0.55 of 2021-07, POST /lists/{list_id}/segments/{segment_id}."""

_FIELDS: Final = "id contact_id list_id email_address status tags_count tags"
_JOB: Final = "people"
_SHOWN: Final = 50
"""A member shows so many of her tags (vendor sheet §3)."""


class _Tagged(Member):
    tags_count: int = 0
    tags: tuple[Tag, ...] = Setting(default=())


class Tags:
    """The tags of one audience."""

    def __init__(
        self, client: MailchimpClient, batches: Batches, audience: str, bulk_from: int | None, *, where: str
    ) -> None:
        self._client = client
        self._batches = batches
        self._audience = audience
        self._bulk_from = bulk_from
        self._where = where
        self._known: dict[str, Tag] = {}

    def names(self) -> set[str]:
        """As they are now."""
        self._known = {tag.name: tag for tag in self._client.tags(self._audience)}
        return set(self._known)

    def create(self, name: str) -> None:
        self._client.create_tag(self._audience, name)

    def set_members(self, name: str, add: Sequence[SegmentMember], remove: Sequence[SegmentMember]) -> list[Outcome]:
        """One outcome each, those of `add` first. Nothing is written when everybody is as she should be."""
        tag = self._tag(name)
        people = self._people([member.ref for member in (*add, *remove)])
        joining = self._to_change(tag, add, people, tagged=False)
        leaving = self._to_change(tag, remove, people, tagged=True)
        told: dict[str, Outcome] = {}
        if joining or leaving:
            told = self._change(tag, joining, leaving)
        return [told.get(member.key) or self._standing(tag, member, people) for member in (*add, *remove)]

    def _tag(self, name: str) -> Tag:
        if name not in self._known and name not in self.names():
            raise ConfigError(
                f"the audience has no tag {name!r}; `syncline prepare` creates it. {did_you_mean(name, self._known)}",
                where=self._where,
            )
        return self._known[name]

    def _to_change(
        self, tag: Tag, members: Sequence[SegmentMember], people: Mapping[str, _Tagged | str], *, tagged: bool
    ) -> dict[str, tuple[SegmentMember, _Tagged]]:
        """Hash → those who are not yet as they should be."""
        found = ((member, people[member.ref.id]) for member in members)
        return {
            one.id: (member, one)
            for member, one in found
            if isinstance(one, _Tagged) and one.status != ARCHIVED and self._has(tag, one) is tagged
        }

    def _change(
        self,
        tag: Tag,
        joining: Mapping[str, tuple[SegmentMember, _Tagged]],
        leaving: Mapping[str, tuple[SegmentMember, _Tagged]],
    ) -> dict[str, Outcome]:
        addresses = [[one.email_address for _, one in some.values()] for some in (joining, leaving)]
        change = self._client.change_tag(self._audience, tag.id, *addresses)
        done = {row.get("id") for row in (*change.members_added, *change.members_removed)}
        refused = {email.lower(): error.error for error in change.errors for email in error.email_addresses}
        outcomes = {}
        for subscriber, (member, one) in {**joining, **leaving}.items():
            if subscriber in done:
                outcome = Outcome(member.key, Status.UPDATED, member.ref)
            elif reason := refused.get(one.email_address.lower()):
                outcome = Outcome(member.key, Status.REJECTED, reason=reason)
            else:
                outcome = Outcome(member.key, Status.RETRY, reason="Mailchimp neither changed nor refused it")
            outcomes[member.key] = outcome
        return outcomes

    def _standing(self, tag: Tag, member: SegmentMember, people: Mapping[str, _Tagged | str]) -> Outcome:
        """Nothing had to be done, or nothing can be."""
        one = people[member.ref.id]
        if isinstance(one, str):
            return Outcome(member.key, Status.REJECTED, reason=one)
        if one.status == ARCHIVED:
            return Outcome(member.key, Status.REJECTED, reason="the member is archived")
        return Outcome(member.key, Status.UNCHANGED, member.ref)

    # Who they are

    def _people(self, refs: Sequence[RemoteRef]) -> dict[str, _Tagged | str]:
        """Id → the member as she is now, or why there is none."""
        ids = list(dict.fromkeys(ref.id for ref in refs))
        if self._bulk_from is None or len(ids) < self._bulk_from:
            return {id: self._person(id) for id in ids}
        return self._many(ids)

    def _person(self, id: str) -> _Tagged | str:
        try:
            return self._client.member(self._audience, id, _FIELDS, _Tagged)
        except (GoneError, InvalidError) as error:
            return error.message

    def _many(self, ids: Sequence[str]) -> dict[str, _Tagged | str]:
        operations = [
            {
                "method": "GET",
                "path": member_path(self._audience, id),
                "operation_id": id,
                "params": {"fields": ",".join(_FIELDS.split())},
            }
            for id in ids
        ]
        results = list(self._batches.results(self._asking(operations)))  # to the end, or it would be asked for again
        found = {id: one for id, one in map(self._told, results) if one is not None}
        if lacking := [id for id in ids if id not in found]:
            raise TransientError(f"a batch brought nothing about {len(lacking)} of {len(ids)}", where=self._where)
        return found

    def _asking(self, operations: Sequence[Mapping[str, Any]]) -> Job:
        """The batch of just these questions, if an earlier attempt did not wait long enough; another one is stopped."""
        digest = event_id(json.dumps(operations, sort_keys=True))
        kept = self._batches.kept(_JOB)
        if kept is not None and kept.about.get("digest") == digest:
            return kept
        if kept is not None:
            self._batches.stop(kept)
        return self._batches.start(_JOB, operations, {"digest": digest})

    def _told(self, result: BatchResult) -> tuple[str, _Tagged | str | None]:
        """None for weather: in an archive it is no sign of how the connection fares now."""
        body = result.response if isinstance(result.response, str) else json.dumps(result.response)
        error = error_of(result.status_code, body, where=self._where)
        if isinstance(error, TransientError | AuthError):
            return result.operation_id, None
        if isinstance(error, ConnectorError):
            return result.operation_id, error.message
        try:
            return result.operation_id, _Tagged.model_validate_json(body)
        except ValidationError:
            return result.operation_id, None

    def _has(self, tag: Tag, one: _Tagged) -> bool:
        if any(held.id == tag.id for held in one.tags):
            return True
        return one.tags_count > _SHOWN and tag.id in self._client.tag_ids(self._audience, one.id)
