"""The log: one stream of structured events on stderr. Lines for people on a terminal, JSON lines for everyone else.

The rooms below log with the standard library, `extra=` for what is not words; here that becomes structured. What a
whole run or stage is about (`run_id`, `connection`, `sync`, `stage`) is bound once, by contextvars.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.types import EventDict, Processor

from syncline.sdk.privacy import masked

__all__ = ["LogFormat", "bars_suit", "complain", "configure", "kept_private"]

LogFormat = Literal["auto", "json", "text"]

_log = logging.getLogger("syncline")

_FIRST: Final = ("time", "level", "event", "run_id", "connection", "sync", "stage")
_OF_OTHERS: Final = ("message", "asctime")
"""What other handlers of the same process have left on a record."""
_SENSITIVE: Final = re.compile(
    r"password|passwd|secret|token|api_?key|authori[sz]ation|cookie|credential|signature|e?mail|phone|address"
    r"|query|body|payload|(?:first|last|full|^)_?name$",
    re.IGNORECASE,
)
_LEFT_OUT: Final = "(left out)"
_CHATTY: Final = ("urllib3", "asyncio")
_MUTE: Final = "apprise"  # its messages hold the addresses it notifies, and those hold secrets


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is now: progress bars and tests put something else in its place for a while."""

    def __init__(self, form: LogFormat) -> None:
        logging.Handler.__init__(self)
        self.form = form
        self.people = sys.stderr.isatty() if form == "auto" else form == "text"
        self.setFormatter(_formatter(people=self.people))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there
        return sys.stderr


def configure(form: LogFormat = "auto", *, verbose: bool = False) -> None:
    """Send the log of this process to stderr. `auto`: text if that is a terminal, JSON if it is not.

    Calling it again replaces what it did before; other handlers stay.
    """
    root = logging.getLogger()
    for handler in _ours():
        root.removeHandler(handler)
    root.addHandler(_Handler(form))
    root.setLevel(logging.DEBUG if verbose else logging.WARNING)
    # On a terminal the bars say how far it is.
    _log.setLevel(logging.NOTSET if verbose else logging.WARNING if bars_suit() else logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_MUTE).setLevel(logging.CRITICAL + 1)


def bars_suit() -> bool:
    """Whether somebody watches: text, on a terminal. So it is before anything is configured, too."""
    return all(handler.people for handler in _ours()) and sys.stderr.isatty()


def complain(text: str, **more: str | int) -> None:
    """Say to whoever called what is wrong: a sentence by itself; where JSON was asked for, an event of the log."""
    if any(handler.form == "json" for handler in _ours()):
        _log.error("%s", text, extra=more)
    else:
        print(text, file=sys.stderr)  # noqa: T201  # the log


def _ours() -> list[_Handler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Handler)]


def kept_private(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The second net under every message: no value of a key that names something private, no address, no query.

    The first is that nobody logs such a thing.
    """
    found = {key: _LEFT_OUT if _SENSITIVE.search(key) else _masked(value) for key, value in event.items()}
    event.clear()
    event.update(found)
    return event


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, MutableMapping):
        return {key: _LEFT_OUT if _SENSITIVE.search(str(key)) else _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner) for inner in value]
    return value if isinstance(value, bool | int | float | None) else masked(str(value))


def _in_order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    names = (*_FIRST, *sorted(event.keys() - {*_FIRST, *_OF_OTHERS}))
    return {name: event[name] for name in names if name in event}


def _formatter(*, people: bool) -> logging.Formatter:
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_log_level,
        add_logger_name,
        ExtraAdder(),
        TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    shown = ConsoleRenderer(
        colors=sys.stderr.isatty(), timestamp_key="time", exception_formatter=plain_traceback, pad_event_to=0
    )
    render: Processor = shown if people else JSONRenderer(ensure_ascii=False)
    return ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[ProcessorFormatter.remove_processors_meta, format_exc_info, kept_private, _in_order, render],
    )
