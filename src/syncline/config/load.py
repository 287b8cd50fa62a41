"""connectors.yaml → Config: read it, validate it, check what its names refer to, and report every mistake at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import BaseModel

from syncline.config._checks import (
    KindInfo,
    band_problems,
    cross_problems,
    names,
    store_problems,
    template_problems,
)
from syncline.config._messages import unknown
from syncline.config._yaml import Mistake, Parsed, Path_, SyntaxProblem, parse
from syncline.config.document import Document, merged
from syncline.config.models import OWN_SETTINGS, Config
from syncline.errors import ConfigError, Problem

__all__ = ["KindInfo", "Loaded", "ParsesModels", "Rooms", "load", "load_all", "read", "settings"]

_MODEL_SUFFIXES: Final = (".yaml", ".yml")


class ParsesModels(Protocol):
    def __call__(self, data: Mapping[str, Any], *, name: str) -> Any:
        """The model that plain data says; ConfigError with problems whose paths begin at that data."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the caller lends us, so that models, segments and texts are checked in the same go.

    `preset` gives the data of the shipped model of a name in `presets`; `bands` names the bands of a parsed model.
    `parse_segments` gets the plain segments and the parsed models by score, and raises like `parse_model`.
    `check_template` says what is wrong with the words of a task, or None.
    """

    presets: Collection[str]
    preset: Callable[[str], Mapping[str, Any]]
    parse_model: ParsesModels
    bands: Callable[[Any], Collection[str]]
    parse_segments: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
    check_template: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration in which everything fits. `settings` by connection, `models` by score."""

    document: Document
    config: Config
    settings: Mapping[str, BaseModel]
    models: Mapping[str, Any]
    segments: Any


def read(path: Path, env: Mapping[str, str]) -> Document:
    """The YAML file at `path`. ConfigError when it is missing, empty, no mapping, or not YAML: with the line."""
    document = _open(path, env)
    if document.mistakes:
        raise merged([(document, mistake) for mistake in document.mistakes])
    return document


def load(
    path: Path,
    *,
    env: Mapping[str, str],
    kinds: Mapping[str, KindInfo],
    rooms: Rooms | None = None,
    only: Collection[str] | None = None,
    allow_literal_secrets: bool = False,
) -> Config:
    """The validated configuration. ConfigError with every mistake in it; see `load_all`."""
    return load_all(
        path, env=env, kinds=kinds, rooms=rooms, only=only, allow_literal_secrets=allow_literal_secrets
    ).config


def load_all(
    path: Path,
    *,
    env: Mapping[str, str],
    kinds: Mapping[str, KindInfo],
    rooms: Rooms | None = None,
    only: Collection[str] | None = None,
    allow_literal_secrets: bool = False,
) -> Loaded:
    """The validated configuration and all that it refers to. ConfigError with every mistake, in every file.

    `only` names the connections whose settings (and environment variables) are needed; None: all of them, and those of
    `alerts`. Without `rooms`, models and segments are not looked at.
    """
    loading = _Loading(_open(path, env), env, kinds, allow_literal_secrets)
    config = loading.structure(later=() if only is None else ("alerts",))
    found = loading.settings(names(loading.document, "connections") if only is None else only)
    models = loading.models(rooms) if rooms else {}
    segments = loading.segments(rooms, models) if rooms else None
    if loading.found or config is None:
        raise merged(loading.found)
    return Loaded(loading.document, config, found, models, segments)


def settings(
    document: Document,
    connection: str,
    kind: KindInfo,
    *,
    given: Mapping[str, Any] | None = None,
    allow_literal_secrets: bool = False,
) -> BaseModel:
    """One connection's settings, validated by its plugin's model, environment variables filled in.

    `given` holds where the file is silent: what a simulator brings.
    """
    return document.validate(
        kind.config_model,
        ("connections", connection),
        omit=OWN_SETTINGS,
        given=given,
        allow_literal_secrets=allow_literal_secrets,
    )


