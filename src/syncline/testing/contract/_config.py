"""What the clauses about settings look at: the models of a connection's settings, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

__all__ = ["CANARY", "accepts", "addresses", "models_of", "open_secrets", "problems_with", "secrets_of", "settings_of"]

CANARY: Final = "hush-3f9c71-not-to-be-seen"
"""Stands for a secret that somebody put behind a misspelt key."""

_SECRET: Final = re.compile(
    r"(?:^|_)(?:pass(?:word|wd|phrase)|secret|token|api_?key|(?:private|signing|secret|access)_key|credentials?|dsn)$"
)
_ADDRESS: Final = re.compile(r"(?:^|_)(?:url|uri|endpoint|host|hostname|domain|server|address)$")


def models_of(root: type[BaseModel]) -> list[type[BaseModel]]:
    """`root` and every model within it, each once."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [root]
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in found:
                found.append(kind)
                waiting += [field.annotation for field in kind.model_fields.values()]
        else:
            waiting += get_args(kind)
    return found


def settings_of(root: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, FieldInfo]]:
    """Every setting, those of models within models too."""
    for model in models_of(root):
        for name, field in model.model_fields.items():
            yield model, name, field


def open_secrets(root: type[BaseModel]) -> list[str]:
    """Settings that are called like a secret and are held as plain text."""
    return [
        f"{model.__name__}.{name}"
        for model, name, field in settings_of(root)
        if _SECRET.search(name) and {str, bytes} & _kinds(field.annotation)
    ]


def _kinds(annotation: Any) -> set[Any]:
    """A type, and those it is made of."""
    inner = get_args(annotation)
    return {annotation} if not inner else {kind for part in inner for kind in _kinds(part)} | {annotation}


def addresses(model: type[BaseModel]) -> list[str]:
    """The settings of one model that say where the vendor is."""
    return [name for name, field in model.model_fields.items() if _is_address(name, field)]


def _is_address(name: str, field: FieldInfo) -> bool:
    text = field.default if isinstance(field.default, str) else ""
    return str in _kinds(field.annotation) and bool(_ADDRESS.search(name) or "://" in text)


def accepts(model: type[BaseModel], name: str, *values: str) -> bool:
    """Whether a setting takes one of these values."""
    return any(not [p for p in problems_with(model, {name: value}) if p[0] == name] for value in values)


def problems_with(model: type[BaseModel], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(setting, kind of problem) for what is wrong with `given`; empty when nothing is."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        return [(str(e["loc"][0]) if e["loc"] else "", e["type"]) for e in error.errors(include_input=False)]
    return []


def secrets_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(setting, secret in plain) of every secret that is set, also in models within models."""
    if isinstance(value, SecretStr):
        if value.get_secret_value():
            yield path, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets_of(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from secrets_of(item, f"{path}[{number}]")
