"""Progress for people on a terminal, JSON lines for everyone else; both on stderr."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from syncline.sync.progress import NoProgress

__all__ = ["Bars", "JsonLines", "Silent", "choose"]


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


class JsonLines:
    """A line when a stage begins and when it ends, with how much it did."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def start(self, stage: str, total: int | None) -> None:
        self._done[stage] = 0
        self._say({"stage": stage, "state": "started", "total": total})

    def advance(self, stage: str, by: int) -> None:
        self._done[stage] = self._done.get(stage, 0) + by

    def finish(self, stage: str) -> None:
        self._say({"stage": stage, "state": "finished", "done": self._done.get(stage, 0)})

    def _say(self, line: dict[str, object]) -> None:
        print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201  # this is the log


class Silent(NoProgress):
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None


def choose(*, quiet: bool = False) -> Bars | JsonLines | Silent:
    """Bars on a terminal, JSON lines otherwise, nothing when asked for quiet."""
    if quiet:
        return Silent()
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else JsonLines()
