"""What kind of page, form or content something is: a table that an admin keeps, not a programmer."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

from syncline.model import Event, event_id

__all__ = ["Classifier", "ClassifyRules", "DerivedType", "derived_ids"]

DerivedType = Literal["page_visit", "content_download", "video_view"]
_DERIVED: Final[tuple[DerivedType, ...]] = ("page_visit", "content_download", "video_view")
_REMEMBERED: Final = 10_000  # addresses per table: a campaign has few distinct links, a site has few distinct pages


@dataclass(frozen=True, slots=True)
class ClassifyRules:
    """Type → URL patterns or vendor ids, the first match in this order wins; patterns ignore letter case.

    `video` are patterns of addresses that play a video. `clicks_count_as` says what a click in an e-mail also is where
    its address matches: useful when nothing else tells us about the visit.
    """

    page_type: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    form_type: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content_type: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    video: tuple[str, ...] = ()
    clicks_count_as: frozenset[DerivedType] = frozenset()


class Classifier:
    """Fills in `page_type`, `form_type` and `content_type` where the vendor does not say."""

    def __init__(self, rules: ClassifyRules | None = None) -> None:
        self.rules = rules or ClassifyRules()
        self._page = _table(self.rules.page_type)
        self._form = _table(self.rules.form_type)
        self._content = _table(self.rules.content_type)
        self._video = _table({"video": self.rules.video})
        self._fill: dict[str, tuple[str, tuple[str, ...], _Lookup]] = {
            "page_visit": ("page_type", ("url",), self._page),
            "form_submission": ("form_type", ("form_id", "page_id"), self._form),
            "content_download": ("content_type", ("content_id", "url"), self._content),
        }

    def classify(self, event: Event) -> Event:
        """The event with its type of page, form or content; the event itself when there is nothing to add."""
        fill = self._fill.get(event.type)
        if fill is None or fill[0] in event.properties:
            return event
        name, sources, lookup = fill
        for source in sources:
            found = lookup(event.properties.get(source, ""))
            if found is not None:
                return _with(event, {**event.properties, name: found})
        return event

    def derived(self, click: Event) -> tuple[Event, ...]:
        """What a click in an e-mail counts as besides; its id depends on the click's alone."""
        wanted = self.rules.clicks_count_as
        if click.type != "email_click" or not wanted:
            return ()
        url = click.properties.get("url", "")
        meanings: tuple[tuple[DerivedType, str, str | None], ...] = (
            ("page_visit", "page_type", self._page(url)),
            ("content_download", "content_type", self._content(url)),
            ("video_view", "", self._video(url)),
        )
        return tuple(
            _also(click, type_, {"url": url, name: found} if name else {"url": url})
            for type_, name, found in meanings
            if found is not None and type_ in wanted
        )


def derived_ids(click_id: str) -> dict[DerivedType, str]:
    """The ids of everything a click could count as, whatever the rules."""
    return {type_: event_id("derived", type_, click_id) for type_ in _DERIVED}


_Lookup = Callable[[str], str | None]


def _also(click: Event, type_: DerivedType, properties: Mapping[str, Any]) -> Event:
    id_ = event_id("derived", type_, click.id)
    return Event(id_, type_, click.occurred_at, click.identifiers, properties, {}, click.source)


def _with(event: Event, properties: Mapping[str, Any]) -> Event:
    return Event(event.id, event.type, event.occurred_at, event.identifiers, properties, event.profile, event.source)


def _table(types: Mapping[str, tuple[str, ...]]) -> _Lookup:
    """Text → its type, or None."""
    patterns = [
        (name, re.compile("|".join(fnmatch.translate(glob) for glob in globs), re.IGNORECASE))
        for name, globs in types.items()
        if globs
    ]

    @lru_cache(maxsize=_REMEMBERED)
    def look_up(text: str) -> str | None:
        if not text:
            return None
        return next((name for name, pattern in patterns if pattern.match(text)), None)

    return look_up
