"""The files source keeps the contract of every source."""

from __future__ import annotations

import gzip
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from syncline.sdk import Context, Http
from syncline.testing.contract import SourceContract
from syncline_files import FilesConfig, FilesSource

HEADER = "when,email,page,seconds\n"


class TestFilesSource(SourceContract):
    exempt: ClassVar = {
        "test_refused_credentials_are_an_auth_error": "files have no credentials",
        "test_withdrawn_access_is_an_auth_error": "files have no credentials",
        "test_a_session_that_ends_is_renewed": "nobody logs in to a file",
        "test_a_request_to_slow_down_says_for_how_long": "a file is never asked too often",
        "test_trouble_is_not_tried_again": "a file is opened, not called; nobody counts it",
        "test_a_page_token_that_comes_again_is_an_error": "a file has no page tokens: its lines follow each other",
    }

    def setup_method(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "visits-2.csv.gz"
        self._text = HEADER
        for _ in range(5):
            self.happen()

    def teardown_method(self) -> None:
        self._folder.cleanup()

    def connect(self) -> FilesSource:
        columns = {
            "type": "page_visit",
            "at": "when",
            "identifiers": {"email": "email"},
            "properties": {"page_type": "page", "duration_s": "seconds"},
        }
        config = FilesConfig.model_validate({"path": "visits-*.csv.gz", "page_rows": 2, "columns": columns})
        now = datetime(2026, 6, 1, tzinfo=UTC)
        return FilesSource(config, Context("web", Http("web"), lambda: now, {}, self._path.parent))

    def connect_empty(self) -> FilesSource:
        """A file that has its header and waits for its first row."""
        self._path.write_bytes(gzip.compress(HEADER.encode()))
        return self.connect()

    def happen(self) -> None:
        number = self._text.count("\n")
        self._text += f"2026-05-01T10:00:{number:02d}Z,p{number}@x.example,blog,{number}.5\n"
        self._path.write_bytes(gzip.compress(self._text.encode()))

    def empty_page(self) -> None:
        """A file without rows, before the one that has them."""
        self._path.with_name("visits-1.csv.gz").write_bytes(gzip.compress(HEADER.encode()))

    def break_reading(self) -> None:
        """The copy stopped half-way."""
        self._path.write_bytes(self._path.read_bytes()[:-9])

    def be_down(self) -> None:
        """The copy has only just begun."""
        self._path.write_bytes(self._path.read_bytes()[:12])
