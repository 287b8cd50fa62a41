"""The pytest plugin: what became of the clauses of every connector, and cassettes by name.

pytest loads it at every start, so it imports nothing that takes time, and nothing that may be absent.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

__all__ = ["cassette", "cassette_folder"]

_KIT: Final = "syncline.testing.contract"
_MARK: Final = "syncline-clause"
_EXEMPT: Final = "exempt: "

if _KIT not in sys.modules:
    pytest.register_assert_rewrite(_KIT)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("syncline")
    group.addoption(
        "--record-cassettes",
        action="store_true",
        help="make the cassettes of `cassette` anew from what is really sent, instead of replaying them",
    )
    group.addoption(
        "--update-formats",
        action="store_true",
        help="pin in format.json what stored configurations and databases depend on; a break is refused all the same",
    )


# Cassettes


@pytest.fixture
def cassette_folder(request: pytest.FixtureRequest) -> Path:
    """Where the cassettes of a test are: `cassettes` beside it. Override it to keep them elsewhere."""
    return request.path.parent / "cassettes"


@pytest.fixture
def cassette(request: pytest.FixtureRequest, cassette_folder: Path) -> Callable[..., AbstractContextManager[Any]]:
    """`with cassette("members/first_page"):` replays all HTTP of the block from that file of `cassette_folder`.

    With `--record-cassettes` it makes the file anew. Further arguments are those of `use_cassette`.
    """
    record = bool(request.config.getoption("--record-cassettes"))

    def use(name: str, **options: Any) -> AbstractContextManager[Any]:
        try:
            from syncline.testing.cassettes import use_cassette  # only who replays needs the library behind it
        except ModuleNotFoundError as error:
            pytest.fail(f"cassettes need {error.name}, which is not installed: pip install vcrpy", pytrace=False)
        return use_cassette(cassette_folder / f"{name}.yaml", record=record, **options)

    return use


# What became of the clauses


@dataclass(slots=True)
class _Held:
    """The clauses of one connector, by what became of them; reasons → clauses where there is a reason."""

    kit: str
    held: int = 0
    broken: list[str] = field(default_factory=list)
    exempt: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    not_applied: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, clause: str, report: pytest.TestReport) -> None:
        if report.failed:
            self.broken.append(clause)
        elif report.skipped:
            reason = _reason(report)
            kept = self.exempt if reason.startswith(_EXEMPT) else self.not_applied
            kept[reason.removeprefix(_EXEMPT)].append(clause)
        elif report.when == "call":
            self.held += 1

    def __str__(self) -> str:
        counts = {
            "held": self.held,
            "exempt": sum(map(len, self.exempt.values())),
            "not applied": sum(map(len, self.not_applied.values())),
            "broken": len(set(self.broken)),
        }
        return f"{self.kit}: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "held")

    def lines(self) -> Iterator[str]:
        yield from (f"broken: {clause}" for clause in dict.fromkeys(self.broken))
        for what, reasons in (("exempt", self.exempt), ("not applied", self.not_applied)):
            for reason, clauses in reasons.items():
                names = clauses[0] if len(clauses) == 1 else f"{len(clauses)} clauses"
                yield f"{what}: {names}: {reason}"


def _reason(report: pytest.TestReport) -> str:
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")


class _Clauses:
    """Gathers the reports of clauses; with several workers, where their reports come together."""

    def __init__(self) -> None:
        self.connectors: dict[str, _Held] = {}
        self.pinned: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            kit = _kit_of(getattr(item, "cls", None), getattr(item, "originalname", ""))
            if kit:
                item.user_properties.append((_MARK, kit))

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        if dict(item.user_properties).get(_MARK) and item.config.getoption("--update-formats"):
            vars(getattr(item, "instance"))["_pinned_now"] = self.pinned  # noqa: B009  # only functions have one

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        kit = dict(report.user_properties).get(_MARK)
        if kit is not None:
            suite, _, clause = report.nodeid.rpartition("::")
            self.connectors.setdefault(suite, _Held(str(kit))).add(clause, report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.connectors:
            return
        terminalreporter.section("connector contracts")
        for suite, held in sorted(self.connectors.items()):
            terminalreporter.write_line(f"{suite} ({held})", red=bool(held.broken), green=not held.broken)
            for line in held.lines():
                terminalreporter.write_line(f"  {line}")


def _kit_of(suite: type[Any] | None, test: str) -> str:
    """Which kit a test is a clause of; nothing for other tests, also those that stand in the same class."""
    for base in suite.__mro__ if suite else ():
        own: Mapping[str, Any] = vars(base)
        if base.__module__.startswith(_KIT) and own.get("_kit"):
            return str(own["_kit"]) if hasattr(base, test) else ""
    return ""


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-formats") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update-formats writes one file for several classes: leave -n out")
    config.pluginmanager.register(_Clauses(), "syncline-clauses")
