"""Spans for OpenTelemetry, where it is used; nothing at all, not even an import, where it is not.

Whoever wants spans has loaded `opentelemetry.trace` before: the command line when the environment asks for it, or the
program syncline runs in. Spans say what was done where and how long it took. No address, no query string, no text of
an error is ever in one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

__all__ = ["span"]

_API: Final = "opentelemetry.trace"

Note = Callable[[Mapping[str, str | int]], None]
"""Adds attributes to the span."""


@contextlib.contextmanager
def span(name: str, attributes: Mapping[str, str | int], *, calls: bool = False) -> Iterator[Note]:
    """A span around what happens inside; yields what adds attributes to it. `calls`: it is a request to somebody else.

    An exception that passes makes it a failed one, of which only the kind is told.
    """
    api: Any = sys.modules.get(_API)
    if api is None:
        yield _ignore
        return
    kind = api.SpanKind.CLIENT if calls else api.SpanKind.INTERNAL
    started = api.get_tracer("syncline").start_as_current_span(
        name, kind=kind, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
    )
    with started as current:
        try:
            yield current.set_attributes
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(api.StatusCode.ERROR)
            raise


def _ignore(_: Mapping[str, str | int]) -> None:
    """Nobody traces."""
