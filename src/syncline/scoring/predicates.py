"""Predicates: what a segment asks of a person. A test that cannot be answered does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from syncline.scoring.expressions import Node, Value, evaluate
from syncline.scoring.signals import Signal

__all__ = [
    "SUBJECT",
    "All",
    "AnyOf",
    "BandOf",
    "InSegment",
    "Not",
    "Predicate",
    "ScoreOf",
    "Segment",
    "Subject",
    "Test",
    "references",
    "subjects",
]

SUBJECT = "it"
"""How a test's expression calls what it is about."""


@dataclass(frozen=True, slots=True)
class ScoreOf:
    """The value of a score."""

    score: str


@dataclass(frozen=True, slots=True)
class BandOf:
    """The band that a score is in now: its highest."""

    score: str


@dataclass(frozen=True, slots=True)
class InSegment:
    """Whether the person is in another segment."""

    segment: str


Subject = Signal | ScoreOf | BandOf | InSegment


@dataclass(frozen=True, slots=True)
class Test:
    """A condition on one thing: a signal, a score, a band, another segment. `text` is how it was asked."""

    __test__ = False  # not for pytest

    text: str
    subject: Subject
    condition: Node

    def holds(self, value: Value) -> bool:
        """Whether the condition holds for this value of the subject; null says no."""
        return evaluate(self.condition, {SUBJECT: value}) is True


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Predicate


Predicate = Test | All | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Segment:
    """A named set of people. Under a parent, `predicate` asks for the parent's members only.

    Entering counts again once a person was out for `rearm_after`.
    """

    name: str
    predicate: Predicate
    extends: str | None = None
    rearm_after: timedelta = timedelta(0)
    description: str = ""


def subjects(predicate: Predicate) -> Iterator[Subject]:
    """Everything that a predicate asks about."""
    match predicate:
        case Test(subject=subject):
            yield subject
        case All(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from subjects(part)
        case Not(part=part):
            yield from subjects(part)


def references(segments: Mapping[str, Predicate]) -> dict[str, tuple[str, ...]]:
    """Segment → the segments it asks about."""
    return {
        name: tuple(dict.fromkeys(s.segment for s in subjects(predicate) if isinstance(s, InSegment)))
        for name, predicate in segments.items()
    }
