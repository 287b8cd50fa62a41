"""Mailchimp as a sink: the merge fields and tags of people who are in an audience, and that somebody wants no more.

Nobody is ever added or subscribed: what is sent about a member is `MemberFields`, whose one status is `unsubscribed`,
to a call that knows members only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from syncline.errors import ConfigError, ContractError, SchemaDriftError, did_you_mean
from syncline.model import ChangePage, Field, FieldSpec, Limits, Member, Outcome, Write
from syncline.sdk import Context, Sink
from syncline.sdk.http import purpose
from syncline_mailchimp.audiences import audience_of, object_of
from syncline_mailchimp.changes import read_changes
from syncline_mailchimp.client import no_audience
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.connected import Connected
from syncline_mailchimp.errors import GoneError
from syncline_mailchimp.preparing import described, missing_fields, missing_tags, prepare_audience
from syncline_mailchimp.saving import Saving, names_of, opted_in
from syncline_mailchimp.tags import MOST, Tags
from syncline_mailchimp.values import ADDRESS, OWN_FIELDS, field_of

__all__ = ["MailchimpSink"]

_MATCHES: Final = ("Id", ADDRESS)


class MailchimpSink(Connected, Sink[MailchimpConfig]):
    """One call a member; from `bulk_from` on, one batch for up to 500."""

    limits: ClassVar[Limits] = Limits(
        upsert_batch=1,  # PATCH takes one member; why not batch subscribe, which takes 500: see the README
        task_batch=1,  # there are no tasks
        member_batch=MOST,
        bulk_from=50,  # a batch is done in a minute or so, which 50 calls in a row take as well
        bulk_batch=500,  # 1,000 operations is third-party evidence (vendor sheet §5); half of it is safe
        bulk_calls=1,  # POST /batches; looking after it and fetching the results are reads
    )

    def __init__(self, config: MailchimpConfig, context: Context) -> None:
        super().__init__(config, context)
        # The contract's limits are the class's; this connection may have its own threshold.
        self.__dict__["limits"] = replace(type(self).limits, bulk_from=config.bulk_from)
        self._described: dict[str, dict[str, Field]] = {}
        self._tags: dict[str, Tags] = {}

    # Reading

    def describe(self, object: str) -> Sequence[Field]:
        audience = self._audience(object)
        try:
            with purpose("read"):  # also where the host is writing
                found = self._client.merge_fields(audience)
        except GoneError as error:
            raise no_audience(audience, where=self.context.connection) from error
        fields = (*OWN_FIELDS, *(field_of(field, self.config.key_field) for field in found))
        self._described[audience] = {field.name: field for field in fields}
        return fields

    def changes(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        audience = self._audience(object)
        known = self._fields(object)
        asked = {name: known.get(name) or self._unknown(object, name) for name in fields}
        return read_changes(self._client, object, audience, asked, cursor, self.context.clock)

    def _fields(self, object: str) -> dict[str, Field]:
        audience = self._audience(object)
        if audience not in self._described:
            self.describe(object)
        return self._described[audience]

    def _unknown(self, object: str, name: str) -> Field:
        known = self._fields(object)
        raise SchemaDriftError(
            f"the audience has no field {name!r}; {did_you_mean(name, known)}", field=name, where=object
        )

    # Writing

    def upsert(self, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Who is not in the audience is rejected, whatever the match: this sink updates only."""
        if not writes:
            return []
        self._refuse_misuse(object, writes)
        self._refuse_drift(object, writes)
        found = {write.key: refused for write in writes if (refused := opted_in(write))}
        allowed = [write for write in writes if write.key not in found]
        if allowed:
            saving = Saving(self._client, self._batches, object, self._audience(object))
            done = [saving.one(allowed[0])] if len(allowed) == 1 else saving.many(allowed)
            found |= {outcome.key: outcome for outcome in done}
        return [found[write.key] for write in writes]

    def _refuse_misuse(self, object: str, writes: Sequence[Write]) -> None:
        """Before any network: what a caller must not ask."""
        most = self.limits.bulk_batch if self.limits.bulk_from is not None else self.limits.upsert_batch
        _refuse_more_than(most, writes, object)
        if len(fields := {write.match[0] for write in writes}) > 1:
            raise ContractError(f"writes of one call match on one field, not on {sorted(fields)}", where=object)
        if (field := fields.pop()) not in _MATCHES:
            raise ConfigError(
                f"members are found by Id or {ADDRESS}, not by {field}, and are never created; set when_missing: skip",
                where=object,
            )
        if any(not write.match[1] for write in writes):
            raise ContractError(f"a write matches on an empty {field}", where=object)
        if doubled := [name for name, count in Counter(names_of(writes)).items() if count > 1]:
            raise ContractError(f"{field} {doubled[0]!r} is written more than once in one call", where=object)

    def _refuse_drift(self, object: str, writes: Sequence[Write]) -> None:
        """What the audience has not got Mailchimp would ignore in silence."""
        known = self._fields(object)
        for name in dict.fromkeys(name for write in writes for name in write.fields):
            field = known.get(name) or self._unknown(object, name)
            if not field.writable:
                raise SchemaDriftError(f"{name} is not written by this connector", field=name, where=object)

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        """A segment is a tag; it is there after `prepare`."""
        _refuse_more_than(MOST, add, segment)
        _refuse_more_than(MOST, remove, segment)
        outcomes: dict[tuple[bool, str], Outcome] = {}
        for object in dict.fromkeys(member.ref.object for member in (*add, *remove)):
            joining, leaving = ([m for m in members if m.ref.object == object] for members in (add, remove))
            done = self._tags_of(object).set_members(segment, joining, leaving)
            outcomes |= {(True, o.key): o for o in done[: len(joining)]}
            outcomes |= {(False, o.key): o for o in done[len(joining) :]}
        return [outcomes[True, m.key] for m in add] + [outcomes[False, m.key] for m in remove]

    def _tags_of(self, object: str) -> Tags:
        audience = self._audience(object)
        if audience not in self._tags:
            self._tags[audience] = Tags(
                self._client, self._batches, audience, self.config.bulk_from, where=self.context.connection
            )
        return self._tags[audience]

    # Preparing

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        lines = []
        for object, fields, tags in self._lacking(needed, segments):
            lines += [f"{object}: the merge field {described(spec)}" for spec in fields]
            lines += [f"{object}: the tag {name!r}" for name in tags]
        return lines

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        done = []
        for object, fields, tags in self._lacking(needed, segments):
            audience, known = self._audience(object), self._tags_of(object)
            done += [f"{object}: {line}" for line in prepare_audience(self._client, audience, fields, known, tags)]
            self._described.pop(audience, None)
        return done

    def _lacking(
        self, needed: Sequence[FieldSpec], segments: Sequence[str]
    ) -> Iterator[tuple[str, list[FieldSpec], list[str]]]:
        """Object → what it lacks. Tags are wanted where fields are; if none are, in every audience."""
        everywhere = [object_of(audience, self.config.audience) for audience in self.config.audience]
        for object in dict.fromkeys([spec.object for spec in needed] or everywhere):
            known = {field.name for field in self.describe(object)}
            fields = missing_fields([spec for spec in needed if spec.object == object], known)
            tags = missing_tags(segments, self._tags_of(object).names()) if segments else []
            yield object, fields, tags

    def _audience(self, object: str) -> str:
        return audience_of(object, self.config.audience, where=self.context.connection)


def _refuse_more_than(most: int, batch: Sequence[object], object: str) -> None:
    if len(batch) > most:
        raise ContractError(f"{len(batch)} in one call; at most {most}", where=object)
