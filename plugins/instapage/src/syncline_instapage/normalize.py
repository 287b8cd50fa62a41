"""Raw records to canonical events: pure, and the same for both ways in.

Nothing that only one of them knows stands in an event: no address of the visitor, no device, no seconds, no submission
id. So it does not matter which comes first, and the other is a repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from syncline.errors import RecordError
from syncline.model import Event, Identifier, RawRecord, event_id
from syncline_instapage.config import InstapageConfig, PageRule
from syncline_instapage.forms import Form, form_of
from syncline_instapage.labels import DEFAULT_LABELS, fits, recognised, speaks_of_a_person

__all__ = ["ALL_VALUES", "events_of"]

_log = logging.getLogger(__name__)

ALL_VALUES: Final = "all values"
"""Beside the answers that are kept, the digest of all: by it the host knows a form that was sent again. (With its
blank it can be no label.)"""


def events_of(raw: RawRecord, config: InstapageConfig) -> Iterator[Event]:
    """The submission; besides, where configured, the visit of its page and the download it opened."""
    form = form_of(raw.payload, config)
    rule = _rule_for(form, config.pages)
    labels = _labels(config, rule)
    attributes = recognised(form.answers, labels)
    _tell_what_is_not_mapped(form, config, labels)
    identifiers = _identifiers(form, config, attributes.pop("email", ""))
    if config.page_visits:
        yield _event("page_visit", form, identifiers, {"url": form.url, "page_type": rule.page_type if rule else None})
    properties = {
        "form_id": f"instapage:{form.page_id}",
        "form_type": rule.form_type if rule else None,
        "page_id": form.page_id,
        "variant": _variant(form, config),
        "fields": _fields(form, config, labels),
    }
    yield _event("form_submission", form, identifiers, properties, attributes)
    if rule and rule.content_type:
        content = rule.content_id or f"instapage:{form.page_id}"
        yield _event("content_download", form, identifiers, {"content_id": content, "content_type": rule.content_type})


def _event(
    event_type: str,
    form: Form,
    identifiers: tuple[Identifier, ...],
    properties: Mapping[str, Any],
    profile: Mapping[str, str] | None = None,
) -> Event:
    said = {name: value for name, value in properties.items() if value}
    id_ = event_id("instapage", event_type, form.fingerprint)
    return Event(id_, event_type, form.minute, identifiers, said, profile or {})


def _rule_for(form: Form, rules: Sequence[PageRule]) -> PageRule | None:
    return next((rule for rule in rules if _is_about(rule, form)), None)


def _is_about(rule: PageRule, form: Form) -> bool:
    title = form.title.casefold()
    return (
        (not rule.id or form.page_id in rule.id)
        and (not rule.title or any(fnmatchcase(title, pattern.casefold()) for pattern in rule.title))
        and (not rule.url or any(_leads_to(pattern.lower(), form.url) for pattern in rule.url))
    )


def _leads_to(pattern: str, url: str) -> bool:
    """With the scheme or without, with the last slash or without."""
    bare = url.partition("://")[2]
    return any(fnmatchcase(text, pattern) for text in (url, bare, f"{url}/", f"{bare}/") if bare)


def _labels(config: InstapageConfig, rule: PageRule | None) -> dict[str, tuple[str, ...]]:
    """Attribute → labels: those of the page's rule first, then those of the connection, which replace the defaults."""
    general = {**DEFAULT_LABELS, **config.labels}
    own = rule.labels if rule else {}
    return {name: (*own.get(name, ()), *general.get(name, ())) for name in (*general, *own)}


def _tell_what_is_not_mapped(form: Form, config: InstapageConfig, labels: Mapping[str, Sequence[str]]) -> None:
    if not _log.isEnabledFor(logging.DEBUG):
        return
    mapped = [*labels.values(), *config.identifiers.values(), config.keep_fields]
    unknown = {answer.label for answer in form.answers if not any(fits(answer.label, some) for some in mapped)}
    if unknown:
        _log.debug("page %s: nothing maps the labels %s", form.page_id, ", ".join(sorted(unknown)))


def _identifiers(form: Form, config: InstapageConfig, email: str) -> tuple[Identifier, ...]:
    """The address first; RecordError when the form does not say who it was."""
    found = [Identifier("email", email.lower())] if email else []
    for namespace, patterns in config.identifiers.items():
        value = next((answer.value for answer in form.answers if fits(answer.label, patterns)), "")
        found += [Identifier(namespace, value)] if value else []
    if not found:
        names = ", ".join(sorted({answer.label for answer in form.answers})) or "none that is filled"
        raise RecordError(
            f"page {form.page_id}: no field holds an e-mail address, so nobody knows who it was; its fields: {names}."
            " Name the right one in `labels: {email: …}`, or another identifier in `identifiers`, and replay"
        )
    return tuple(found)


def _variant(form: Form, config: InstapageConfig) -> str:
    """The webhook has one name of the variation, the API two, and nobody knows which the webhook sends (unverified)."""
    if config.variant == "none":
        return ""
    return form.letter if config.variant == "letter" else form.custom_name


def _fields(form: Form, config: InstapageConfig, labels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The answers that `keep_fields` asks for, and a digest of all; what names a person belongs into the profile.

    Two fields with one label (`Phone`, `Phone `) are told together.
    """
    told: dict[str, list[str]] = {}
    for answer in form.answers:
        if fits(answer.label, config.keep_fields) and not speaks_of_a_person(answer, labels):
            told.setdefault(answer.label, []).append(answer.value)
    return {ALL_VALUES: form.digest, **{label: ", ".join(dict.fromkeys(values)) for label, values in told.items()}}
