"""Runs in a process of their own, which is killed: at a named step, inside a call to the vendor, or at some moment.

A child is forked from a server that has everything imported already, so a kill costs little more than what the run did
until then. The vendor's simulator stays in our process and outlives it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

from reliability.world import World, open_host

__all__ = ["OPERATIONS", "PLACES", "Ended", "Kill", "Place", "run_killed"]

OPERATIONS: Final = ("upsert", "task", "add", "remove")

Operation = Callable[[Mapping[str, Any], Any], str]
"""(arguments by name, result) of a step → the operation it is about; empty when it is about none."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A function of ours that passes a step: when it is called, or when it has returned."""

    name: str
    owner: str
    function: str
    after: bool = True
    operation: Operation = lambda _arguments, _result: ""


def _first(rows: Any) -> str:
    return str(rows[0].operation) if rows else ""


_STEPS: Final = (
    _Step("mirror read, not committed", "syncline.store.crm", "put_mirror"),
    _Step("unanswered rows settled, not committed", "syncline.store.runs", "give_up_waiting"),
    _Step("plan written, not committed", "syncline.store.runs", "enqueue"),
    _Step("plan committed", "syncline.sync.run:Runner", "_commit"),
    _Step("batch taken", "syncline.store.runs", "take", operation=lambda _, rows: _first(rows)),
    _Step(
        "marked, not committed", "syncline.store.runs", "mark_sent", operation=lambda given, _: _first(given["rows"])
    ),
    _Step(
        "about to send",
        "syncline.sync.deliver:Deliverer",
        "_call",
        after=False,
        operation=lambda given, _: _first(given["rows"]),
    ),
    _Step("answered", "syncline.sync.deliver:Deliverer", "_call", operation=lambda given, _: _first(given["rows"])),
    _Step(
        "outcomes recorded, not committed",
        "syncline.store.runs",
        "record_outcomes",
        operation=lambda given, _: _first([row for row, _ in given["results"]]),
    ),
    _Step("acknowledged, not committed", "syncline.store.crm", "note_written", operation=lambda *_: "upsert"),
    _Step("acknowledged, not committed", "syncline.store.crm", "put_members", operation=lambda *_: "add"),
    _Step("acknowledged, not committed", "syncline.store.crm", "remove_members", operation=lambda *_: "remove"),
    _Step(
        "batch committed", "syncline.sync.deliver:Deliverer", "_record", operation=lambda given, _: given["operation"]
    ),
    _Step("about to finish", "syncline.sync.run:Runner", "_finish", after=False),
)
_OF_THE_RUN: Final = (
    "mirror read, not committed",
    "unanswered rows settled, not committed",
    "plan written, not committed",
    "plan committed",
    "about to finish",
)
_OF_A_BATCH: Final = (
    "batch taken",
    "marked, not committed",
    "about to send",
    "answered",
    "outcomes recorded, not committed",
    "batch committed",
)
ARRIVED: Final = "call arrived, not processed"
PROCESSED: Final = "call processed, not answered"


@dataclass(frozen=True, slots=True)
class Place:
    """A named step, of a batch of one operation (none: of the run)."""

    step: str
    operation: str = ""

    def __str__(self) -> str:
        return f"{self.step} ({self.operation})" if self.operation else self.step


