"""Reading plain mappings: every mistake is noted with its place, none ends the reading."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from syncline.errors import ConfigError, Problem, did_you_mean
from syncline.model.duration import parse_duration
from syncline.scoring.numbers import literal

__all__ = ["Path", "Reading", "microseconds_of"]

Path = tuple[str | int, ...]


def microseconds_of(duration: timedelta) -> int:
    """A duration as whole microseconds."""
    return duration // timedelta(microseconds=1)


@dataclass
class Reading:
    """One configuration being read, and the problems found so far."""

    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: Path, message: str) -> None:
        """Notes a mistake."""
        self.problems.append(Problem(path, message))

    def finish(self, where: str) -> None:
        """Raises one ConfigError with all problems, if there are any."""
        if self.problems:
            raise ConfigError(problems=self.problems, where=where)

    def mapping(self, value: object, path: Path, what: str) -> Mapping[str, Any]:
        """`value` if it is a mapping with text keys, else an empty one and a problem."""
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        self.wrong(path, f"{what} is a mapping of names, not {value!r}")
        return {}

    def known_keys(self, data: Mapping[str, Any], path: Path, known: Collection[str]) -> None:
        """Refuses every key that is not known, with the nearest that is."""
        for key in data:
            if key not in known:
                self.wrong((*path, key), f"unknown key {key!r}: {did_you_mean(key, known)}")

    def name(self, value: object, path: Path, known: Collection[str], what: str) -> str | None:
        """`value` if it is one of the known names."""
        if isinstance(value, str) and value in known:
            return value
        self.wrong(path, f"unknown {what} {value!r}: {did_you_mean(str(value), known)}")
        return None

    def text(self, data: Mapping[str, Any], key: str, path: Path, default: str = "") -> str:
        """The text under `key`."""
        value = data.get(key, default)
        if isinstance(value, str):
            return value
        self.wrong((*path, key), f"{key} is a text, not {value!r}")
        return default

    def texts(self, data: Mapping[str, Any], key: str, path: Path) -> dict[str, str]:
        """The mapping of texts under `key`, empty if absent."""
        found = self.mapping(data.get(key, {}), (*path, key), key)
        for name, value in found.items():
            if not isinstance(value, str):
                self.wrong((*path, key, name), f"{name} is a text, not {value!r}")
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def number(self, data: Mapping[str, Any], key: str, path: Path) -> Decimal | None:
        """The number under `key`, exactly as written; None if absent or wrong."""
        if key not in data:
            return None
        number = None if isinstance(data[key], str) else literal(data[key])
        if number is None:
            self.wrong((*path, key), f"{key} is a number, not {data[key]!r}")
        return number

    def whole(self, data: Mapping[str, Any], key: str, path: Path, *, least: int = 1) -> int | None:
        """The whole number under `key`, at least `least`; None if absent or wrong."""
        if key not in data:
            return None
        value = data[key]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**9:
            self.wrong((*path, key), f"{key} is a whole number, {least} or more, not {value!r}")
            return None
        return int(value)

    def duration(self, data: Mapping[str, Any], key: str, path: Path, *, zero: bool = False) -> int | None:
        """The duration under `key` in microseconds; None if absent or wrong."""
        if key not in data:
            return None
        try:
            found = microseconds_of(parse_duration(str(data[key])))
        except (ValueError, OverflowError) as error:
            self.wrong((*path, key), f"{key}: {error}")
            return None
        if found == 0 and not zero:
            self.wrong((*path, key), f"{key} is longer than nothing: write 24h, for example")
            return None
        return found

    def items(self, value: object, path: Path, what: str) -> Iterator[tuple[Path, Any]]:
        """Every item of a list with its place."""
        if not isinstance(value, list | tuple):
            self.wrong(path, f"{what} is a list, not {value!r}")
            return
        for index, item in enumerate(value):
            yield (*path, index), item
