"""A program: all scores and segments of a configuration, and what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from syncline.model import ACTIVITY
from syncline.scoring.model import Model
from syncline.scoring.predicates import Segment, subjects
from syncline.scoring.signals import (
    Attribute,
    Bursts,
    Count,
    CountDistinct,
    Edge,
    Idle,
    Maximum,
    Sequence,
    Signal,
    Sum,
    event_properties,
    selections,
)
from syncline.scoring.where import Property, Selection

__all__ = ["ACTIVE", "INACTIVE", "LAST_TYPE", "SIGNALS", "Program"]

SIGNALS = (Count, CountDistinct, Sum, Maximum, Bursts, Idle, Edge, Sequence, Attribute)

ACTIVE = Selection(ACTIVITY)
"""What a person did."""
LAST_TYPE = Edge(ACTIVE, newest=True, property=None)
INACTIVE = Idle(ACTIVE, "seconds")


@dataclass(frozen=True)
class Program:
    """Scores and segments by name; segments stand after those they ask about (`parse_segments` sees to it)."""

    scores: Mapping[str, Model]
    segments: Mapping[str, Segment]

    @cached_property
    def signals(self) -> tuple[Signal, ...]:
        """Every signal once, in a stable order; the last activity is always among them."""
        return tuple(dict.fromkeys([*self._asked(), LAST_TYPE, INACTIVE]))

    @cached_property
    def columns(self) -> tuple[Property, ...]:
        """Every (property, type) that is read, `machine` aside."""
        found = {prop for signal in self.signals for prop in event_properties(signal) if prop.name != "machine"}
        return tuple(sorted(found, key=lambda prop: (prop.name, prop.type)))

    @cached_property
    def properties(self) -> frozenset[str]:
        """The event properties needed."""
        return frozenset(prop.name for prop in self.columns)

    @cached_property
    def attributes(self) -> frozenset[str]:
        """The profile attributes needed."""
        return frozenset(signal.name for signal in self.signals if isinstance(signal, Attribute))

    @cached_property
    def event_types(self) -> frozenset[str]:
        """The event types that any signal looks at."""
        return frozenset().union(*(s.types for signal in self.signals for s in selections(signal)))

    def _asked(self) -> Iterator[Signal]:
        for model in self.scores.values():
            yield from model.signals.values()
        for segment in self.segments.values():
            for subject in subjects(segment.predicate):
                if isinstance(subject, SIGNALS):
                    yield subject
