"""What no single entry can know: do the names in connectors.yaml refer to something, and does nothing collide?

The checks read the file as it is, not the validated models, so that one broken entry hides no other mistake. What is
not of the right type is passed over here: it is reported where the whole file is validated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from syncline.config._messages import unknown
from syncline.config._yaml import Path_
from syncline.config.document import Document
from syncline.config.models import Origin
from syncline.errors import Problem, did_you_mean

__all__ = ["KindInfo", "band_problems", "cross_problems", "names", "store_problems", "template_problems"]


@dataclass(frozen=True, slots=True)
class KindInfo:
    """What the caller knows of a kind of connector."""

    is_source: bool
    is_sink: bool
    creates_tasks: bool
    keeps_segments: bool
    config_model: type[BaseModel]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One action or sync as it stands in the file."""

    document: Document
    path: Path_

    def text(self, *keys: str | int) -> str | None:
        """The text under these keys, environment variables filled in; None when there is no text."""
        value, _ = self.document.resolve((*self.path, *keys))
        return value if isinstance(value, str) and value else None

    def texts(self, *keys: str | int) -> dict[Path_, str]:
        """The texts of a list under these keys, with their paths."""
        found = self.document.at((*self.path, *keys))
        items = ((number, self.text(*keys, number)) for number in range(len(found) if isinstance(found, list) else 0))
        return {(*self.path, *keys, number): text for number, text in items if text}

    def one_or_more(self, *keys: str | int) -> dict[Path_, str]:
        """The text under these keys, or the texts of a list there."""
        alone = self.text(*keys)
        return self.texts(*keys) if alone is None else {self.at(*keys): alone}

    def one(self, *keys: str | int) -> dict[Path_, str]:
        """The text under these keys with its path, if there is one."""
        alone = self.text(*keys)
        return {} if alone is None else {self.at(*keys): alone}

    def keys(self, *keys: str | int) -> list[str]:
        found = self.document.at((*self.path, *keys))
        return list(found) if isinstance(found, Mapping) else []

    def at(self, *keys: str | int) -> Path_:
        return (*self.path, *keys)

    @property
    def trigger(self) -> tuple[str, str] | None:
        """`enters` or `leaves`, and the segment or SCORE.BAND."""
        given = [(key, text) for key in ("enters", "leaves") if (text := self.text("when", key))]
        return given[0] if len(given) == 1 else None

    @property
    def origins(self) -> dict[str, Origin]:
        """Field → where its value comes from."""
        found = {}
        for name in self.keys("fields"):
            text = self.text("fields", name, "from")
            origin = Origin.parse(text) if text else None
            if origin is not None:
                found[name] = origin
        return found

    @property
    def objects(self) -> list[str]:
        first = self.text("object")
        return [item.casefold() for item in ([first] if first else []) + list(self.texts("also").values())]


def _entries(document: Document, section: str) -> list[_Entry]:
    found = document.at((section,))
    items = found if isinstance(found, list) else []
    return [_Entry(document, (section, number)) for number, item in enumerate(items) if isinstance(item, Mapping)]


def names(document: Document, section: str) -> list[str]:
    """The names defined in a section, whether or not what they stand for is valid."""
    return _Entry(document, (section,)).keys()


def cross_problems(document: Document, kinds: Mapping[str, KindInfo]) -> list[Problem]:
    """Every reference to nothing and every collision, with paths from the top."""
    return list(_Checks(document, kinds).all())