def _open(path: Path, env: Mapping[str, str]) -> Document:
    """The file, with what is wrong with it as `mistakes`; ConfigError when it cannot be read at all."""
    try:
        parsed = parse(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except SyntaxProblem as problem:
        parsed = Parsed(None, {}, (Mistake(problem.line or 1, (), str(problem)),))
    if not parsed.mistakes and not isinstance(parsed.data, Mapping):
        empty = parsed.data is None
        message = f"{'the file is empty; it' if empty else 'the file'} must be a mapping (key: value) at the top"
        parsed = Parsed(None, {}, (Mistake(parsed.lines.get((), 1), (), message),))
    return Document(path, parsed, env)


class _Loading:
    """One configuration being loaded, and what was found wrong so far, in which file."""

    def __init__(
        self, document: Document, env: Mapping[str, str], kinds: Mapping[str, KindInfo], literals: bool
    ) -> None:
        self.document = document
        self.found: list[tuple[Document, Problem | Mistake]] = [(document, item) for item in document.mistakes]
        self._env = env
        self._kinds = kinds
        self._literals = literals
        self._files: dict[Path, Document] = {}

    def structure(self, later: Collection[str] = ()) -> Config | None:
        """The file as a Config, and the cross checks. What is under the keys in `later` is filled in when used."""
        if not isinstance(self.document.data, Mapping):
            return None
        config, problems = self.document.check(Config, as_is=("connections", *later))
        self._note(problems)
        self._note(cross_problems(self.document, self._kinds))
        if not self._literals:
            self._note(store_problems(self.document))
        return config

    def settings(self, connections: Collection[str]) -> dict[str, BaseModel]:
        """The settings of these connections, those that are valid."""
        found = {}
        for name in connections:
            path: Path_ = ("connections", name)
            plugin = self.document.at((*path, "plugin"))
            simulated = self.document.at((*path, "simulated")) is True  # the simulator brings its own
            if not isinstance(plugin, str) or plugin not in self._kinds:
                continue  # reported by the cross checks
            value, problems = self.document.check(
                self._kinds[plugin].config_model,
                path,
                omit=OWN_SETTINGS,
                allow_literal_secrets=self._literals,
                partial=simulated,
            )
            self._note(problems)
            if value is not None and not simulated:
                found[name] = value
        return found

    def models(self, rooms: Rooms) -> dict[str, Any]:
        """The model of every score, parsed; and the bands that the file names are theirs."""
        found = {name: self._model(name, rooms) for name in names(self.document, "scores")}
        parsed = {name: model for name, model in found.items() if model is not None}
        bands = {name: list(rooms.bands(model)) for name, model in parsed.items()}
        self._note(band_problems(self.document, bands))
        self._note(template_problems(self.document, rooms.check_template))
        return parsed

    def segments(self, rooms: Rooms, models: Mapping[str, Any]) -> Any:
        """The segments, parsed. Left alone while a model is broken: they would be blamed for it."""
        data, _ = self.document.resolve(("segments",))
        if not isinstance(data, Mapping | None) or set(models) < set(names(self.document, "scores")):
            return None
        try:
            return rooms.parse_segments(data or {}, models)
        except ConfigError as error:
            self._note(self.document.within(error, ("segments",)))
        return None

    def _model(self, score: str, rooms: Rooms) -> Any:
        """The model of one score: written there, under a name in `models`, shipped, or in a file."""
        path: Path_ = ("scores", score, "model")
        reference, _ = self.document.resolve(path)
        if not isinstance(reference, str | Mapping) or not reference:
            return None  # reported by the structure
        if isinstance(reference, Mapping):
            return self._parsed(self.document, path, reference, score, rooms)
        named, _ = self.document.resolve(("models", reference))
        if isinstance(named, str):
            return self._from_file(("models", reference), named, reference, rooms)
        if reference in rooms.presets:
            return rooms.parse_model(rooms.preset(reference), name=reference)
        if reference.endswith(_MODEL_SUFFIXES):
            return self._from_file(path, reference, score, rooms)
        known = {*rooms.presets, *names(self.document, "models")}
        self._note([Problem(path, f"{unknown('model', reference, known)}; or give the path of a .yaml file")])
        return None

    def _from_file(self, path: Path_, name: str, model: str, rooms: Rooms) -> Any:
        """The model in a file, whose path is relative to connectors.yaml."""
        where = self.document.path.parent / name
        if not where.is_file():
            self._note([Problem(path, "there is no such file; its path is relative to this file's folder")])
            return None
        if where not in self._files:
            self._files[where] = _open(where, self._env)
            self.found += [(self._files[where], mistake) for mistake in self._files[where].mistakes]
        file = self._files[where]
        data, problems = file.resolve()
        self.found += [(file, problem) for problem in problems]
        return None if file.mistakes or problems else self._parsed(file, (), data, model, rooms)

    def _parsed(self, file: Document, path: Path_, data: Mapping[str, Any], name: str, rooms: Rooms) -> Any:
        try:
            return rooms.parse_model(data, name=name)
        except ConfigError as error:
            self.found += [(file, problem) for problem in file.within(error, path)]
        return None

    def _note(self, problems: Iterable[Problem]) -> None:
        """Keeps them, but for those about a value that could not be read and is reported already."""
        unread = {mistake.path for mistake in self.document.mistakes if self.document.at(mistake.path) is None}
        self.found += [(self.document, problem) for problem in problems if problem.path not in unread]
