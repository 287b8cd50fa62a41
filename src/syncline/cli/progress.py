"""Progress: bars for people on a terminal, lines in the log for everyone else; both on stderr."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from syncline.cli import logs
from syncline.sync.progress import NoProgress

__all__ = ["Bars", "LogLines", "Silent", "choose"]

_log = logging.getLogger("syncline.progress")


class Bars:
    """A bar for each stage."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def start(self, stage: str, total: int | None) -> None:
        if stage in self._tasks:
            self._progress.reset(self._tasks[stage], total=total)
        else:
            self._tasks[stage] = self._progress.add_task(stage, total=total)

    def advance(self, stage: str, by: int) -> None:
        self._progress.advance(self._tasks[stage], by)

    def finish(self, stage: str) -> None:
        task = self._tasks[stage]
        done = self._progress.tasks[self._progress.task_ids.index(task)].completed
        self._progress.update(task, total=done, completed=done)


class LogLines:
    """A line in the log when a stage begins and when it ends, with how much it did and how long it took."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._done: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def start(self, stage: str, total: int | None) -> None:
        self._done[stage], self._began[stage] = 0, self._monotonic()
        _log.info("stage started", extra={"stage": stage, "total": total})

    def advance(self, stage: str, by: int) -> None:
        self._done[stage] = self._done.get(stage, 0) + by

    def finish(self, stage: str) -> None:
        now = self._monotonic()
        seconds = round(now - self._began.get(stage, now), 3)
        _log.info("stage finished", extra={"stage": stage, "done": self._done.get(stage, 0), "seconds": seconds})


class Silent(NoProgress):
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None


def choose(*, quiet: bool = False) -> Bars | LogLines | Silent:
    """Bars on a terminal, lines in the log otherwise, nothing when asked for quiet."""
    if quiet:
        return Silent()
    return Bars(Console(stderr=True)) if logs.bars_suit() else LogLines()
