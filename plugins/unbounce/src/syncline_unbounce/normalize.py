"""Submissions to canonical events: pure, and the same for both ways in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from syncline.errors import RecordError
from syncline.model import Event, Identifier, RawRecord, event_id
from syncline_unbounce.config import FORM_TYPES, UnbounceConfig
from syncline_unbounce.submission import ADDRESS, Submission, any_match, submission_of

__all__ = ["submission_events"]

_API: Final = "api"


def submission_events(raw: RawRecord, config: UnbounceConfig) -> Iterator[Event]:
    """The form; what was downloaded for it, and the visit, where the settings say so."""
    submission = submission_of(raw, config)
    if submission.created_by == _API and config.api_leads == "skip":
        return
    teller = _Teller(submission, config)
    yield teller.form()
    if (download := teller.download()) is not None:
        yield download
    if config.visits:
        yield teller.visit()


class _Teller:
    """Tells what a submission means, in events about the same person at the same minute."""

    def __init__(self, submission: Submission, config: UnbounceConfig) -> None:
        self._submission = submission
        self._config = config
        self._email_field, email = _email(submission, config)
        self._who = (Identifier("email", email),)
        self._profile, self._told = _profile(submission, config)

    def form(self) -> Event:
        one = self._submission
        properties: dict[str, Any] = {
            "form_id": one.address or one.page_id,
            "page_id": one.page_id,
            "variant": one.variant,
            "fields": self._fields(),
            "form_type": self._form_type(),
        }
        return self._event("form_submission", properties, "form", profile=True)

    def download(self) -> Event | None:
        """What the asset field names, or what the page is for; None for other pages."""
        one, rules = self._submission, self._config.downloads
        asset = next((value for name in self._config.asset_fields if (value := one.first(name))), "")
        named = next((type_ for type_, patterns in rules.items() if asset and any_match((asset,), patterns)), None)
        content = named or next((type_ for type_, patterns in rules.items() if one.page_matches(patterns)), None)
        if not asset and content is None:
            return None
        properties = {
            "content_id": asset or one.address or one.page_id,
            "content_type": content,
            "url": one.address,
        }
        return self._event("content_download", properties, "dl")

    def visit(self) -> Event:
        return self._event("page_visit", {"url": self._submission.address or self._submission.page_id}, "pv")

    def _event(self, type_: str, properties: dict[str, Any], part: str, *, profile: bool = False) -> Event:
        said = {name: value for name, value in properties.items() if value}
        return Event(
            id=event_id("unbounce", self._submission.fingerprint, part),
            type=type_,
            occurred_at=self._at,
            identifiers=self._who,
            properties=said,
            profile=self._profile if profile else {},
        )

    @property
    def _at(self) -> datetime:
        return self._submission.minute

    def _form_type(self) -> str | None:
        """None leaves it to the host's tables."""
        hidden = self._submission.first(self._config.form_field) if self._config.form_field else ""
        if hidden.lower() in FORM_TYPES:
            return hidden.lower()
        rules = self._config.forms.items()
        return next((type_ for type_, patterns in rules if self._submission.page_matches(patterns)), None)

    def _fields(self) -> dict[str, Any]:
        """What else was filled in, hidden fields included; several values stay a list. Events name nobody."""
        withheld = {self._email_field, *self._told}
        found: dict[str, Any] = {
            name: values[0] if len(values) == 1 else list(values)
            for name, values in self._submission.values.items()
            if name not in withheld
            and any_match((name,), self._config.fields)
            and not any_match((name,), self._config.private)
            and not any(ADDRESS.fullmatch(value) for value in values)
        }
        if self._submission.created_by:
            found["created_by"] = self._submission.created_by
        return found


def _email(submission: Submission, config: UnbounceConfig) -> tuple[str, str]:
    """The name and the value of the e-mail field."""
    own = next((name for page, name in config.email_field.items() if submission.page_matches((page,))), None)
    for name in (own,) if own is not None else config.email_fields:
        if value := submission.first(name):
            return name.lower(), value.lower()
    if own is None:
        looking = sorted(submission.values, key=lambda name: ("mail" not in name, name))
        for name in looking:
            if ADDRESS.fullmatch(value := submission.first(name)):
                return name, value
    raise RecordError(_nobody(submission, own))


def _nobody(submission: Submission, own: str | None) -> str:
    said = ", ".join(sorted(submission.values)) or "none"
    looked = f"its field {own!r} (setting email_field) is empty" if own else "no field holds one"
    return (
        f"page {submission.page_id} {submission.page_name!r}: no e-mail address, {looked}; filled in were: {said}."
        " If one of them is the address, name it under email_field"
    )


def _profile(submission: Submission, config: UnbounceConfig) -> tuple[dict[str, str], set[str]]:
    """The person's attributes, and every field that may tell one."""
    found = {}
    for attribute, names in config.profile.items():
        if value := next((value for name in names if (value := submission.first(name))), ""):
            found[attribute] = value
    return found, {name.lower() for names in config.profile.values() for name in names}
