"""Raw records to canonical events: pure, and the same for every way in.

An event's id is made of the vendor's own parts (vendor sheet, §9), so the same fact seen twice is one event. Where a
webhook and a poll tell the same fact, they do so seconds apart and in different words; so such an event is dated to the
minute and says only what both know:

- leaving because of a campaign: once for each person and campaign (the report has one row for them), without the reason
  and the campaign's title, which the webhook lacks;
- the consent that goes with it: by the minute. Told across the turn of a minute it is there twice, and says the same;
- signing up: by the day, and only through a form.

What a webhook says of a member beyond that (her fields, that she is subscribed) is no event: the member's own record,
which the poll brings, says it with her status. So a webhook can take consent away, and never give it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from syncline.errors import RecordError
from syncline.model import Event, Identifier, RawRecord, event_id
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.payloads import (
    ActivityFact,
    Member,
    OpenFact,
    UnsubscribeFact,
    WebhookFact,
    minute_of,
    moment_text,
)

__all__ = [
    "activity_events",
    "member_events",
    "open_events",
    "subscriber_hash",
    "unreadable",
    "unsubscribe_events",
    "webhook_events",
]

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
        identifiers=_member_identifiers(member),
        properties={"purpose": PURPOSE, "granted": member.status == "subscribed"},
        profile=_profile(member, config),
    )
    yield from _signup(member)


def _signup(member: Member) -> Iterator[Event]:
    """A confirmed sign-up through a form.

    `timestamp_signup` is empty for people whom an import, the API or an admin put in (recorded traffic), and nobody
    should score for having been imported.
    """
    if member.timestamp_signup is not None and member.timestamp_opt is not None:
        yield _signed_up(member.list_id, member.id, member.email_address, member.timestamp_opt)


def _signed_up(list_id: str, subscriber: str, email: str, at: datetime) -> Event:
    return Event(
        id=event_id("mailchimp", "sub", list_id, subscriber, minute_of(at)[:10]),
        type="form_submission",
        occurred_at=_minute(at),
        identifiers=_identifiers(list_id, subscriber, email),
        properties={"form_id": f"mailchimp:{list_id}", "form_type": "newsletter_signup"},
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
    yield from _left(fact.list_id, fact.email_id, fact.email_address, fact.campaign_id, fact.timestamp)


def _left(list_id: str, subscriber: str, email: str, campaign: str, at: datetime, reason: str = "") -> Iterator[Event]:
    """`reason` only where no poll tells the same: without a campaign."""
    which = (campaign,) if campaign else ("-", minute_of(at))
    told = {"campaign_id": campaign} if campaign else {"reason": reason} if reason else {}
    yield Event(
        id=event_id("mailchimp", "unsub", list_id, subscriber, *which),
        type="email_unsubscribe",
        occurred_at=_minute(at),
        identifiers=_identifiers(list_id, subscriber, email),
        properties=told,
    )
    yield _withdrawn("unsub", list_id, subscriber, email, campaign, at)


def _withdrawn(why: str, list_id: str, subscriber: str, email: str, campaign: str, at: datetime) -> Event:
    return Event(
        id=event_id("mailchimp", "consent", why, list_id, subscriber, campaign or "-", minute_of(at)),
        type="consent_change",
        occurred_at=_minute(at),
        identifiers=_identifiers(list_id, subscriber, email),
        properties={"purpose": PURPOSE, "granted": False},
    )


def webhook_events(payload: Mapping[str, Any], config: MailchimpConfig) -> Iterator[Event]:
    """Nothing for the types that are about nobody, that are not known, or that the members' record tells better.

    Nothing either for audiences that are not this connection's.
    """
    fact = _read(WebhookFact, payload)
    if fact.text("list_id") in config.audience and fact.webhook in _WEBHOOKS:
        try:
            yield from _WEBHOOKS[fact.webhook](fact)
        except ValueError as error:  # what `strptime` says would show the text
            raise RecordError(f"a webhook {fact.webhook} with a fired_at that is no date") from error


def _webhook_subscribe(fact: WebhookFact) -> Iterator[Event]:
    """Through a form only: an import, an admin or a program leaves no address of hers behind."""
    email = _address(fact, "email")
    if fact.text("ip_signup"):
        yield _signed_up(fact.text("list_id"), subscriber_hash(email), email, fact.moment)


def _webhook_unsubscribe(fact: WebhookFact) -> Iterator[Event]:
    """Who is deleted by an admin (action `delete`) did not leave, but gets no more mail."""
    email, list_id, campaign = _address(fact, "email"), fact.text("list_id"), fact.text("campaign_id")
    who = subscriber_hash(email)
    if fact.text("action") == "delete":
        yield _withdrawn("delete", list_id, who, email, campaign, fact.moment)
    else:
        yield from _left(list_id, who, email, campaign, fact.moment, fact.text("reason"))


def _webhook_cleaned(fact: WebhookFact) -> Iterator[Event]:
    """The address was given up. The bounces themselves come with the campaign's activity."""
    email = _address(fact, "email")
    who, campaign = subscriber_hash(email), fact.text("campaign_id")
    yield _withdrawn("cleaned", fact.text("list_id"), who, email, campaign, fact.moment)


def _webhook_upemail(fact: WebhookFact) -> Iterator[Event]:
    """Both addresses are hers. The addresses themselves stay out of the properties."""
    new, old, list_id = _address(fact, "new_email"), _address(fact, "old_email"), fact.text("list_id")
    after, before = _identifiers(list_id, subscriber_hash(new), new), _identifiers(list_id, subscriber_hash(old), old)
    yield Event(
        id=event_id("mailchimp", "upemail", list_id, before[1].value, after[1].value, minute_of(fact.moment)),
        type="crm_change",
        occurred_at=_minute(fact.moment),
        identifiers=(after[0], before[0], after[1], before[1]),
        properties={"object": "member", "field": "EMAIL"},
    )


_WEBHOOKS: Final[Mapping[str, Callable[[WebhookFact], Iterator[Event]]]] = {
    "subscribe": _webhook_subscribe,
    "unsubscribe": _webhook_unsubscribe,
    "cleaned": _webhook_cleaned,
    "upemail": _webhook_upemail,
}


def _address(fact: WebhookFact, name: str) -> str:
    address = fact.text(name)
    if "@" not in address:
        raise RecordError(f"a webhook {fact.webhook} without {name}")
    return address


def subscriber_hash(email: str) -> str:
    """MD5 hex of the lower-cased address: Mailchimp's name for a member (vendor sheet, §1)."""
    return hashlib.md5(email.strip().lower().encode(), usedforsecurity=False).hexdigest()


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _is_housekeeping(url: str) -> bool:
    """Unsubscribe and profile links are not interest (`https://<name>.<dc>.list-manage.com/unsubscribe?…`)."""
    parts = urlsplit(url)
    first = parts.path.strip("/").partition("/")[0]
    return (parts.hostname or "").endswith("list-manage.com") and first in ("unsubscribe", "profile")


def _event(fact: OpenFact | ActivityFact, event_type: str, properties: Mapping[str, Any]) -> Event:
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


def _member_identifiers(member: Member) -> tuple[Identifier, ...]:
    """Also the contact id: it stays when the address changes, and so links the new address to the old one."""
    found = _identifiers(member.list_id, member.id, member.email_address)
    more = (Identifier(f"mailchimp:{member.list_id}", member.contact_id),) if member.contact_id else ()
    return (*found, *more)


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
