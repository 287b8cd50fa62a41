"""What a run says of itself while it runs: which stage a line of the log belongs to, a span for it, and how often
something had to be tried again."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from structlog.contextvars import bound_contextvars, get_contextvars

from syncline.sdk.tracing import span

__all__ = ["Tally", "batch", "stage", "tallied", "tried_again"]


@dataclass(slots=True)
class Tally:
    """By connection: how often a call was tried again, and how long was waited before."""

    retries: Counter[str] = field(default_factory=Counter)
    waited_seconds: Counter[str] = field(default_factory=Counter)


_tally: ContextVar[Tally | None] = ContextVar("syncline_tally", default=None)


@contextlib.contextmanager
def stage(name: str, connection: str | None = None) -> Iterator[None]:
    """Everything logged inside bears the stage, and the connection if it is about one; a trace has a span for it."""
    about = {"connection": connection} if connection else {}
    named = {f"syncline.{key}": value for key, value in about.items()}
    with bound_contextvars(stage=name, **about), span(name, named):
        yield


@contextlib.contextmanager
def batch(operation: str, object_name: str, rows: int) -> Iterator[None]:
    """A span around one call's worth of writes."""
    about: Mapping[str, str | int] = {
        "syncline.operation": operation,
        "syncline.object": object_name,
        "syncline.rows": rows,
    }
    with span("batch", about):
        yield


@contextlib.contextmanager
def tallied() -> Iterator[Tally]:
    """Counts what happens inside, in this thread."""
    counted = Tally()
    token = _tally.set(counted)
    try:
        yield counted
    finally:
        _tally.reset(token)


def tried_again(after_seconds: float) -> None:
    """A call of the stage's connection is tried again after so long."""
    counted = _tally.get()
    if counted is not None:
        name = str(get_contextvars().get("connection", ""))
        counted.retries[name] += 1
        counted.waited_seconds[name] += after_seconds  # type: ignore[assignment]  # a Counter of seconds
