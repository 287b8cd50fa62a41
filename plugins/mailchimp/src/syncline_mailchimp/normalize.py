"""Raw records to canonical events: pure, and the same for every way in.

An event's id is made of the vendor's own parts (vendor sheet, §9), so the same fact seen twice is one event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from syncline.errors import RecordError
from syncline.model import Event, Identifier, RawRecord, event_id
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.payloads import ActivityFact, Member, OpenFact, UnsubscribeFact, moment_text

__all__ = ["activity_events", "member_events", "open_events", "unreadable", "unsubscribe_events"]

P = TypeVar("P", bound=BaseModel)
PURPOSE: Final = "email_marketing"


def member_events(payload: Mapping[str, Any], config: MailchimpConfig) -> Iterator[Event]:
    """The person's consent and attributes as they are now, and the sign-up if there was one."""
    member = _read(Member, payload)
    moment = member.last_changed or member.timestamp_opt or member.timestamp_signup
    if moment is None:
        raise RecordError(f"member {member.id} has neither last_changed nor timestamp_opt nor timestamp_signup")
    yield Event(
        id=event_id("mailchimp", "member", member.list_id, member.id, member.status, moment_text(moment)),
        type="consent_change",
        occurred_at=moment,
        identifiers=_identifiers(member.list_id, member.id, member.email_address),
        properties={"purpose": PURPOSE, "granted": member.status == "subscribed"},
        profile=_profile(member, config),
    )
    yield from _signup(member)


def _signup(member: Member) -> Iterator[Event]:
    """A confirmed sign-up through a form.

    `timestamp_signup` is empty for people whom an import, the API or an admin put in (recorded traffic), and nobody
    should score for having been imported.
    """
    if member.timestamp_signup is None or member.timestamp_opt is None:
        return
    minute = moment_text(member.timestamp_opt)[:16]
    yield Event(
        id=event_id("mailchimp", "sub", member.list_id, member.id, minute),
        type="form_submission",
        occurred_at=member.timestamp_opt,
        identifiers=_identifiers(member.list_id, member.id, member.email_address),
        properties={"form_id": f"mailchimp:{member.list_id}", "form_type": "newsletter_signup"},
    )


def open_events(payload: Mapping[str, Any]) -> Iterator[Event]:
    fact = _read(OpenFact, payload)
    machine = {} if fact.is_proxy_open is None else {"machine": fact.is_proxy_open}
    yield _event(fact, "email_open", machine)


def activity_events(payload: Mapping[str, Any]) -> Iterator[Event]:
    """A click or a bounce."""
    fact = _read(ActivityFact, payload)
    if fact.action == "bounce":
        yield _event(fact, "email_bounce", {"reason": fact.type} if fact.type else {})
        return
    if fact.url is None:
        raise RecordError(f"a click without an address: {'/'.join(fact.key)}")
    if _is_housekeeping(fact.url):
        return
    yield _event(fact, "email_click", {"url": fact.url})


def unsubscribe_events(payload: Mapping[str, Any]) -> Iterator[Event]:
    """The person left, and the consent with her: at once, without waiting for the members to be read."""
    fact = _read(UnsubscribeFact, payload)
    yield _event(fact, "email_unsubscribe", {"reason": fact.reason} if fact.reason else {})
    yield Event(
        id=event_id("mailchimp", "consent", *fact.key),
        type="consent_change",
        occurred_at=fact.timestamp,
        identifiers=_identifiers(fact.list_id, fact.email_id, fact.email_address),
        properties={"purpose": PURPOSE, "granted": False},
    )


def _is_housekeeping(url: str) -> bool:
    """Unsubscribe and profile links are not interest (`https://<name>.<dc>.list-manage.com/unsubscribe?…`)."""
    parts = urlsplit(url)
    first = parts.path.strip("/").partition("/")[0]
    return (parts.hostname or "").endswith("list-manage.com") and first in ("unsubscribe", "profile")


def _event(fact: OpenFact | ActivityFact | UnsubscribeFact, event_type: str, properties: Mapping[str, Any]) -> Event:
    campaign = {"campaign_id": fact.campaign_id, **({"campaign": fact.campaign} if fact.campaign else {})}
    return Event(
        id=event_id("mailchimp", *fact.key),
        type=event_type,
        occurred_at=fact.timestamp,
        identifiers=_identifiers(fact.list_id, fact.email_id, fact.email_address),
        properties={**campaign, **properties},
    )


def _identifiers(list_id: str, subscriber_hash: str, email: str) -> tuple[Identifier, ...]:
    """The lower-cased address, and the MD5 that names the person within this audience."""
    address = (Identifier("email", email.strip().lower()),) if email.strip() else ()
    return (*address, Identifier(f"mailchimp:{list_id}", subscriber_hash))


def _profile(member: Member, config: MailchimpConfig) -> dict[str, str]:
    """Attributes that say something. An address field comes as an object, or as an empty string."""
    address = member.merge_fields.get("ADDRESS")
    place = address if isinstance(address, dict) else {}
    found = {name: _text(member.merge_fields.get(tag)) for name, tag in config.merge_fields.items()}
    found["language"] = member.language or ""
    found["city"] = _text(place.get("city"))
    found["country"] = member.location.country_code or _text(place.get("country"))
    return {name: value for name, value in found.items() if value}


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()


def unreadable(stream: str, campaign: str, row: Mapping[str, Any], error: ValidationError) -> RawRecord:
    """A row that no model can read, kept whole: `normalize` refuses it, and so it is quarantined, not lost."""
    digest = event_id(json.dumps(row, sort_keys=True))
    return RawRecord(stream, f"unreadable:{campaign}:{digest}", {"unreadable": _problems(error), "row": dict(row)})


def _read(model: type[P], payload: Mapping[str, Any]) -> P:
    if "unreadable" in payload:
        raise RecordError(f"not a row that Mailchimp documents: {payload['unreadable']}")
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise RecordError(f"not a Mailchimp {model.__name__}: {_problems(error)}") from error


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
