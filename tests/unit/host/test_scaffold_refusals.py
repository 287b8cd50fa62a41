"""What `syncline new` does not do, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncline.errors import ConfigError
from syncline.host.scaffold import write_package


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigError, match=r"cannot write to .*: Not a directory; .*--folder"):
        write_package("source", "acme", tmp_path / "file" / "inside")


def test_a_name_that_is_installed_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'files' is taken: the package syncline_files is installed already"):
        write_package("source", "files", tmp_path / "new")
    assert not (tmp_path / "new").exists()
