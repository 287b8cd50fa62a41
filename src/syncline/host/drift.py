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
_MAPPING: Final = "a mapping"
_NOTHING: Final = "nothing"
_NO_JSON: Final = object()


@dataclass(slots=True)
class CallShape:
    """All answers to one call with one status: key path → kinds of value there, and how many of them there were."""

    kinds: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    mappings: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, body: Any) -> None:
        for path, kind in _kinds(body):
            self.kinds[path].add(kind)
            self.seen[path] += 1
            self.mappings[path] += kind == _MAPPING

    @property
    def always(self) -> set[str]:
        """The keys that every mapping has which might have them."""
        return {path for path, count in self.seen.items() if count >= self.mappings[_parent(path)] > 0}


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
            found[_call(interaction)].add(_json(interaction["response"]["body"].get("string", "")))
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
        if fresh.mappings.get(_parent(path)):  # a list may be empty, and what is null has no keys
            yield f"{path} is gone"
    for path in sorted(fresh.kinds.keys() - kept.kinds.keys()):
        if kept.mappings.get(_parent(path)) and not path.endswith(_LISTED):
            yield f"{path} is new ({_words(fresh.kinds[path])})"
    for path in sorted(kept.kinds.keys() & fresh.kinds.keys()):
        was, now = kept.kinds[path] - {_NOTHING}, fresh.kinds[path] - {_NOTHING}
        if was and now - was:
            yield f"{path or 'the answer'} is {_words(now)}, was {_words(was)}"


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
    return "/".join("{id}" if _is_id(part) else part for part in path.split("/"))


def _json(body: Any) -> Any:
    """The answer; `_NO_JSON` for a page of text or a table, which have no keys to compare."""
    try:
        return json.loads(body) if body else None
    except (TypeError, ValueError):
        return _NO_JSON


def _kinds(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every key path of a JSON value with the kind of what it holds; the value itself has the path \"\"."""
    yield path, _kind(value)
    if isinstance(value, dict):
        for name, inner in value.items():
            key = "{id}" if _is_id(str(name)) else str(name)
            yield from _kinds(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _kinds(inner, f"{path}{_LISTED}")


def _is_id(word: str) -> bool:
    return _ID.fullmatch(word) is not None and _VERSION.fullmatch(word) is None


def _kind(value: Any) -> str:
    match value:
        case None:
            return _NOTHING
        case bool():
            return "a boolean"
        case dict():
            return _MAPPING
        case list():
            return "a list"
    if value is _NO_JSON:
        return "no JSON"
    return "a number" if isinstance(value, int | float) else "text"
