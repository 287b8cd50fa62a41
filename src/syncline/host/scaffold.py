"""A new connector package: small, whole, and true to the contract from the first minute."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from syncline.errors import ConfigError

__all__ = ["Role", "write_package"]

Role = Literal["source", "sink"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_SUFFIX: Final = ".tmpl"


def write_package(role: Role, name: str, folder: Path) -> list[Path]:
    """The files of a package `syncline-NAME` in `folder`, with a simulator and its contract tests.

    ConfigError when the name cannot be one, or is taken, or when there is already something in the folder: nothing is
    overwritten.
    """
    _refuse_bad_name(name)
    try:
        return _write(role, name, folder)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}; name another folder with --folder") from error


def _write(role: Role, name: str, folder: Path) -> list[Path]:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; name another one with --folder")
    words = _words(name)
    written = []
    for path, text in _templates(role):
        target = folder / _filled(str(path), words).replace("MODULE", words["module"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(text, words), "utf-8")
        written.append(target)
    return sorted(written)


def _refuse_bad_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a connector's name; use lower-case letters and digits, and '-' between words: acme-crm"
        )
    if keyword.iskeyword(name):
        raise ConfigError(f"{name!r} is a word of Python; take another name")
    module = f"syncline_{_words(name)['module']}"
    if find_spec(module) is not None:  # two of one kind are an error, of which the host could only name one
        raise ConfigError(f"{name!r} is taken: the package {module} is installed already; take another name")


def _words(name: str) -> dict[str, str]:
    """How the name is written where: acme-crm, acme_crm, AcmeCrm, ACME_CRM."""
    parts = re.split("[-_]", name)
    return {
        "kind": "-".join(parts),
        "module": "_".join(parts),
        "Class": "".join(part.capitalize() for part in parts),
        "KIND": "_".join(parts).upper(),
    }


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{\{(kind|module|Class|KIND)\}\}", lambda found: words[found[1]], text)


def _templates(role: Role) -> Iterator[tuple[PurePosixPath, str]]:
    root = resources.files("syncline.host") / "templates"
    for part in ("common", role):
        yield from _below(root / part, PurePosixPath())


def _below(place: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _below(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            yield path / entry.name.removesuffix(_SUFFIX), entry.read_text("utf-8")
