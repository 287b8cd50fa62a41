"""A connection to files that a test writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncline.errors import ConnectorError, RecordError
from syncline.model import Event, Page, RawRecord
from syncline.sdk import Context, Http
from syncline_files import FilesConfig, FilesSource

VISITS: dict[str, Any] = {
    "type": "page_visit",
    "at": "when",
    "identifiers": {"email": "email"},
    "properties": {"page_type": "page", "duration_s": "seconds"},
}


class Connection:
    """One source, the cursor a host would keep for it, and what came out of it."""

    def __init__(self, path: str | list[str], **settings: Any) -> None:
        if "dialect" not in settings:
            settings.setdefault("columns", VISITS)
        self.config = FilesConfig.model_validate({"path": path, **settings})
        context = Context("web", Http("web"), lambda: datetime(2026, 6, 1, tzinfo=UTC), {})
        self.source = FilesSource(self.config, context)
        self.cursor: str | None = None

    def pages(self) -> list[Page]:
        """What is new; the cursor moves with every page, as it does in a host's transaction."""
        pages = []
        for page in self.source.read("rows", self.cursor):
            pages.append(page)
            self.cursor = page.cursor
        return pages

    def records(self) -> list[RawRecord]:
        return [record for page in self.pages() for record in page.records]

    def records_and_error(self) -> tuple[list[RawRecord], ConnectorError]:
        """What is new before the read fails, which it must."""
        records: list[RawRecord] = []
        try:
            for page in self.source.read("rows", self.cursor):
                records += page.records
                self.cursor = page.cursor
        except ConnectorError as error:
            return records, error
        raise AssertionError("the read ended as if it were complete")

    def events(self) -> list[Event]:
        """The events of what is new; rows that cannot be used are an error here."""
        return [event for record in self.records() for event in self.source.normalize(record)]

    def sorted_out(self) -> tuple[list[Event], list[str]]:
        """Events, and the reasons of the rows that were quarantined."""
        events: list[Event] = []
        reasons: list[str] = []
        for record in self.records():
            try:
                events += self.source.normalize(record)
            except RecordError as error:
                reasons.append(str(error))
        return events, reasons


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Connection]:
    """Paths count from the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return Connection
