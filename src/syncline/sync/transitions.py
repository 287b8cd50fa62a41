"""Who entered and who left what since the last run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from syncline.scoring.program import Program
from syncline.scoring.result import Assessment, ScoreResult
from syncline.segments.transitions import Standing, bands_step, step

__all__ = ["Transition", "transitions"]


Move = Literal["enters", "leaves", ""]


class Transition(NamedTuple):
    """A standing that changed. `moved` says whether something follows from it: `enters`, `leaves`, or nothing."""

    rule: str
    standing: Standing
    moved: Move


def transitions(
    program: Program, known: Mapping[tuple[int, str], Standing], assessment: Assessment, as_of: datetime
) -> Iterator[Transition]:
    """Every rule (`segment:lead_caldo`, `band:interesse.caldo`) towards which this person's standing changes."""
    for name, segment in program.segments.items():
        rule = f"segment:{name}"
        previous = known.get((assessment.person_id, rule))
        inside = name in assessment.segments
        if previous is None and not inside:
            continue
        standing, entered, left = step(previous, inside, as_of, segment.rearm_after)
        if standing != previous:
            yield Transition(rule, standing, _move(entered, left))
    for score in assessment.scores.values():
        yield from _bands(program, known, assessment.person_id, score, as_of)


def _bands(
    program: Program,
    known: Mapping[tuple[int, str], Standing],
    person_id: int,
    score: ScoreResult,
    as_of: datetime,
) -> Iterator[Transition]:
    """The bands of one score, the highest first: who jumps into `high` has not thereby entered `low` as well."""
    entered_above = False
    for band in sorted(program.scores[score.name].bands, key=lambda band: -band.at_least):
        rule = f"band:{score.name}.{band.name}"
        previous = known.get((person_id, rule))
        if previous is None and score.value < band.at_least:
            continue
        standing, entered, left = bands_step(previous, score.value, band, as_of)
        if standing != previous:
            yield Transition(rule, standing, _move(entered and not entered_above, left))
        entered_above |= entered


def _move(entered: bool, left: bool) -> Move:
    if left:
        return "leaves"
    return "enters" if entered else ""
