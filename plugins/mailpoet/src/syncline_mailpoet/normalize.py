"""Raw records to canonical events: pure, and the same for both ways in.

An event's id is made of the site, the row's id and the second it was made. That second tells rows apart where a number
was given twice (MySQL before 8.0 forgets the highest ones at a restart; a restored backup does too).

A verdict "machine" can be taken back by MailPoet, in the same row, but never the other way. The host believes who says
a fact first; so what a machine did has an id of its own, and a row that became a person's is a new event which counts,
whichever of the two arrives first. The machine's stays beside it, and counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from syncline.errors import RecordError
from syncline.model import Event, Identifier, RawRecord, event_id
from syncline_mailpoet.config import MailPoetConfig
from syncline_mailpoet.payloads import (
    BounceRow,
    ClickRow,
    FormRow,
    ListRow,
    OpenRow,
    SubscriberRow,
    UnsubscribeRow,
    moment_text,
)

__all__ = ["MODELS", "MOST_CLICKS", "Normalizer", "problems"]

P = TypeVar("P", bound=BaseModel)
Fact = OpenRow | ClickRow | UnsubscribeRow | BounceRow | FormRow | ListRow

PURPOSE: Final = "email_marketing"
MOST_CLICKS: Final = 1_000
"""Nobody clicks one link in one mail more often; what goes beyond is a program's and makes no events."""

MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "subscribers": SubscriberRow,
    "lists": ListRow,
    "unsubscribes": UnsubscribeRow,
    "bounces": BounceRow,
    "forms": FormRow,
    "opens": OpenRow,
    "clicks": ClickRow,
}

_ERASED: Final = re.compile(r"deleted-[0-9a-f]+@site\.invalid", re.IGNORECASE)
"""What WordPress's privacy tool makes of an address (vendor sheet, §6)."""
_CONSENTING: Final = frozenset({"subscribed", "inactive"})
"""`inactive` did not open for long: a cron writes it, nobody withdrew anything."""
_SHORTCODE: Final = "["
"""`[link:subscription_unsubscribe_url]` and its kin: housekeeping, not interest."""
_MACHINE: Final = 1
_SAME: Final = timedelta(seconds=1)


