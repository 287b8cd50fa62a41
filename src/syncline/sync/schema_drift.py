"""A CRM field that is not what it was: in words, with what it was before, and the nearest field to map instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from syncline.errors import did_you_mean
from syncline.model import Field, FieldKind, Value, from_microseconds
from syncline.store.descriptions import Known

__all__ = ["Drift", "Held", "absent", "since"]

Held = Callable[[str, str], Collection[Value]]
"""(object, field) → the values of ours that the CRM has taken there."""

_NEAR: Final = 0.6
_NAMES: Final[Mapping[FieldKind, str]] = {
    "text": "text",
    "boolean": "a tick",
    "option": "a picklist",
    "options": "a picklist of several values",
    "datetime": "a date with a time",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """One written field of one object, as it was when it last passed and as it is."""

    object: str
    before: Field
    now: Field
    passed: str
    held: Held

    def found(self) -> str | None:
        """What has changed so that our values would be lost or changed, though the mapping alone would still do."""
        return self._retyped() or self._fewer_options() or self._shorter() or self._coarser()

    def told(self, reason: str) -> str:
        """`reason`, why the field cannot be written, with what was there before."""
        if self.before.kind != self.now.kind:
            return f"{self._other_kind()}: {reason}. Make it {_a(self.before.kind)} again, or map another field"
        if self.before.writable and not self.now.writable:
            return f"{reason}; it was not at {self.passed}. Give that user the right to edit it"
        gone = [option for option in self.before.options if option not in self.now.options]
        if gone and repr(gone[0]) in reason:
            return f"{reason}; {_listed(gone)} was there at {self.passed}"
        return f"{reason}; it was otherwise at {self.passed}"

    def _other_kind(self) -> str:
        return f"was {_a(self.before.kind)}, is {_a(self.now.kind)} since {self.passed}"

    def _retyped(self) -> str | None:
        if self.before.kind == self.now.kind or (self.before.kind == "option" and self.now.kind == "text"):
            return None
        return f"{self._other_kind()}. Make it {_a(self.before.kind)} again, or {self._meant()}"

    def _fewer_options(self) -> str | None:
        gone = set(self.before.options) - set(self.now.options) if self.now.options else set()
        ours = sorted(gone & {str(value) for value in self._values()}) if gone else []
        if not ours:
            return None
        near = {value: _nearest(value, self.now.options) for value in ours}
        hints = "".join(f" (nearest there: {found!r})" for found in near.values() if found)
        return (
            f"the picklist has lost {_listed(ours)}{hints}, which we have written and which was there at "
            f"{self.passed}. Add it again, or {self._meant()}"
        )

    def _shorter(self) -> str | None:
        before, now = self.before.max_length, self.now.max_length
        if now is None or (before is not None and before <= now):
            return None
        longest = max((len(value) for value in self._values() if isinstance(value, str)), default=0)
        if longest <= now:
            return None
        most = "any number of" if before is None else before
        return (
            f"takes {now} characters, and took {most} at {self.passed}; values of ours there have up to {longest} and "
            f"would be cut. Make it longer again, or {self._meant()}"
        )

    def _coarser(self) -> str | None:
        before, now = self.before.scale, self.now.scale
        if now is None or self.now.kind != "number" or (before is not None and before <= now):
            return None
        if all(_decimals(value) <= now for value in self._values() if isinstance(value, Decimal)):
            return None
        many = "more" if before is None else before
        return (
            f"keeps {now} decimals, and kept {many} at {self.passed}; values of ours there have more and would be "
            f"rounded. Give it decimals again, or {self._meant()}"
        )

    def _values(self) -> Collection[Value]:
        return self.held(self.object, self.now.name)

    def _meant(self) -> str:
        return f"take it as it is: `syncline check --live --accept {self.object}.{self.now.name}`"


def since(known: Known) -> str:
    """`the run of 2026-06-01 08:00`: the last one in which a mapping passed."""
    if known.passed_us is None:
        return "an earlier run"
    return f"the run of {from_microseconds(known.passed_us):%Y-%m-%d %H:%M}"


def absent(
    name: str, known: Known | None, fields: Mapping[str, Field], *, new: Collection[str], taken: Collection[str]
) -> str:
    """That a field is not there. `new` are those that were not there either when it was, `taken` what is mapped."""
    if known is None or known.field is None:
        return f"the CRM has no such field; {did_you_mean(name, fields)}"
    before = known.field
    told = (
        f"the CRM has no such field any more (deleted, renamed, or hidden from the user we log in as); there was one "
        f"at {since(known)}, {_called(before)}"
    )
    free = {other: found for other, found in fields.items() if other not in taken and found.writable}
    renamed = [found for found in free.values() if found.name in new and _like(before, found)]
    if renamed:
        best = max(renamed, key=lambda found: _likeness(before, found))
        return f"{told}. New there, and much like it: {best.name!r}, {_called(best)}. If it is that one, map it"
    near = [found for found in free.values() if found.kind == before.kind and _likeness(before, found) >= _NEAR]
    if near:
        best = max(near, key=lambda found: _likeness(before, found))
        return f"{told}. The nearest that is there: {best.name!r}, {_called(best)}. Map another, or make it again"
    return f"{told}. Nothing there is like it: make it again, or map another field"


def _like(before: Field, found: Field) -> bool:
    return found.kind == before.kind and _likeness(before, found) >= _NEAR


def _likeness(one: Field, other: Field) -> float:
    """From 0 to 1: by label, or by name."""
    pairs = [(one.name, other.name)] + ([(one.label, other.label)] if one.label and other.label else [])
    return max(difflib.SequenceMatcher(None, a.casefold(), b.casefold()).ratio() for a, b in pairs)


def _nearest(value: str, options: Iterable[str]) -> str | None:
    by_case = {option.casefold(): option for option in options}
    found = difflib.get_close_matches(value.casefold(), by_case, n=1, cutoff=_NEAR)
    return by_case[found[0]] if found else None


def _called(field: Field) -> str:
    label = f" labelled {field.label!r}" if field.label and field.label != field.name else ""
    return f"{_a(field.kind)}{label}"


def _a(kind: FieldKind) -> str:
    return _NAMES.get(kind, f"a {kind}")


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(repr, values))


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
