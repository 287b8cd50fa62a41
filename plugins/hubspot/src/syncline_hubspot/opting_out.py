"""Opting out of e-mail: a write may say it, and never take it back.

HubSpot keeps it with the address, not with the contact: `hs_email_optout` only shows it, and is read-only. What says it
is a call of the communication preferences, one for each address (developers.hubspot.com, communication preferences,
"Unsubscribe a contact from all subscriptions", read 2026-11; the one for many asks for the Enterprise edition). HubSpot
itself takes it back for nobody but the person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from syncline.model import Field, Outcome, RemoteRef, Status, Write
from syncline_hubspot.client import Client
from syncline_hubspot.errors import RefusedError, ScopeError
from syncline_hubspot.payloads import Record

__all__ = ["OPT_OUT", "offered", "with_opt_outs"]

OPT_OUT: Final = "hs_email_optout"
_CONTACTS: Final = "contacts"
_ASKED: Final = ("email", OPT_OUT)

Save = Callable[[Sequence[Write]], Sequence[Outcome]]


def offered(object: str, field: Field) -> Field:
    """The field as a sync may use it: this one can be written, through another door."""
    return replace(field, writable=True) if object == _CONTACTS and field.name == OPT_OUT else field


def with_opt_outs(client: Client, object: str, writes: Sequence[Write], save: Save) -> Sequence[Outcome]:
    """One Outcome per Write, same order. `save` writes everything else; nothing more is called unless one speaks of it.

    False and None are refused for who has opted out, and say nothing for anybody else. True is said after the rest is
    written, because only then is there a contact, and an address.
    """
    if object != _CONTACTS or not any(OPT_OUT in w.fields for w in writes):
        return save(writes)
    found = _refusals(client, [w for w in writes if w.fields.get(OPT_OUT, True) is not True])
    allowed = [w for w in writes if w.key not in found]
    sendable = [_without(w) for w in allowed if w.match[0] != "Id" or set(w.fields) - {OPT_OUT}]
    found |= {o.key: o for o in (save(sendable) if sendable else ())}
    for write in allowed:
        found.setdefault(write.key, Outcome(write.key, Status.UNCHANGED, RemoteRef(_CONTACTS, write.match[1])))
    out = [w.key for w in allowed if w.fields.get(OPT_OUT) is True and found[w.key].ok]
    found |= _opted_out(client, {key: found[key] for key in out})
    return [found[w.key] for w in writes]


def _without(write: Write) -> Write:
    return replace(write, fields={name: value for name, value in write.fields.items() if name != OPT_OUT})


def _refusals(client: Client, doubtful: Sequence[Write]) -> dict[str, Outcome]:
    """Of those who have opted out there, by our key."""
    if not doubtful:
        return {}
    field = doubtful[0].match[0]
    key = None if field == "Id" else field
    asked = [w.match[1] for w in doubtful if key or w.match[1].isdigit()]
    records = (
        client.read(_CONTACTS, asked, (*_ASKED, *([key] if key else ())), id_property=key).results if asked else ()
    )
    out = {_folded(r.properties.get(field) or "" if key else r.id) for r in records if _is_out(r)}
    reason = f"{OPT_OUT}: this person has opted out of e-mail in HubSpot; a sync never opts anybody in again"
    return {
        w.key: Outcome(w.key, Status.REJECTED, reason=reason, code="OPTED_OUT")
        for w in doubtful
        if _folded(w.match[1]) in out
    }


def _folded(value: str) -> str:
    return value.casefold()


def _is_out(record: Record) -> bool:
    return record.properties.get(OPT_OUT) == "true"


def _opted_out(client: Client, saved: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """What became of opting these out; one call for each who has not yet."""
    ids = sorted({o.ref.id for o in saved.values() if o.ref})
    records = {r.id: r for r in client.read(_CONTACTS, ids, _ASKED).results} if ids else {}
    return {key: _one(client, o, records.get(o.ref.id if o.ref else "")) for key, o in saved.items()}


def _one(client: Client, saved: Outcome, record: Record | None) -> Outcome:
    if record is None:
        reason = "the contact is merged or gone since it was written"
        return replace(saved, status=Status.RETRY, reason=reason, code="OBJECT_NOT_FOUND")
    if _is_out(record):
        return saved
    address = record.properties.get("email")
    if not address:
        return _not_said(saved, "the contact has no address that could be opted out", "NO_ADDRESS")
    try:
        client.unsubscribe(address)
    except (ScopeError, RefusedError) as error:
        return _not_said(saved, error.message, "OPT_OUT_REFUSED")
    return replace(saved, status=Status.UPDATED) if saved.status is Status.UNCHANGED else saved


def _not_said(saved: Outcome, why: str, code: str) -> Outcome:
    reason = f"{OPT_OUT}: {why}. The other fields are written"
    return replace(saved, status=Status.REJECTED, reason=reason, code=code)