class Normalizer:
    """The events of this connection's records."""

    def __init__(self, config: MailPoetConfig) -> None:
        self._config = config
        self._site = config.site

    def events(self, raw: RawRecord) -> Iterator[Event]:
        """RecordError when the payload is no row of the stream."""
        if "unreadable" in raw.payload:
            raise RecordError(f"not a row that MailPoet writes: {raw.payload['unreadable']}")
        row = _read(MODELS[raw.stream], raw.payload)
        return _EVENTS[raw.stream](self, row)

    def opens(self, row: OpenRow) -> Iterator[Event]:
        machine = row.user_agent_type == _MACHINE
        yield self._mail("email_open", row, ("open", *_key(row), *_as(machine=machine)), {"machine": machine})

    def clicks(self, row: ClickRow) -> Iterator[Event]:
        """One for each time: the first when the row was made, the others when it was last changed.

        Without its link a click cannot be told from the click that unsubscribes, and counts as neither.
        """
        if row.url is None or row.url.startswith(_SHORTCODE):
            return
        machine = row.user_agent_type == _MACHINE
        first = row.created_at or row.updated_at
        for number in range(1, min(row.count, MOST_CLICKS) + 1):
            key = ("click", *_key(row), str(number), *_as(machine=machine))
            at = first if number == 1 else row.updated_at
            yield self._mail("email_click", row, key, {"url": row.url, "machine": machine}, at)

    def unsubscribes(self, row: UnsubscribeRow) -> Iterator[Event]:
        """The person left, and the consent with her."""
        reason = row.reason or row.source
        properties = {"reason": reason} if reason and reason != "unknown" else {}
        yield self._mail("email_unsubscribe", row, ("unsub", *_key(row)), properties)
        yield self._consent(row, ("unsub-consent", *_key(row)), row.created_at, PURPOSE, granted=False)

    def bounces(self, row: BounceRow) -> Iterator[Event]:
        yield self._mail("email_bounce", row, ("bounce", *_key(row)), {"reason": "hard"})

    def forms(self, row: FormRow) -> Iterator[Event]:
        known = self._config.forms
        kind = known.get(str(row.form_id)) or known.get(row.form or "") or "newsletter_signup"
        properties = {"form_id": f"mailpoet:{row.form_id}", "form_type": kind}
        yield self._event("form_submission", ("form", *_key(row)), row.created_at, self._who(row), properties)

    def lists(self, row: ListRow) -> Iterator[Event]:
        """What she wants of one list. Lists that WordPress or WooCommerce fill by themselves say nothing about that."""
        if row.list_type != "default" or not row.list_name:
            return
        key = ("list", str(row.id), row.status, moment_text(row.updated_at))
        yield self._consent(row, key, row.updated_at, f"list:{row.list_name}", granted=row.status == "subscribed")
        if row.source in self._config.signups:
            properties = {"form_id": f"mailpoet:list:{row.segment_id}", "form_type": "newsletter_signup"}
            at = row.created_at or row.updated_at
            yield self._event("form_submission", ("seg", *_key(row)), at, self._who(row), properties)

    def subscribers(self, row: SubscriberRow) -> Iterator[Event]:
        """Consent and attributes as they are now; the id changes when they do, not when the row is only touched."""
        erased = _ERASED.fullmatch(row.email) is not None
        granted = row.status in _CONSENTING and row.deleted_at is None and not erased
        profile = {} if erased else {"first_name": row.first_name.strip(), "last_name": row.last_name.strip()}
        profile = {name: value for name, value in profile.items() if value}
        words = (row.email.lower(), row.status, str(granted), *(f"{k}={v}" for k, v in sorted(profile.items())))
        yield self._event(
            "consent_change",
            ("subscriber", str(row.id), moment_text(_last_said(row, granted=granted)), *words),
            row.updated_at,
            self._names(row.id, row.email),
            {"purpose": PURPOSE, "granted": granted},
            profile,
        )
        if self._config.page_views and row.last_page_view_at is not None:
            key = ("pv", str(row.id), moment_text(row.last_page_view_at))
            yield self._event("page_visit", key, row.last_page_view_at, self._names(row.id, row.email), {})

    # Making events

    def _mail(
        self,
        kind: str,
        row: OpenRow | ClickRow | UnsubscribeRow | BounceRow,
        key: tuple[str, ...],
        properties: Mapping[str, Any],
        at: datetime | None = None,
    ) -> Event:
        """An event about one mail; when the row was made unless told otherwise."""
        moment = at or row.created_at
        if moment is None:
            raise RecordError(f"{kind} {row.id} has no time")
        mail = {
            **({"campaign_id": str(row.newsletter_id)} if row.newsletter_id else {}),
            **({"campaign": row.campaign} if row.campaign else {}),
        }
        return self._event(kind, key, moment, self._who(row), {**mail, **properties})

    def _consent(self, row: Fact, key: tuple[str, ...], at: datetime, purpose: str, *, granted: bool) -> Event:
        return self._event("consent_change", key, at, self._who(row), {"purpose": purpose, "granted": granted})

    def _event(
        self,
        kind: str,
        key: tuple[str, ...],
        at: datetime,
        who: tuple[Identifier, ...],
        properties: Mapping[str, Any],
        profile: Mapping[str, str] | None = None,
    ) -> Event:
        return Event(event_id("mailpoet", self._site, *key), kind, at, who, properties, profile or {})

    def _who(self, row: Fact) -> tuple[Identifier, ...]:
        return self._names(row.subscriber_id, row.email)

    def _names(self, subscriber: int, email: str | None) -> tuple[Identifier, ...]:
        """The lower-cased address, if she still has one, and the subscriber's number on this site."""
        address = (email or "").strip().lower()
        known = (Identifier("email", address),) if address and not _ERASED.fullmatch(address) else ()
        return (*known, Identifier(f"mailpoet:{self._site}", str(subscriber)))


_EVENTS: Final[Mapping[str, Callable[[Normalizer, Any], Iterator[Event]]]] = {
    "subscribers": Normalizer.subscribers,
    "lists": Normalizer.lists,
    "unsubscribes": Normalizer.unsubscribes,
    "bounces": Normalizer.bounces,
    "forms": Normalizer.forms,
    "opens": Normalizer.opens,
    "clicks": Normalizer.clicks,
}


def _key(row: Fact) -> tuple[str, str]:
    """The row's id and the second it was made."""
    return str(row.id), moment_text(row.created_at) if row.created_at else ""


def _as(*, machine: bool) -> tuple[str, ...]:
    return ("machine",) if machine else ()


def _last_said(row: SubscriberRow, *, granted: bool) -> datetime:
    """When the row last said something about her, as far as it tells.

    `updated_at` also moves with every mail that is sent to her and every open. That would be an event each time; so
    then it is the last of the times that do concern her. Only withdrawals are said again: better twice than not at all.
    """
    if not granted or not _is_bookkeeping(row):
        return row.updated_at
    said = (row.created_at, row.confirmed_at, row.last_subscribed_at, row.left_at)
    return max((moment for moment in said if moment is not None), default=row.updated_at)


def _is_bookkeeping(row: SubscriberRow) -> bool:
    """Whether MailPoet's own book-keeping explains when the row was last changed."""
    own = (
        row.last_sending_at,
        row.last_open_at,
        row.last_click_at,
        row.last_engagement_at,
        row.last_page_view_at,
        row.engagement_score_updated_at,
    )
    return any(moment is not None and abs(row.updated_at - moment) <= _SAME for moment in own)


def _read(model: type[P], payload: Mapping[str, Any]) -> P:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise RecordError(f"not a MailPoet {model.__name__}: {problems(error)}") from error


def problems(error: ValidationError) -> str:
    """What is wrong, without the values."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