def band_problems(document: Document, bands: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """Every reference to a band that its score's model does not have. Scores not in `bands` are left alone."""
    for action in _entries(document, "actions"):
        verb, subject = action.trigger or ("", "")
        score, _, band = subject.partition(".")
        if band and score in bands and band not in bands[score]:
            known = did_you_mean(band, bands[score]) if bands[score] else "its model has none"
            yield Problem(action.at("when", verb), f"score {score!r} has no band {band!r}; {known}")
    for sync in _entries(document, "syncs"):
        yield from _unbanded(sync, {score for score, known in bands.items() if not known})


def _unbanded(sync: _Entry, without: Collection[str]) -> Iterator[Problem]:
    for name, origin in sync.origins.items():
        if origin.room != "score" or origin.name not in without:
            continue
        message = f"the model of score {origin.name!r} has no bands; give it some, or remove this"
        if origin.part == "band":
            yield Problem(sync.at("fields", name, "from"), message)
        if sync.text("fields", name, "write_when", "or") == "band":
            yield Problem(sync.at("fields", name, "write_when", "or"), message)


def template_problems(document: Document, check: Callable[[str], str | None]) -> Iterator[Problem]:
    """What `check` has to say about the words of tasks."""
    for action in _entries(document, "actions"):
        for key in ("subject", "body"):
            words = action.text("task", key)
            message = check(words) if words else None
            if message:
                yield Problem(action.at("task", key), message)


_URL_PASSWORD: Final = re.compile(r"://[^/@:]*:(?P<password>[^@]+)@")


def store_problems(document: Document) -> list[Problem]:
    """A password written into the store's address."""
    found = document.at(("store",))
    password = _URL_PASSWORD.search(found) if isinstance(found, str) else None
    if password is None or re.fullmatch(r"\$\{[^{}]*\}", password["password"]):
        return []
    return [Problem(("store",), 'a password must not stand in this file; write "${NAME}" in its place')]


def _create_if(sync: _Entry) -> object:
    """As it would be without the words that change nothing."""
    given, _ = sync.document.resolve(sync.at("create_if"))
    if not isinstance(given, Mapping):
        return {}
    return {key: str(value) for key, value in {"identifier": "email", **given}.items()}


_RULES: Final[Mapping[str, Callable[[_Entry], object]]] = {
    "object": lambda sync: (sync.text("object") or "").casefold() or None,
    "also": lambda sync: set(sync.objects[1:]),
    "match": lambda sync: (sync.text("match") or "").casefold() or None,
    "when_missing": lambda sync: sync.text("when_missing") or "skip",
    "when_deleted": lambda sync: sync.text("when_deleted") or "leave",
    "create_if": _create_if,
    "first_run": lambda sync: sync.text("first_run"),
}
"""What all syncs of one connection say alike: key → what a sync says, None where it says nothing that is valid."""


class _Checks:
    def __init__(self, document: Document, kinds: Mapping[str, KindInfo]) -> None:
        self._document = document
        self._kinds = kinds
        self._connections = names(document, "connections")
        self._scores = names(document, "scores")
        self._segments = names(document, "segments")
        self._actions = _entries(document, "actions")
        self._syncs = _entries(document, "syncs")

    def all(self) -> Iterator[Problem]:
        yield from self._plugins()
        for name in _Entry(self._document, ("classify",)).keys("connections"):
            yield from _known("connection", ("classify", "connections", name), name, self._connections)
        for action in self._actions:
            yield from self._trigger(action)
            yield from self._task(action)
        for sync in self._syncs:
            yield from self._sync(sync)
        yield from _twice("actions", ((action, _label(action)) for action in self._actions))
        yield from _twice("syncs", ((sync, sync.text("name")) for sync in self._syncs))
        yield from self._two_owners()
        yield from self._two_lists()
        yield from self._two_minds()
        yield from self._two_guards()
        yield from self._purposes()

    # Connections

    def _plugins(self) -> Iterator[Problem]:
        for name in self._connections:
            plugin = self._plugin(name)
            if plugin and plugin not in self._kinds:
                message = f"{unknown('plugin', plugin, self._kinds)}; or install the package that provides it"
                yield Problem(("connections", name, "plugin"), message)

    def _plugin(self, connection: str) -> str | None:
        plugin = self._document.at(("connections", connection, "plugin"))
        return plugin if isinstance(plugin, str) else None

    def _can(self, connection: str, ability: str) -> bool | None:
        """Whether a connection can do this; None when its plugin is not known."""
        kind = self._kinds.get(self._plugin(connection) or "")
        return None if kind is None else bool(getattr(kind, ability))

    def _target(self, path: Path_, connection: str, ability: str, what: str) -> Iterator[Problem]:
        """That a connection exists and can do this."""
        yield from _known("connection", path, connection, self._connections)
        if connection in self._connections and self._can(connection, ability) is False:
            able = sorted(name for name in self._connections if self._can(name, ability))
            others = f"those that can: {', '.join(able)}" if able else "no connection here can"
            yield Problem(path, f"{connection!r} (plugin {self._plugin(connection)}) {what}; {others}")

    # Actions

    def _trigger(self, action: _Entry) -> Iterator[Problem]:
        if action.trigger is None:
            return
        verb, subject = action.trigger
        score, dot, _ = subject.partition(".")
        if dot:
            yield from _known("score", action.at("when", verb), score, self._scores)
        elif subject in self._scores and subject not in self._segments:
            message = f"{subject!r} is a score; name one of its bands: {subject}.BAND"
            yield Problem(action.at("when", verb), message)
        else:
            yield from _known("segment", action.at("when", verb), subject, self._segments)

    def _task(self, action: _Entry) -> Iterator[Problem]:
        seen: set[str] = set()
        for path, to in action.one_or_more("task", "to").items():
            yield from self._target(path, to, "creates_tasks", "cannot hold tasks")
            if to in seen:
                yield Problem(path, f"{to!r} is named twice; each CRM gets the task once")
            seen.add(to)
        banded = action.trigger is not None and "." in action.trigger[1]
        if score := action.text("task", "score"):
            yield from _known("score", action.at("task", "score"), score, self._scores)
        elif action.text("task", "priority") == "from_score" and not banded and len(self._scores) != 1:
            known = f"one of: {', '.join(sorted(self._scores))}" if self._scores else "there is none yet"
            yield Problem(action.at("task", "priority"), f"from_score needs 'score'; {known}")

    # Syncs

    def _sync(self, sync: _Entry) -> Iterator[Problem]:
        to = sync.text("to") or ""
        if to:
            yield from self._target(sync.at("to"), to, "is_sink", "is a source, nothing can be written there")
        if score := sync.text("create_if", "score"):
            yield from _known("score", sync.at("create_if", "score"), score, self._scores)
        for name, origin in sync.origins.items():
            known = {"score": self._scores, "segment": self._segments}.get(origin.room)
            if known is not None:
                yield from _known(origin.room, sync.at("fields", name, "from"), origin.name, known)
        for name in sync.keys("segments"):
            yield from _known("segment", sync.at("segments", name), name, self._segments)
        if sync.keys("segments") and self._can(to, "is_sink"):
            yield from self._target(sync.at("segments"), to, "keeps_segments", "cannot hold segments")

    def _purposes(self) -> Iterator[Problem]:
        """Every purpose that is named is declared."""
        declared = _Entry(self._document, ("consent",))
        known = declared.keys("purposes")
        named = declared.texts("unsubscribes")
        for action in self._actions:
            named |= action.one("task", "purpose")
        for sync in self._syncs:
            named |= sync.one("purpose")
            for name in sync.keys("fields"):
                named |= sync.one("fields", name, "purpose") | sync.one("fields", name, "consent")
            for name in sync.keys("segments"):
                named |= sync.one("segments", name, "purpose")
        for path, name in named.items():
            if name not in known:
                yield Problem(path, f"{unknown('purpose', name, known)}; declare it: consent: {{purposes: {{…}}}}")

    def _two_owners(self) -> Iterator[Problem]:
        """One CRM field mapped twice. CRMs do not tell names by letter case, so neither do we."""
        owners: dict[tuple[str | None, str, str], Path_] = {}
        for sync in self._syncs:
            for name in sync.keys("fields"):
                path = sync.at("fields", name)
                taken = [(sync.text("to"), item, name.casefold()) for item in sync.objects]
                owned = next((owners[field] for field in taken if field in owners), None)
                if owned is not None:
                    yield Problem(path, f"this field is already mapped {self._there(owned)}; keep one owner")
                for field in taken:
                    owners.setdefault(field, path)

    def _two_lists(self) -> Iterator[Problem]:
        """Two segments that would undo each other in one list for ever, and one segment of which one list would win."""
        lists: dict[tuple[str | None, str], tuple[str, Path_]] = {}
        segments: dict[tuple[str | None, str], tuple[str, Path_]] = {}
        for sync in self._syncs:
            for segment in sync.keys("segments"):
                path = sync.at("segments", segment)
                kept = sync.text("segments", segment) or sync.text("segments", segment, "name")
                if kept is None:
                    continue
                folded = kept.strip().casefold()
                other, there = lists.setdefault((sync.text("to"), folded), (segment, path))
                if other != segment:
                    yield Problem(
                        path,
                        f"segments {segment!r} and {other!r} ({self._there(there)}) both keep {kept!r}, and each would "
                        "remove whom the other adds; give each a list of its own, or make one segment of the two",
                    )
                first, there = segments.setdefault((sync.text("to"), segment), (folded, path))
                if first != folded:
                    yield Problem(path, f"{segment!r} already has another list {self._there(there)}; keep one")

    def _two_minds(self) -> Iterator[Problem]:
        """Syncs of one connection that differ about its records: they are written together, by the same rules."""
        first: dict[str, _Entry] = {}
        for sync in self._syncs:
            one = first.setdefault(sync.text("to") or "", sync)
            if not sync.text("to") or one is sync:
                continue
            for key, rule in _RULES.items():
                said, other = rule(sync), rule(one)
                if said != other and None not in (said, other):
                    yield self._differs(sync, (key,), one.at(key))

    def _two_guards(self) -> Iterator[Problem]:
        """A connection has one guard; where a sync is silent, what another says holds."""
        said: dict[tuple[str | None, str], tuple[str, Path_]] = {}
        for sync in self._syncs:
            for key in sync.keys("guard"):
                limit, path = str(self._document.at(sync.at("guard", key))), sync.at("guard", key)
                other, there = said.setdefault((sync.text("to"), key), (limit, path))
                if other != limit:
                    yield self._differs(sync, ("guard", key), there)

    def _differs(self, sync: _Entry, keys: tuple[str, ...], there: Path_) -> Problem:
        return Problem(
            sync.at(*keys),
            f"sync {sync.text('name')!r} must say the same as stands {self._there(there)}: "
            f"both write the same records of {sync.text('to')!r}, in one go",
        )

    def _there(self, path: Path_) -> str:
        """The sync that a path lies in, and its line."""
        sync = _Entry(self._document, path[:2]).text("name")
        return f"in sync {sync!r}, line {self._document.line(path)}"


def _known(what: str, path: Path_, name: str, known: Collection[str]) -> Iterator[Problem]:
    if name not in known:
        yield Problem(path, unknown(what, name, known))


def _label(action: _Entry) -> str | None:
    """The name an action goes by, as `ActionConfig.label` has it."""
    to = action.one_or_more("task", "to").values()
    derived = "_".join((*action.trigger, *to)) if action.trigger and to else None
    return action.text("name") or derived


def _twice(what: str, named: Iterable[tuple[_Entry, str | None]]) -> Iterator[Problem]:
    first: dict[str, _Entry] = {}
    for entry, name in named:
        if name is None:
            continue
        if name in first:
            line = entry.document.line(first[name].path)
            yield Problem(entry.at("name"), f"two {what} are called {name!r}, the first in line {line}; rename one")
        first.setdefault(name, entry)
