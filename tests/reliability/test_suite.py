"""The suite itself: what may be asked for, what is printed, and that a line which does not hold is not hidden."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from reliability import suite as suite_module
from reliability.__main__ import main
from reliability.lines import Case, Line
from reliability.suite import Order, lines, promises, sizes


def order(**given: str) -> Order:
    asked = {"size": "small", "store": "sqlite", "only": "", "sink": "all", **given}
    return Order.of(asked["size"], 7, asked["store"], asked["only"], asked["sink"], 1)


def test_promises_come_in_the_order_of_their_numbers() -> None:
    numbers = [int(promise.NAME[1:]) for promise in promises() if promise.NAME.startswith("R")]
    assert numbers == sorted(numbers)
    assert {"R1", "R2", "R3", "R4", "Storm"} <= {promise.NAME for promise in promises()}


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise.NAME)
def test_every_promise_has_the_same_knobs_in_both_sizes(promise: suite_module.Promise) -> None:
    assert promise.SMALL.keys() == promise.FULL.keys()
    assert promise.PROMISE
    assert all(promise.SMALL[knob] <= promise.FULL[knob] for knob in promise.SMALL)


def test_a_size_is_a_word_and_knobs_on_top_of_it() -> None:
    by_name = {promise.NAME: promise for promise in promises()}
    r1, r4 = by_name["R1"], by_name["R4"]
    assert sizes("small", [r1])["R1"] == dict(r1.SMALL)
    assert sizes("kills=3,people=9", [r1, r4]) == {
        "R1": {**r1.FULL, "kills": 3, "people": 9},
        "R4": {**r4.FULL, "people": 9},
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": "huge"}, "a size is small, full, or knob=number; got 'huge'"),
        ({"size": "small,kils=3"}, "there is no knob 'kils'; there are "),
        ({"only": "R99"}, "there is no promise 'r99'; there are R1, R2"),
    ],
    ids=["size", "knob", "promise"],
)
def test_what_does_not_exist_is_refused_with_what_does(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        order(**given)


def test_without_a_seed_each_order_has_one_of_its_own() -> None:
    assert len({Order.of("small", None, "sqlite", "R4", "zoho", 1).seed for _ in range(4)}) > 1


def _promise(check: Callable[[Case], list[str]]) -> SimpleNamespace:
    def run(case: Case) -> Iterator[Line]:
        yield case.line("R0", {"figure": 1234}, check(case))

    knobs = {"SMALL": {"n": 1}, "FULL": {"n": 2}}
    return SimpleNamespace(NAME="R0", PROMISE="a made-up one", SINKS=("memory",), run=run, **knobs)


def _printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], check: Callable[[Case], list[str]], store: str
) -> tuple[int, str]:
    monkeypatch.setattr(suite_module, "promises", lambda: [_promise(check)])
    monkeypatch.setattr(suite_module, "ProcessPoolExecutor", _Here)
    words = f"reliability --size small --seed 7 --store {store} --only r0"
    monkeypatch.setattr(sys, "argv", words.split())
    code = main()
    return code, capsys.readouterr().out


class _Here:
    """A pool that works in this process."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., object], *arguments: object) -> object:
        future: Future[object] = Future()
        future.set_result(work(*arguments))
        return future


def test_a_line_that_holds_shows_its_figures_and_the_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = _printed(monkeypatch, capsys, lambda case: [], "sqlite")
    assert code == 0
    assert "seed 7" in out
    assert "R0      memory      sqlite      holds  figure 1,234 (seed 7, 0 s)" in out


def test_a_line_that_does_not_hold_says_why_and_the_command_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = _printed(monkeypatch, capsys, lambda case: ["three were lost"], "sqlite")
    assert code == 1
    assert "R0      memory      sqlite      FAILS" in out
    assert "R0 FAILS for memory on sqlite, seed 7:\n  three were lost" in out


def test_a_promise_that_breaks_does_not_hold(tmp_path: Path) -> None:
    def check(case: Case) -> list[str]:
        raise KeyError("lost")

    [line] = lines(_promise(check), "memory", "sqlite", {"n": 1}, 7, tmp_path)
    assert not line.holds
    assert line.trouble == ("KeyError: 'lost'",)


def test_without_postgresql_nothing_is_shown_for_it_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite_module, "postgres_trouble", lambda: "no server answers")
    code, out = _printed(monkeypatch, capsys, lambda case: [], "both")
    assert code == 1
    assert "R0      memory      sqlite      holds" in out
    assert "not shown on PostgreSQL: no server answers" in out
