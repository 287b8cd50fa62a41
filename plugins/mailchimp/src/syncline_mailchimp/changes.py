"""Members as the host mirrors them: everybody, or who changed since.

Mailchimp does not say who changed a member, so `changed_by` stays unknown; the values decide. Archived members are
tombstones: that is what deleting is there. Who was erased is not listed at all; a read from the beginning shows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from syncline.errors import CursorExpiredError
from syncline.model import ChangePage, Field, RemoteRecord, RemoteRef, Value
from syncline_mailchimp.client import MailchimpClient
from syncline_mailchimp.payloads import ARCHIVED, Member, moment_text
from syncline_mailchimp.values import ADDRESS, OPT_OUT, OWN_FIELDS, decoded, has_left

__all__ = ["read_changes"]

_VERSION: Final = 1
_OVERLAP: Final = timedelta(minutes=5)  # vendor sheet §8
_ALWAYS: Final = "id contact_id list_id email_address status last_changed"
_OWN: Final = frozenset(field.name for field in OWN_FIELDS) - {ADDRESS, OPT_OUT}


class _Position(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: int
    since: AwareDatetime


def read_changes(
    client: MailchimpClient,
    object: str,
    audience: str,
    fields: Mapping[str, Field],
    cursor: str | None,
    clock: Callable[[], datetime],
) -> Iterator[ChangePage]:
    """Pages without a cursor until the last: only the whole is safe, because pages are counted from the beginning.

    Members that change while we read leave the window, which ends now, and are found by the next read.
    """
    since = _since(cursor, object)
    until = clock().replace(microsecond=0) + timedelta(seconds=1)
    begun: datetime | None = None
    for record_page in _pages(client, object, audience, fields, since, until):
        begun = begun or client.answered_at
        yield ChangePage(record_page, None)
    begun = begun or client.answered_at
    seen = min(until, begun) if begun else until  # changes are dated by the vendor's clock, not ours
    yield ChangePage((), json.dumps({"version": _VERSION, "since": moment_text(seen - _OVERLAP)}))


def _since(cursor: str | None, where: str) -> datetime | None:
    if cursor is None:
        return None
    try:
        position = _Position.model_validate_json(cursor)
    except ValidationError as error:
        raise CursorExpiredError("the cursor cannot be read", where=where) from error
    if position.version != _VERSION:
        raise CursorExpiredError(f"the cursor is of version {position.version}, known is {_VERSION}", where=where)
    return position.since


def _pages(
    client: MailchimpClient,
    object: str,
    audience: str,
    fields: Mapping[str, Field],
    since: datetime | None,
    until: datetime,
) -> Iterator[Sequence[RemoteRecord]]:
    """The living; after them, of a read that goes on, the archived, whom Mailchimp may list only when asked to."""
    window = {"before_last_changed": moment_text(until), "sort_field": "last_changed", "sort_dir": "ASC"}
    if since is not None and since < until:  # else a wrong clock set it, and it vouches for nothing
        window["since_last_changed"] = moment_text(since)
    asked = " ".join([_ALWAYS, *sorted(_OWN & fields.keys() - set(_ALWAYS.split())), "merge_fields"])
    for members in client.members(audience, asked, window):
        yield [_record(object, member, fields) for member in members if member.status != ARCHIVED]
    if since is not None:
        for members in client.members(audience, _ALWAYS, {**window, "status": ARCHIVED}):
            yield [_tombstone(object, member) for member in members]


def _record(object: str, member: Member, fields: Mapping[str, Field]) -> RemoteRecord:
    values = {name: _value(member, name, field) for name, field in fields.items()}
    ref = RemoteRef(object, member.lasting_id)
    return RemoteRecord(ref, values, (member.email_address,), changed_at=member.last_changed)


def _value(member: Member, name: str, field: Field) -> Value:
    if name == ADDRESS:
        return member.email_address
    if name == OPT_OUT:
        return has_left(member.status)
    raw: Any = getattr(member, name) if name in _OWN else member.merge_fields.get(name)
    return decoded(raw, field.kind)


def _tombstone(object: str, member: Member) -> RemoteRecord:
    return RemoteRecord(RemoteRef(object, member.lasting_id), {}, (), changed_at=member.last_changed, deleted=True)
