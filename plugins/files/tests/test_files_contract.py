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
    }

    def setup_method(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "visits.csv.gz"
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
        config = FilesConfig.model_validate({"path": str(self._path), "page_rows": 2, "columns": columns})
        return FilesSource(config, Context("web", Http("web"), lambda: datetime(2026, 6, 1, tzinfo=UTC), {}))

    def happen(self) -> None:
        number = self._text.count("\n")
        self._text += f"2026-05-01T10:00:{number:02d}Z,p{number}@x.example,blog,{number}.5\n"
        self._path.write_bytes(gzip.compress(self._text.encode()))

    def break_reading(self) -> None:
        """The copy stopped half-way."""
        self._path.write_bytes(self._path.read_bytes()[:-9])
