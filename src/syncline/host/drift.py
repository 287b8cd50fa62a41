"""Has a vendor's answer changed its shape? A fresh recording held against the ones that are kept.

Only shapes are compared: which calls were answered with which status, and which keys hold values of which kind. So a
recording of any account, redacted, can be held against a simulator's.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from syncline.errors import ConfigError

__all__ = ["CallShape", "Difference", "compare", "shapes"]

_ID: Final = re.compile(
    r"\d{2,}|(?=[^/]*\d)[0-9A-Za-z]{9,}|[0-9a-f]{8,}(-[0-9a-f]+)*|redacted-.*|[^/]*@[^/]*", re.IGNORECASE
)
_VERSION: Final = re.compile(r"v?\d+(\.\d+)+|v\d+|\d{4}-\d{2}(-beta)?")
_LISTED: Final = "[]"


@dataclass(slots=True)
class CallShape:
    """All answers to one call with one status: key path → kinds of value seen there, and in how many answers."""

    answers: int = 0
    kinds: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, body: Any) -> None:
        self.answers += 1
        found = defaultdict(set)
        for path, kind in _kinds(body):
            found[path].add(kind)
        for path, kinds in found.items():
            self.kinds[path] |= kinds
            self.seen[path] += 1

    @property
    def always(self) -> set[str]:
        """The keys that every answer has."""
        return {path for path, count in self.seen.items() if count == self.answers}


@dataclass(frozen=True, slots=True)
class Difference:
    """`call` is `GET /contacts/{id} 200`, `what` says how the fresh answers differ from the kept ones."""

    call: str
    what: str

    def __str__(self) -> str:
        return f"{self.call}: {self.what}"


def shapes(folder: Path) -> dict[str, CallShape]:
    """The shapes of every call recorded in a folder of cassettes (or in one); ConfigError when there is none."""
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.yaml"))
    if not files:
        raise ConfigError(f"no recording at {folder}; `make record VENDOR=…` makes one of a real account")
    found: dict[str, CallShape] = defaultdict(CallShape)
    for path in files:
        for interaction in _interactions(path):
            body = _json(interaction["response"]["body"].get("string", ""))
            if body is not None:
                found[_call(interaction)].add(body)
    return dict(found)


def compare(kept: Mapping[str, CallShape], fresh: Mapping[str, CallShape]) -> list[Difference]:
    """How the fresh answers differ, for the calls that both know. A call that only one side made is no difference."""
    return [
        Difference(call, what)
        for call in sorted(kept.keys() & fresh.keys())
        for what in _differ(kept[call], fresh[call])
    ]


def _differ(kept: CallShape, fresh: CallShape) -> Iterator[str]:
    for path in sorted(kept.always - fresh.kinds.keys()):
        if (_parent(path) in fresh.kinds or not _parent(path)) and not path.endswith(_LISTED):  # a list may be empty
            yield f"{path} is gone"
    for path in sorted(fresh.kinds.keys() - kept.kinds.keys()):
        if (_parent(path) in kept.kinds or not _parent(path)) and not path.endswith(_LISTED):
            yield f"{path} is new ({_words(fresh.kinds[path])})"
    for path in sorted(kept.kinds.keys() & fresh.kinds.keys()):
        was, now = kept.kinds[path] - {"nothing"}, fresh.kinds[path] - {"nothing"}
        if was and now - was:
            yield f"{path} is {_words(now)}, was {_words(was)}"


def _parent(path: str) -> str:
    return path.removesuffix(_LISTED) if path.endswith(_LISTED) else path.rpartition(".")[0]


def _words(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))


def _interactions(path: Path) -> list[dict[str, Any]]:
    try:
        found = YAML(typ="safe").load(path.read_text("utf-8"))
        return list(found["interactions"])
    except (YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is no recording of calls ({type(error).__name__})") from error


def _call(interaction: Mapping[str, Any]) -> str:
    request = interaction["request"]
    return f"{request['method']} {_template(urlsplit(request['uri']).path)} {interaction['response']['status']['code']}"


def _template(path: str) -> str:
    """The path with its ids left out, so that two accounts' calls are the same call."""
    return "/".join(
        "{id}" if _ID.fullmatch(part) and not _VERSION.fullmatch(part) else part for part in path.split("/")
    )


def _json(body: Any) -> Any:
    try:
        return json.loads(body)
    except (TypeError, ValueError):
        return None  # a page of text, a table: they have no keys to compare


def _kinds(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every key path of a JSON value with the kind of what it holds."""
    if isinstance(value, dict):
        if path:
            yield path, "a mapping"
        for name, inner in value.items():
            yield from _kinds(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        if path:
            yield path, "a list"
        for inner in value:
            yield from _kinds(inner, f"{path}{_LISTED}")
    elif path:
        yield path, _kind(value)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    return "a number" if isinstance(value, int | float) else "text"