PLACES: Final = (
    *(Place(step) for step in _OF_THE_RUN),
    *(Place(step, operation) for step in (*_OF_A_BATCH, ARRIVED, PROCESSED) for operation in OPERATIONS),
    *(Place("acknowledged, not committed", operation) for operation in ("upsert", "add", "remove")),
)


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a run ends: the `number`-th time it passes `place`; or some seconds after it began, or began to write."""

    place: Place | None = None
    number: int = 1
    seconds: float = 0.0
    writing: bool = False

    def __str__(self) -> str:
        if self.place is not None:
            return f"{self.place}, time {self.number}"
        return f"{self.seconds:.2f} s after it began{' to write' if self.writing else ''}"


# In the child


def _child(
    config: Path, env: Mapping[str, str], now: datetime, as_of: datetime, kill: Kill | None, answer: Connection
) -> None:
    if kill is not None and kill.place is not None:
        _watch(kill.place, kill.number)
    with open_host(config, env, now) as host:
        answer.send("began")
        report = host.run(as_of=as_of).sinks["crm"]
    answer.send(report.error)


def _watch(place: Place, number: int) -> None:
    """Die the so-many-th time that this place is passed."""
    for step in _STEPS:
        if step.name == place.step:
            _wrap(step, place.operation, number)


def _wrap(step: _Step, operation: str, number: int) -> None:
    module, _, name = step.owner.partition(":")
    owner: Any = importlib.import_module(module)
    owner = getattr(owner, name) if name else owner
    function, passed = getattr(owner, step.function), 0
    signature = inspect.signature(function)

    def passing(arguments: Mapping[str, Any], result: Any) -> None:
        nonlocal passed
        if step.operation(arguments, result) != operation:
            return
        passed += 1
        if passed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*positional: Any, **named: Any) -> Any:
        arguments = signature.bind(*positional, **named).arguments
        if not step.after:
            passing(arguments, None)
        result = function(*positional, **named)
        if step.after:
            passing(arguments, result)
        return result

    setattr(owner, step.function, watched)


# In our process


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: killed, or by itself, with the error that made it give the CRM up."""

    killed: bool
    error: str | None = None


_context = get_context("forkserver")
_context.set_forkserver_preload(
    [
        "duckdb",
        "psycopg",
        "pyarrow.compute",
        "reliability.killing",
        "sqlalchemy.dialects.postgresql",
        "sqlalchemy.dialects.sqlite",
        "syncline.engine.embedded",
        "syncline.host",
        *(plugin.module for plugin in entry_points(group="syncline")),
    ]
)


def run_killed(world: World, as_of: datetime, kill: Kill | None) -> Ended:
    """One run in a child, killed as `kill` says if it gets there."""
    world.later()
    ours, theirs = _context.Pipe(duplex=False)
    process = _context.Process(target=_child, args=(world.config, world.env, world.now, as_of, kill, theirs))
    process.start()
    theirs.close()
    told: list[Any] = []
    with _Vendor(world, process, kill), ours:
        timer = threading.Timer(kill.seconds if kill else 0, process.kill)
        try:
            while True:
                told.append(ours.recv())
                if len(told) == 1 and kill is not None and kill.place is None and not kill.writing:
                    timer.start()
        except EOFError:
            pass  # it says no more
        process.join()
        timer.cancel()
    if process.exitcode == -signal.SIGKILL:
        return Ended(killed=True)
    if process.exitcode != 0:
        raise AssertionError(f"a run that was not killed ended with exit code {process.exitcode}; {kill}")
    return Ended(killed=False, error=told[-1])


class _Vendor:
    """Kills the client from inside the vendor, while it lasts: at a call that writes, or some time after the first."""

    def __init__(self, world: World, process: Any, kill: Kill | None) -> None:
        self._simulator = world.simulator
        self._operation = world.crm.operation
        self._process = process
        self._kill = kill
        self._seen = 0
        self._timer: threading.Timer | None = None

    def __enter__(self) -> None:
        self._route = self._simulator._route
        self._simulator._route = self._routed

    def __exit__(self, *_: object) -> None:
        del self._simulator._route
        if self._timer is not None:
            self._timer.cancel()

    def _routed(self, request: Any) -> Any:
        kill, operation = self._kill, self._operation(request)
        if kill is None or not operation:
            return self._route(request)
        if kill.place is None:
            if kill.writing and self._timer is None:
                self._timer = threading.Timer(kill.seconds, self._process.kill)
                self._timer.start()
            return self._route(request)
        if kill.place.step not in (ARRIVED, PROCESSED) or kill.place.operation != operation:
            return self._route(request)
        self._seen += 1
        if self._seen != kill.number:
            return self._route(request)
        if kill.place.step == ARRIVED:
            self._end()
            raise ConnectionError("the client is gone, the call is not looked at")
        response = self._route(request)
        self._end()
        return response

    def _end(self) -> None:
        self._process.kill()
        wait([self._process.sentinel])  # not `join`: whoever started it is waiting there, and only one is told the code
