"""A website that writes what its visitors do into files: seeded, in two languages, for demos and tests.

Nothing listens: the "vendor" is a folder. Half of the people are served by the older Italian tracking script, whose
payloads `dialect: italian` takes as they are; the new script writes the canonical words into a second file.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH, SimulatedPerson, population

__all__ = ["FilesSimulator"]

_DAYS: Final = 30
_PAGES: Final = {"homepage": "home_pagina", "pricing": "prezzi_pagina", "demo": "demo_pagina", "blog": "blog_pagina"}
_VIDEOS: Final = ("tour", "customer-story", "webinar-cut")

Row = dict[str, Any]


class FilesSimulator:
    """The log files of a website, written at `start`."""

    name = "files"

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._folder = options.folder

    def start(self) -> None:
        """Write both files. The same options write the same bytes."""
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="syncline-files-")
            self._folder = Path(self._temporary.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        english, italian = self._rows()
        _write(self._folder / "web-eventi.jsonl", italian)
        _write(self._folder / "web-events.jsonl", english)

    def stop(self) -> None:
        """Remove the files if nobody asked to keep them."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = self._folder = None

    def __enter__(self) -> FilesSimulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The connection, as it would stand in connectors.yaml."""
        if self._folder is None:
            raise RuntimeError("simulator files is not started")
        return {"plugin": "files", "path": str(self._folder / "web-event*.jsonl"), "dialect": "italian"}

    def counters(self) -> Mapping[str, int]:
        """Files are read without a call."""
        return {"calls": 0, "write_calls": 0}

    def _rows(self) -> tuple[list[Row], list[Row]]:
        now = datetime.fromisoformat(self.options.clock or EPOCH)
        english: list[Row] = []
        italian: list[Row] = []
        for person in population(self.options.people, self.options.seed):
            rows = _Visitor(person, now, person.randomness("web", self.options.seed)).rows()
            if person.number % 2:
                italian += map(_in_italian, rows)
            else:
                english += rows
        return sorted(english, key=_time_of), sorted(italian, key=_time_of)


class _Visitor:
    """What one person does on the site in the 30 days before `now`."""

    def __init__(self, person: SimulatedPerson, now: datetime, chance: random.Random) -> None:
        self._person = person
        self._now = now
        self._chance = chance
        self._sessions = 0

    def rows(self) -> Sequence[Row]:
        """Rows in the canonical words. Every fourth person is known by a number that one log-in ties to the address."""
        rows = list(_HABITS[self._person.persona](self))
        rows.sort(key=_time_of)
        for position, row in enumerate(rows):
            row["user_id"] = f"UT{self._person.number}"
            if self._person.number % 4 or position == 0 or row["event"] == "form_submission":
                row["email"] = self._person.email
        return rows

    def hot(self) -> Iterator[Row]:
        """Compares prices again and again, reads, watches, asks for a demo: 80 points and more."""
        for _ in range(self._chance.randint(1, 2)):
            yield from self._session(self._days(2, 20), ("homepage", "pricing", "demo"), long=1)
        yield from self._session(self._days(1.0, 1.8), ("pricing",), long=1)
        if self._chance.random() < 0.6:
            yield self._download(self._days(3, 12))
        yield from self._videos(self._days(2, 10), self._chance.randint(0, 2))
        if self._chance.random() < 0.5:
            yield self._form(self._days(0.5, 3))
        if self._chance.random() < 0.3:
            yield self._row("call", self._days(0.1, 0.9), call_type="demo", outcome="held")

    def warm(self) -> Iterator[Row]:
        """Interested, not decided: 20 to 60 points."""
        yield from self._session(self._days(3, 25), ("homepage", "pricing"), long=1)
        if self._chance.random() < 0.4:
            yield from self._session(self._days(3, 25), ("blog", "blog"), long=0)
        if self._chance.random() < 0.3:
            yield self._download(self._days(3, 20))
        elif self._chance.random() < 0.3:
            yield from self._videos(self._days(3, 20), 1)

    def cold(self) -> Iterator[Row]:
        """Passes by: less than 20 points."""
        draw = self._chance.random()
        if draw < 0.5:
            yield from self._session(self._days(3, 29), ("blog",), long=0)
        elif draw < 0.7:
            yield from self._session(self._days(3, 29), ("homepage", "pricing"), long=0)
        elif draw < 0.75:
            yield from self._videos(self._days(3, 29), 1)

    def gone(self) -> Iterator[Row]:
        """Does not come any more."""
        return iter(())

    def _days(self, least: float, most: float) -> datetime:
        """A moment that many days ago."""
        back = timedelta(days=self._chance.uniform(least, min(most, _DAYS - 1)))
        return (self._now - back).replace(microsecond=0)

    def _session(self, at: datetime, pages: Sequence[str], *, long: int) -> Iterator[Row]:
        """Pages one after the other, `long` of them, the last ones, for more than a minute."""
        self._sessions += 1
        session = f"S{self._person.number}-{self._sessions}"
        device = self._chance.choice(("desktop", "mobile"))
        for position, page in enumerate(pages):
            stays = position >= len(pages) - long
            seconds = self._chance.randint(70, 400) if stays else self._chance.randint(8, 55)
            yield self._row(
                "page_visit",
                at,
                url=f"https://www.example/{page}",
                page_type=page,
                duration_s=seconds,
                session_id=session,
                device=device,
                geo="IT",
            )
            at += timedelta(seconds=seconds + 65)  # the same page within a minute would be one visit

    def _videos(self, at: datetime, number: int) -> Iterator[Row]:
        for position, video in enumerate(self._chance.sample(_VIDEOS, number)):
            seconds = self._chance.randint(20, 240)
            yield self._row("video_view", at + timedelta(minutes=10 * position), video_id=video, duration_s=seconds)

    def _download(self, at: datetime) -> Row:
        return self._row("content_download", at, content_id="wp-lead-scoring", content_type="whitepaper")

    def _form(self, at: datetime) -> Row:
        person = self._person
        return self._row(
            "form_submission",
            at,
            form_id="demo",
            form_type="demo_request",
            first_name=person.first_name,
            last_name=person.last_name,
            company=person.company,
        )

    def _row(self, event: str, at: datetime, **properties: Any) -> Row:
        return {"event": event, "timestamp": at.isoformat().replace("+00:00", "Z"), **properties}


_HABITS: Final[Mapping[str, Callable[[_Visitor], Iterator[Row]]]] = {
    "hot": _Visitor.hot,
    "warm": _Visitor.warm,
    "cold": _Visitor.cold,
    "gone": _Visitor.gone,
}

_ITALIAN: Final = {
    "page_type": "page",
    "form_id": "modulo",
    "form_type": "campo",
    "content_id": "contenuto",
    "content_type": "tipo_contenuto",
    "video_id": "video",
    "call_type": "tipo_chiamata",
    "outcome": "esito",
    "first_name": "nome",
    "last_name": "cognome",
    "company": "azienda",
}


def _in_italian(row: Row) -> Row:
    """The same fact as the Italian script writes it."""
    changed = {_ITALIAN.get(name, name): value for name, value in row.items() if name not in ("device", "geo")}
    if "duration_s" in changed:
        changed["tempo_trascorso" if row["event"] == "page_visit" else "durata"] = changed.pop("duration_s")
    if "page" in changed:
        changed["page"] = _PAGES[changed["page"]]
        changed["dati_aggiuntivi"] = {"dispositivo": row["device"], "geo": row["geo"]}
    if "campo" in changed:
        changed["campo"] = "richiesta_demo"
    return changed


def _time_of(row: Row) -> str:
    return str(row["timestamp"])


def _write(path: Path, rows: Sequence[Row]) -> None:
    """As a whole or not at all."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
