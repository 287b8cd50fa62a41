"""One YAML file: its data, where everything stands, what `${NAME}` means in it, and errors that point into it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from syncline.config._messages import at, problems_of
from syncline.config._types import secret_paths
from syncline.config._yaml import Mistake, Parsed, Path_
from syncline.errors import ConfigError, Problem

__all__ = ["Document", "merged", "shown"]

M = TypeVar("M", bound=BaseModel)

_PLACEHOLDER: Final = re.compile(r"\$(\$?)\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_KEY: Final = re.compile(r"[\w*@/-]+")
_SHORT: Final = 4  # hiding shorter values wherever they occur would make every message unreadable


def shown(path: Path_) -> str:
    """A path as people read it: `syncs[0].fields.Email`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


_NO_LITERAL: Final = 'a secret must not stand in this file; write "${NAME}" and set that environment variable'
_NO_NAME: Final = 'write "${NAME}" with the name of an environment variable; $${ stands for a literal ${'


class Document:
    """A YAML file as it was read. Everything in it is plain data; `${NAME}` is still there and is filled in on use."""

    def __init__(self, path: Path, parsed: Parsed, env: Mapping[str, str]) -> None:
        self.path = path
        self.data: Any = parsed.data
        self.mistakes: tuple[Mistake, ...] = parsed.mistakes
        """What reading found (a key written twice); `read` raises them, `load` reports them with the others."""
        self._lines = parsed.lines
        self._env = env
        self._hidden: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Document({str(self.path)!r})"

    def at(self, path: Path_) -> Any:
        """What stands at a path, `${NAME}` as it is; None when there is nothing."""
        return at(self.data, path)

    def line(self, path: Path_) -> int:
        """The line of a key or item; of the nearest thing around it when it is not there."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def resolve(
        self, path: Path_ = (), *, omit: Collection[str] = (), as_is: Collection[str] = ()
    ) -> tuple[Any, list[Problem]]:
        """What stands at a path with `${NAME}` filled in, and a Problem (path from the top) for each that cannot be.

        Of the keys at that place those in `omit` are left out and those in `as_is` are left as they are.
        """
        found = self.at(path)
        problems: list[Problem] = []
        if not isinstance(found, Mapping):
            return self._filled(found, path, problems), problems
        return {
            key: value if key in as_is else self._filled(value, (*path, key), problems)
            for key, value in found.items()
            if key not in omit
        }, problems

    def validate(
        self,
        model: type[M],
        path: Path_ = (),
        *,
        omit: Collection[str] = (),
        as_is: Collection[str] = (),
        given: Mapping[str, Any] | None = None,
        allow_literal_secrets: bool = False,
    ) -> M:
        """What stands at a path as `model`. ConfigError with every problem, each with its line.

        `omit` and `as_is` as in `resolve`; `given` holds where the file is silent. Where the model has a secret the
        file must have `${NAME}`, unless literals are allowed.
        """
        value, problems = self.check(
            model, path, omit=omit, as_is=as_is, given=given, allow_literal_secrets=allow_literal_secrets
        )
        if value is None:
            raise self.error(problems)
        return value

    def check(
        self,
        model: type[M],
        path: Path_ = (),
        *,
        omit: Collection[str] = (),
        as_is: Collection[str] = (),
        given: Mapping[str, Any] | None = None,
        allow_literal_secrets: bool = False,
        partial: bool = False,
    ) -> tuple[M | None, list[Problem]]:
        """Like `validate`, but hands the problems over (paths from the top) instead of raising.

        `partial`: something else fills in what is missing, so only what is there is judged.
        """
        data, problems = self.resolve(path, omit=omit, as_is=as_is)
        problems += self._literal_secrets(model, path, allow_literal_secrets)
        if given:
            data = {**given, **(data or {})}
        unresolved = {problem.path for problem in problems}
        value: M | None = None
        try:
            value = model.model_validate({} if data is None else data)
        except ValidationError as error:
            found = problems_of(error, model, data, beside=omit, partial=partial)
            problems += [p for p in _under(path, found) if p.path not in unresolved]
        return (None if problems else value), problems

    def error(self, problems: Iterable[Problem]) -> ConfigError:
        """A ConfigError that names file, line and key of every problem, in the order of the file."""
        return merged([(self, problem) for problem in problems])

    def located(self, error: ConfigError, prefix: Path_ = ()) -> ConfigError:
        """`error`, raised by someone who only knew what stands at `prefix`, with file, line and full key."""
        return self.error(self.within(error, prefix))

    def within(self, error: ConfigError, prefix: Path_ = ()) -> list[Problem]:
        """The problems of `error` with their paths from the top of this file."""
        return _under(prefix, error.problems or [Problem((), str(error))])

    def mistake(self, problem: Problem) -> Mistake:
        """A problem with its line, and with everything hidden that must not be printed."""
        return Mistake(self.line(problem.path), problem.path, self._scrubbed(problem.message))

    def _literal_secrets(self, model: type[BaseModel], path: Path_, allowed: bool) -> list[Problem]:
        problems = []
        for place in secret_paths(model, self.at(path), path):
            literal = self.at(place)
            if literal is None or isinstance(literal, Mapping | list) or _only_a_placeholder(literal):
                continue
            self._hidden.setdefault(str(literal), "…")
            if not allowed:
                problems.append(
                    Problem(
                        place, 'a secret must not stand in this file; write "${NAME}" and set that environment variable'
                    )
                )
        return problems

    def _filled(self, value: Any, path: Path_, problems: list[Problem]) -> Any:
        if isinstance(value, Mapping):
            return {key: self._filled(inner, (*path, key), problems) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._filled(inner, (*path, number), problems) for number, inner in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return _PLACEHOLDER.sub(lambda found: self._value_of(found, path, problems), value)
        return value

    def _value_of(self, found: re.Match[str], path: Path_, problems: list[Problem]) -> str:
        escaped, name = found.groups()
        if escaped:
            return found[0][1:]
        value = self._env.get(name)
        if value:
            self._hidden[value] = f"${{{name}}}"
            return value
        problems.append(Problem(path, self._no_value(name)))
        return found[0]

    def _no_value(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            return _NO_NAME
        if name in self._env:
            return f"environment variable {name} is empty; give it a value"
        near = get_close_matches(name, self._env, n=1, cutoff=0.8)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"environment variable {name} is not set{hint or '; set it before you start'}"

    def _scrubbed(self, message: str) -> str:
        """The second line of defence: no message of anyone repeats a value of the environment or a literal secret."""
        for value, instead in sorted(self._hidden.items(), key=lambda pair: -len(pair[0])):
            escaped = repr(value)
            message = message.replace(escaped, f"'{instead}'")
            if len(value) >= _SHORT:
                message = message.replace(value, instead).replace(escaped[1:-1], instead)
        return message


def merged(found: Iterable[tuple[Document, Problem | Mistake]]) -> ConfigError:
    """One ConfigError for the problems of several files: by file as given, then by line."""
    by_file: dict[str, set[Mistake]] = {}
    for document, problem in found:
        mistakes = by_file.setdefault(str(document.path), set())
        mistakes.add(problem if isinstance(problem, Mistake) else document.mistake(problem))
    ordered = [(file, mistake) for file, mistakes in by_file.items() for mistake in sorted(mistakes, key=_order)]
    problems = [Problem(mistake.path, _line(file, mistake)) for file, mistake in ordered]
    return ConfigError(problems=problems)


def _order(mistake: Mistake) -> tuple[int, str, str]:
    return mistake.line, shown(mistake.path), mistake.message


def _line(file: str, mistake: Mistake) -> str:
    key = shown(mistake.path)
    return f"{file}:{mistake.line}: {key}: {mistake.message}" if key else f"{file}:{mistake.line}: {mistake.message}"


def _under(prefix: Path_, problems: Iterable[Problem]) -> list[Problem]:
    return [Problem((*prefix, *problem.path), problem.message) for problem in problems]


def _only_a_placeholder(value: Any) -> bool:
    found = _PLACEHOLDER.fullmatch(value.strip()) if isinstance(value, str) else None
    return found is not None and not found[1]
