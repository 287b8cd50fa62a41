"""Reading a pydantic model's types: which keys it knows, where its secrets are, which path an error means."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr, Tag
from pydantic.fields import FieldInfo

from syncline.config._yaml import Path_

__all__ = ["Place", "bare", "choices", "fields_by_key", "is_model", "place", "secret_paths"]


@dataclass(frozen=True, slots=True)
class Place:
    """What a pydantic error location means: a path in the file, and the model the last key belongs to.

    `branch` is the union on the way, if any: its path, and which of its members the error speaks for.
    """

    path: Path_
    owner: type[BaseModel] | None
    annotation: Any
    branch: tuple[Path_, str] | None


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model under the keys they have in a file."""
    return {_key(name, field): field for name, field in model.model_fields.items()}


def _key(name: str, field: FieldInfo) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name


def choices(annotation: Any) -> list[Any]:
    """What may stand here: the members of a union without None, else the annotation alone. `Annotated` is taken off."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        found = choices(inner)
        tags = [m for m in metadata if isinstance(m, Tag)]
        return [annotation] if tags and len(found) == 1 else found
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for member in get_args(annotation) if member is not type(None) for choice in choices(member)]
    return [annotation]


def bare(annotation: Any) -> Any:
    """The type without what `Annotated` says about it."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def place(model: Any, location: Sequence[str | int]) -> Place:
    """Walks an error location along the types, leaving out the labels pydantic puts in for unions."""
    path: Path_ = ()
    owner: type[BaseModel] | None = None
    branch: tuple[Path_, str] | None = None
    current: Any = model
    for part in location:
        options = choices(current)
        if len(options) > 1:
            branch = branch or (path, str(part))
            current = next((option for option in options if _answers_to(option, str(part))), Any)
            continue
        current, owner, taken = _step(bare(options[0]), part, owner)
        path = (*path, part) if taken else path
    return Place(path, owner, current, branch)


def _step(current: Any, part: str | int, owner: type[BaseModel] | None) -> tuple[Any, type[BaseModel] | None, bool]:
    """One part further: the type there, the model it belongs to, and whether the part is a key of the file at all."""
    if part == "[key]":
        return Any, None, False
    if is_model(current):
        field = fields_by_key(current).get(str(part))
        return (field.annotation if field else Any), current, True
    inner = [argument for argument in get_args(current) if argument is not Ellipsis]
    if isinstance(part, int) or _is_mapping(current):
        return (inner[-1] if inner else Any), None, True
    return Any, owner, False


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _answers_to(option: Any, label: str) -> bool:
    """Whether this member of a union is the one pydantic calls `label`."""
    if get_origin(option) is Annotated:
        return any(isinstance(m, Tag) and m.tag == label for m in get_args(option)[1:])
    if not is_model(option):
        return getattr(option, "__name__", "") == label
    names = {option.__name__, *_constants(option)}
    return label in names or label.endswith(f" {option.__name__}]")  # function-after[check(), Name]


def _constants(model: type[BaseModel]) -> Iterator[str]:
    for field in model.model_fields.values():
        if get_origin(field.annotation) is Literal:
            yield from (str(value) for value in get_args(field.annotation))


def secret_paths(annotation: Any, data: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every place in `data` where the type says that a secret stands."""
    for option in choices(annotation):
        yield from _secrets_of(bare(option), data, path)


def _secrets_of(option: Any, data: Any, path: Path_) -> Iterator[Path_]:
    if option in (SecretStr, SecretBytes):
        yield path
    elif is_model(option) and isinstance(data, Mapping):
        for key, field in fields_by_key(option).items():
            if key in data:
                yield from secret_paths(field.annotation, data[key], (*path, key))
    elif get_args(option) and isinstance(data, Mapping | list) and get_origin(option) is not Literal:
        items: Iterable[tuple[Any, Any]] = data.items() if isinstance(data, Mapping) else enumerate(data)
        for key, value in items:
            yield from secret_paths(get_args(option)[-1 if isinstance(data, Mapping) else 0], value, (*path, key))
