"""The first read of a large CRM in bad weather: it goes on where it was, at hardly more calls than there are pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from syncline.errors import CursorExpiredError, TransientError
from syncline.model import ChangePage
from syncline.testing.memory import MemorySink

PAGES = 40


class Pages:
    """Records handed out one a page, with a position after each; `weather` says what goes wrong at which call."""

    def __init__(self, sink: MemorySink, weather: dict[int, Exception]) -> None:
        self.calls = 0
        self.starts: list[str | None] = []
        self._changes = sink.changes
        self._weather = weather

    def __call__(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        self.starts.append(cursor)
        first = cursor is None or cursor.startswith("page:")
        if not first:
            yield from self._changes(object, fields, cursor)
            return
        [*_, last] = pages = list(self._changes(object, fields, None))
        records = [record for page in pages for record in page.records]
        for number in range(int(cursor.partition(":")[2]) if cursor else 0, len(records)):
            self.calls += 1
            if self.calls in self._weather:
                raise self._weather[self.calls]
            end = number + 1 == len(records)
            yield ChangePage([records[number]], last.cursor if end else f"page:{number + 1}")


@pytest.fixture
def read(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Pages, Any]]:
    """Runs once, with such weather while the leads are read."""

    def run(weather: dict[int, Exception]) -> tuple[Pages, Any]:
        made: list[Pages] = []
        changes = MemorySink.changes

        def patched(self: MemorySink, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
            if object != "Lead":
                return changes(self, object, fields, cursor)
            if not made:
                made.append(Pages(self, weather))
            made[0]._changes = lambda *arguments: changes(self, *arguments)
            return made[0](object, fields, cursor)

        monkeypatch.setattr(MemorySink, "changes", patched)
        report = lab.run().sinks["crm"]
        monkeypatch.setattr(MemorySink, "changes", changes)
        return made[0], report

    return run


def _people(lab: Any) -> None:
    for number in range(PAGES):
        lab.world.put("Lead", {"Email": f"p{number:04d}@acme.example", "LastName": "L"})
    lab.crowd(PAGES)


def test_weather_does_not_send_a_whole_read_back_to_the_start(lab: Any, read: Callable[..., Any]) -> None:
    _people(lab)
    pages, report = read({call: TransientError("503") for call in (7, 30)})
    assert pages.calls == PAGES + 2
    assert pages.starts == [None, "page:6", "page:28"]
    assert (report.error, report.updated, report.created) == (None, PAGES, 0)


def test_a_position_the_vendor_has_forgotten_does(lab: Any, read: Callable[..., Any]) -> None:
    _people(lab)
    pages, report = read({5: TransientError("503"), 6: CursorExpiredError("forgotten")})
    assert pages.starts == [None, "page:4", None]
    assert (report.error, report.updated, report.created) == (None, PAGES, 0)


def test_after_a_forgotten_position_weather_does_not_begin_again_either(lab: Any, read: Callable[..., Any]) -> None:
    """The stored position stays the forgotten one until everything was read."""
    _people(lab)
    lab.run()
    lab.world.expire_cursors()
    pages, report = read({9: TransientError("503")})
    assert pages.starts[1:] == [None, "page:8"]
    assert (report.error, report.unchanged) == (None, PAGES)


def test_what_was_deleted_is_noticed_by_a_whole_read_in_pieces(lab: Any, read: Callable[..., Any]) -> None:
    _people(lab)
    lab.run()
    gone = lab.ref("p0003@acme.example")
    lab.world._rows.pop(gone)  # without a trace
    lab.world.expire_cursors()
    _, report = read({20: TransientError("503")})
    assert (report.unchanged, sum(report.skipped.values())) == (PAGES - 1, 1)
