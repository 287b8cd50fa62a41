"""Pydantic's errors in our words: what is wrong, what would be valid, the nearest known name. Never the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from syncline.config._types import Place, bare, choices, fields_by_key, is_model, place
from syncline.config._yaml import Path_
from syncline.errors import Problem, did_you_mean

__all__ = ["Misplaced", "at", "problems_of", "unknown"]


class Misplaced(ValueError):  # noqa: N818  # becomes a Problem, is never seen as an error
    """A mistake found by a validator that looks at a whole mapping, but which belongs to one key of it."""

    def __init__(self, path: Path_, message: str) -> None:
        self.path = path
        super().__init__(message)


def at(data: Any, path: Path_) -> Any:
    """What stands at a path; None when there is nothing."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """`no score is called 'interese'; did you mean 'interesse'? Known: interesse`."""
    names = list(known)
    return f"no {what} is called {name!r}; {did_you_mean(name, names) if names else 'there is none'}"


def problems_of(
    error: ValidationError, model: Any, data: Any, *, beside: Collection[str] = (), partial: bool = False
) -> list[Problem]:
    """One Problem for each mistake, with paths from `data`.

    `beside` are keys that may stand at the top beside those of the model. `partial` data may lack anything.
    """
    details = error.errors(include_url=False, include_input=False)
    found = [_Complaint(place(model, detail["loc"]), detail["type"], detail, beside) for detail in details]
    found = [complaint for complaint in found if not (partial and complaint.kind == "missing")]
    speaking = _one_branch(_without_consequences(found))
    return _joined(Problem(complaint.path, _message(complaint, data)) for complaint in speaking)


@dataclass(frozen=True, slots=True)
class _Complaint:
    """One of pydantic's errors, and what its location means."""

    where: Place
    kind: str
    detail: ErrorDetails
    beside: Collection[str]

    @property
    def context(self) -> Mapping[str, Any]:
        return self.detail.get("ctx", {})

    @property
    def path(self) -> Path_:
        """The place a person has to look at, which may be deeper than where pydantic noticed."""
        error = self.context.get("error")
        if isinstance(error, Misplaced):
            return (*self.where.path, *error.path)
        if self.kind == "union_tag_invalid":
            return (*self.where.path, self.context["discriminator"].strip("'"))
        return self.where.path

    @property
    def key(self) -> str:
        return str(self.where.path[-1]) if self.where.path else ""

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        return fields_by_key(self.where.owner) if self.where.owner else {}

    @property
    def known(self) -> list[str]:
        """The keys that could stand where this one does."""
        return [*self.fields, *(self.beside if len(self.where.path) == 1 else ())]

    @property
    def hint(self) -> str | None:
        """What the model has to say about this key, beside not knowing it."""
        hints: Mapping[str, str] = getattr(self.where.owner, "unknown_keys", {})
        return hints.get(self.key)


def _without_consequences(found: list[_Complaint]) -> list[_Complaint]:
    """Leaves out a missing key when a misspelt one beside it is meant for it: that is one mistake, not two."""
    meant: set[Path_] = set()
    for complaint in found:
        if complaint.kind == "extra_forbidden":
            instead = complaint.known if complaint.hint else get_close_matches(complaint.key, complaint.known, n=1)
            meant |= {(*complaint.where.path[:-1], name) for name in instead}
    return [complaint for complaint in found if complaint.kind != "missing" or complaint.where.path not in meant]


def _one_branch(found: list[_Complaint]) -> list[_Complaint]:
    """Of a union's members, only those that fit the data best speak: the ones with the fewest complaints."""
    counts: dict[Path_, Counter[str]] = {}
    for complaint in found:
        if complaint.where.branch:
            union, member = complaint.where.branch
            counts.setdefault(union, Counter())[member] += 1
    return [complaint for complaint in found if _fits_best(complaint.where.branch, counts)]


def _fits_best(branch: tuple[Path_, str] | None, counts: Mapping[Path_, Counter[str]]) -> bool:
    return branch is None or counts[branch[0]][branch[1]] == min(counts[branch[0]].values())


def _joined(problems: Iterable[Problem]) -> list[Problem]:
    """`must be text` and `must be a number` about the same place are one sentence."""
    kept: dict[Path_, list[str]] = {}
    for problem in problems:
        messages = kept.setdefault(problem.path, [])
        if problem.message not in messages:
            messages.append(problem.message)
    return [Problem(path, " or ".join(messages)) for path, messages in kept.items()]


def _message(complaint: _Complaint, data: Any) -> str:
    kind, found = complaint.kind, at(data, complaint.path)
    if kind in _SPECIAL:
        return _SPECIAL[kind](complaint)
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        return _choice(complaint, found)
    for prefixes, text in _EXPECTED:
        if kind.startswith(prefixes):
            return text + _instead(text, found)
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**complaint.context)
    return complaint.detail["msg"][:1].lower() + complaint.detail["msg"][1:]


_EXPECTED: Final[Sequence[tuple[tuple[str, ...], str]]] = (
    (("string_type", "string_sub_type", "string_unicode"), "must be text"),
    (("int_",), "must be a whole number"),
    (("float_", "decimal_", "finite_number"), "must be a number"),
    (("bool_",), "must be true or false"),
    (("dict_type", "mapping_type", "model_", "dataclass_type"), "must be a mapping (key: value)"),
    (("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), "must be a list ([a, b])"),
    (("time_delta_",), "must be a duration such as 15m, 24h or 30d"),
)
_BOUNDS: Final[Mapping[str, str]] = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must be at least {min_length} character(s) long",
    "string_too_long": "must be at most {max_length} characters long",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must match the pattern {pattern}",
}
_KINDS: Final[Mapping[type, str]] = {
    bool: "true/false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


def _instead(expected: str, found: Any) -> str:
    """What stands there, by its kind only; and how to make text of what YAML took for something else."""
    if found is None:
        return ", but is empty; fill it, or remove the key"
    name = _KINDS.get(type(found), "something else")
    if name.removeprefix("a ") in expected:
        return ""
    return f", not {name}" + ("; put it in quotes" if expected == "must be text" and name != "a list" else "")


def _choice(complaint: _Complaint, found: Any) -> str:
    expected = str(complaint.context.get("expected") or complaint.context.get("expected_tags"))
    valid = [name.strip().strip("'") for name in expected.replace(" or ", ", ").split(",")]
    return f"not valid; {did_you_mean(found if isinstance(found, str) else '', valid)}"


def _unknown_key(complaint: _Complaint) -> str:
    return complaint.hint or f"unknown key; {did_you_mean(complaint.key, complaint.known)}"


def _missing(complaint: _Complaint) -> str:
    field = complaint.fields.get(complaint.key)
    return f"missing: {field.description}" if field and field.description else "missing, but required"


def _no_tag(complaint: _Complaint) -> str:
    """A union told apart by which keys are there, and those that are there tell nothing."""
    models = (bare(option) for option in choices(complaint.where.annotation))
    needed = sorted(", ".join(sorted(_required(model))) for model in models if is_model(model))
    return f"give the keys of one of these: {' | '.join(needed)}" if needed else "fits none of what is possible"


def _required(model: type[BaseModel]) -> list[str]:
    return [key for key, field in fields_by_key(model).items() if field.is_required()]


def _own_words(complaint: _Complaint) -> str:
    return str(complaint.context["error"])


_SPECIAL: Final[Mapping[str, Callable[[_Complaint], str]]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "union_tag_not_found": _no_tag,
    "value_error": _own_words,
    "assertion_error": _own_words,
}
