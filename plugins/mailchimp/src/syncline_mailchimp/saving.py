"""Members as they are written: merge fields of those who are there, that they have left, and nothing else.

PATCH is the call for it: it changes a member and answers 404 for everybody else. PUT and batch subscribe (500 members a
call) would be fewer calls, and would make a member of whoever is none; so they are not used (see the README).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import ValidationError

from syncline.errors import AuthError, ConnectorError, TransientError
from syncline.model import Outcome, RemoteRef, Status, Write, event_id
from syncline_mailchimp.batches import Batches
from syncline_mailchimp.client import MailchimpClient, member_path
from syncline_mailchimp.errors import GoneError, InvalidError, error_of
from syncline_mailchimp.normalize import subscriber_hash
from syncline_mailchimp.payloads import BatchResult, Member, MemberFields
from syncline_mailchimp.values import OPT_OUT, has_left, printed

__all__ = ["Saving", "names_of", "opted_in"]

_JOB: Final = "write"


class Saving:
    """Writes to one audience."""

    def __init__(self, client: MailchimpClient, batches: Batches, object: str, audience: str) -> None:
        self._client = client
        self._batches = batches
        self._object = object
        self._audience = audience

    def one(self, write: Write) -> Outcome:
        """By a call of its own; trouble with the call raises, trouble with the member is the outcome."""
        self._settle(None)
        fields = _fields(write)
        try:
            member = self._client.change_member(self._audience, _name(write), fields)
        except GoneError as error:
            return _refused(write, f"not in the audience, and nobody is added to it: {error.message}")
        except InvalidError as error:
            return _refused(write, error.message, error.title)
        return self._done(write, fields, member)

    def many(self, writes: Sequence[Write]) -> list[Outcome]:
        """In the background, handed in by one call. Repeated after a failure it waits on for the same batch."""
        operations = [self._operation(number, write) for number, write in enumerate(writes)]
        digest = event_id(json.dumps(operations, sort_keys=True))
        kept = self._settle(digest)
        job = kept or self._batches.start(_JOB, operations, {"digest": digest})
        found = {result.operation_id: result for result in self._batches.results(job)}
        return [self._outcome(write, found.get(str(number))) for number, write in enumerate(writes)]

    def _settle(self, digest: str | None) -> Any:
        """The batch of just these writes, if one is under way. Another one is stopped: it would undo what comes now."""
        kept = self._batches.kept(_JOB)
        if kept is None or kept.about.get("digest") == digest:
            return kept
        self._batches.stop(kept)
        return None

    def _operation(self, number: int, write: Write) -> dict[str, Any]:
        return {
            "method": "PATCH",
            "path": member_path(self._audience, _name(write)),
            "operation_id": str(number),
            "body": _fields(write).model_dump_json(exclude_defaults=True),
        }

    def _outcome(self, write: Write, result: BatchResult | None) -> Outcome:
        if result is None:
            return Outcome(write.key, Status.RETRY, reason="the batch brought no result for it")
        body = result.response if isinstance(result.response, str) else json.dumps(result.response)
        error = error_of(result.status_code, body, where=self._object)
        if isinstance(error, TransientError | AuthError):
            return Outcome(write.key, Status.RETRY, reason=error.message)
        if isinstance(error, GoneError):
            return _refused(write, f"not in the audience, and nobody is added to it: {error.message}")
        if isinstance(error, ConnectorError):
            return _refused(write, error.message, getattr(error, "title", None))
        try:
            member = Member.model_validate_json(body)
        except ValidationError:
            return Outcome(write.key, Status.RETRY, reason="the batch brought a result that is no member")
        return self._done(write, _fields(write), member)

    def _done(self, write: Write, fields: MemberFields, member: Member) -> Outcome:
        """Fields that the audience has not got are ignored with a 200 (recorded 2021): the answer shows it."""
        if lost := sorted(fields.merge_fields.keys() - member.merge_fields.keys()):
            return _refused(write, f"the audience has no merge field {', '.join(lost)} any more")
        if fields.status is not None and not has_left(member.status):
            return _refused(write, f"{OPT_OUT}: Mailchimp took the write, and still has this person as {member.status}")
        return Outcome(write.key, Status.UPDATED, RemoteRef(self._object, member.lasting_id))


def _name(write: Write) -> str:
    """By the id, or by the hash of the address."""
    field, value = write.match
    return value if field == "Id" else subscriber_hash(value)


def _fields(write: Write) -> MemberFields:
    values = {tag: printed(value) for tag, value in write.fields.items() if tag != OPT_OUT}
    return MemberFields(merge_fields=values, status="unsubscribed" if write.fields.get(OPT_OUT) is True else None)


def opted_in(write: Write) -> Outcome | None:
    """The refusal of a write that would say that somebody wants e-mail: only they can."""
    if write.fields.get(OPT_OUT, True) is True:
        return None
    told = f"it can only be set, not taken back (got {write.fields[OPT_OUT]!r}): nobody but the person subscribes again"
    return _refused(write, f"{OPT_OUT}: {told}", "OPTED_OUT")


def _refused(write: Write, reason: str, code: str | None = None) -> Outcome:
    return Outcome(write.key, Status.REJECTED, reason=reason, code=code)


def names_of(writes: Sequence[Write]) -> Iterator[str]:
    """Whom they are about, for finding the same one twice."""
    return (_name(write) for write in writes)
