"""The suite as a whole: which promises there are, what is asked for, and the table."""

from __future__ import annotations

import importlib
import pkgutil
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, cast

import reliability.promises
from reliability.lines import Case, Line, Promise, sinks_of
from reliability.stores import Stores, postgres_trouble
from reliability.vendors import CRMS

__all__ = ["CRM_NAMES", "STORE_NAMES", "Order", "lines", "promises", "suite"]

CRM_NAMES: Final = tuple(CRMS)
STORE_NAMES: Final = ("sqlite", "postgresql")


def promises() -> list[Promise]:
    """Every module of `reliability.promises`, in the order of their names (R2 before R12)."""
    names = [found.name for found in pkgutil.iter_modules(reliability.promises.__path__)]
    modules = [cast(Promise, importlib.import_module(f"reliability.promises.{name}")) for name in names]
    return sorted(modules, key=lambda promise: (promise.NAME[:1] != "R", len(promise.NAME), promise.NAME))


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for."""

    names: tuple[str, ...]
    sizes: Mapping[str, Mapping[str, int]]
    seed: int
    stores: tuple[str, ...]
    sink: str
    jobs: int

    @classmethod
    def of(cls, size: str, seed: int | None, store: str, only: str, sink: str, jobs: int) -> Order:
        """ValueError names what there is where something else was given."""
        known = {promise.NAME.lower(): promise for promise in promises()}
        wanted = [name.strip().lower() for name in only.split(",") if name.strip()] or list(known)
        for name in wanted:
            if name not in known:
                raise ValueError(f"there is no promise {name!r}; there are {', '.join(p.NAME for p in known.values())}")
        chosen = [known[name] for name in wanted]
        return cls(
            tuple(promise.NAME for promise in chosen),
            sizes(size, chosen),
            secrets.randbelow(10**6) if seed is None else seed,
            STORE_NAMES if store == "both" else (store,),
            sink,
            jobs,
        )


def sizes(text: str, chosen: Sequence[Promise]) -> dict[str, dict[str, int]]:
    """`small`, `full`, or knobs on top of one of them: promise → its knobs."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    small = "small" in words
    knobs = {promise.NAME: dict(promise.SMALL if small else promise.FULL) for promise in chosen}
    for word in words:
        name, equals, number = word.partition("=")
        if word in ("small", "full"):
            continue
        if not equals or not number.isdigit():
            raise ValueError(f"a size is small, full, or knob=number; got {word!r}")
        having = [held for held in knobs.values() if name in held]
        if not having:
            every = sorted({knob for held in knobs.values() for knob in held})
            raise ValueError(f"there is no knob {name!r}; there are {', '.join(every)}")
        for held in having:
            held[name] = int(number)
    return knobs


def lines(promise: Promise, sink: str, store: str, size: Mapping[str, int], seed: int, folder: Path) -> list[Line]:
    """The lines of one promise for one CRM on one store. What breaks is a line too, and does not hold."""
    case = Case(size=size, seed=seed, stores=Stores(store), sink=sink, folder=folder)
    try:
        return list(promise.run(case))
    except Exception as error:  # noqa: BLE001  # a promise that cannot be checked does not hold; the others go on
        return [case.line(promise.NAME, {}, [f"{type(error).__name__}: {error}"])]


def suite(order: Order) -> int:
    """Print the table as its lines come; 1 when one does not hold or could not be shown."""
    stores, skipped = _usable(order.stores)
    print(f"seed {order.seed}, stores {', '.join(stores) or 'none'}; the same seed repeats the same choices")
    print(f"{'promise':<7} {'sink':<11} {'store':<11} {'':<6} figures")
    told: list[Line] = []
    for line, took in _all(order, stores):
        print(_told(line, took), flush=True)
        told.append(line)
    failed = [line for line in told if not line.holds]
    for line in [line for line in told if line.details]:
        print(f"\n{line.promise} for {line.sink} on {line.store}:")
        print("\n".join(f"  {text}" for text in line.details))
    for line in failed:
        print(f"\n{line.promise} FAILS for {line.sink} on {line.store}, seed {line.seed}:")
        print("\n".join(f"  {text}" for text in line.trouble[:10]))
    for reason in skipped:
        print(f"\nnot shown on PostgreSQL: {reason}")
    return 1 if failed or skipped else 0


def _usable(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    trouble = postgres_trouble() if "postgresql" in wanted else None
    return [store for store in wanted if store != "postgresql" or trouble is None], [trouble] if trouble else []


def _all(order: Order, stores: Sequence[str]) -> Iterator[tuple[Line, float]]:
    cases = [
        (promise.NAME, sink, store)
        for store in stores
        for promise in promises()
        if promise.NAME in order.names
        for sink in sinks_of(promise)
        if order.sink in ("all", sink)
    ]
    with tempfile.TemporaryDirectory(prefix="syncline-reliability-") as folder:
        context = get_context("spawn")  # workers have threads, and children that they kill: nothing may be inherited
        with ProcessPoolExecutor(order.jobs, mp_context=context) as pool:
            futures: list[Future[Any]] = [
                pool.submit(_timed, name, sink, store, dict(order.sizes[name]), order.seed, Path(folder, f"{at}"))
                for at, (name, sink, store) in enumerate(cases)
            ]
            for future in as_completed(futures):
                found, took = future.result()
                for line in found:
                    yield line, took


def _timed(name: str, sink: str, store: str, size: dict[str, int], seed: int, folder: Path) -> tuple[list[Line], float]:
    began = time.monotonic()
    promise = next(promise for promise in promises() if name == promise.NAME)
    found = lines(promise, sink, store, size, seed, folder)
    return found, time.monotonic() - began


def _told(line: Line, took: float) -> str:
    figures = ", ".join(f"{name} {_number(value)}" for name, value in line.figures.items())
    holds = "holds" if line.holds else "FAILS"
    return f"{line.promise:<7} {line.sink:<11} {line.store:<11} {holds:<6} {figures} (seed {line.seed}, {took:.0f} s)"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
