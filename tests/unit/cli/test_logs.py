"""The log: one stream, structured, and nobody's secret in it."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from syncline.cli import logs, progress
from syncline.cli.logs import LogFormat

SECRET = "hunter2-9f31"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Stderr:
    """What was said there so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._said = ""

    def getvalue(self) -> str:
        self._said += self._capsys.readouterr().err
        return self._said


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    return Stderr(capsys)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.StringIO]:
    """Makes stderr one; while a test runs, because pytest has put something of its own there."""

    def make() -> io.StringIO:
        made = _Terminal()
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return make


def events(stderr: Stderr) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def test_what_the_rooms_log_comes_out_structured_with_what_the_run_is_about(stderr: Stderr) -> None:
    logs.configure()
    with bound_contextvars(run_id="r1", connection="crm", stage="write crm"):
        logging.getLogger("syncline.sync.somewhere").warning("%d of %d", 1, 2, extra={"rows": 7, "seconds": 0.5})
    [event] = events(stderr)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event.pop("time"))
    assert list(event) == ["level", "event", "run_id", "connection", "stage", "logger", "rows", "seconds"]
    assert (event["level"], event["event"], event["rows"], event["logger"]) == (
        "warning",
        "1 of 2",
        7,
        "syncline.sync.somewhere",
    )


def test_what_a_run_is_about_is_forgotten_with_it(stderr: Stderr) -> None:
    logs.configure()
    with bound_contextvars(run_id="r1"):
        pass
    logging.getLogger("syncline").warning("later")
    assert "run_id" not in events(stderr)[0]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    ("message", "extra"),
    [
        (f"no answer from https://x.example/?token={SECRET}", {}),
        ("plain", {"api_key": SECRET}),
        ("plain", {"client_secret": SECRET}),
        ("plain", {"Authorization": f"Bearer {SECRET}"}),
        ("plain", {"settings": {"login": {"password": SECRET}}}),
        ("plain", {"urls": [f"https://x.example/?a=1&key={SECRET}"]}),
        (f"about {SECRET}@acme.example", {}),
        ("plain", {"who": f"{SECRET}@acme.example"}),
        ("plain", {"email": SECRET}),
        ("plain", {"first_name": SECRET}),
        ("plain", {"body": SECRET}),
        ("plain", {"found": (ValueError(f"{SECRET}@acme.example"),)}),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else value[:12],
)
def test_the_second_net_holds_what_slips_through_the_first(
    stderr: Stderr, form: LogFormat, message: str, extra: dict[str, Any]
) -> None:
    logs.configure(form)
    logging.getLogger("syncline").error("%s", message, extra=extra)
    assert stderr.getvalue().strip()
    assert SECRET not in stderr.getvalue()


def _buggy(local: str) -> None:
    raise ValueError(f"{local}@acme.example")


def test_a_trace_of_a_bug_is_there_without_addresses(stderr: Stderr) -> None:
    logs.configure("text")
    try:
        _buggy(SECRET)
    except ValueError:
        logging.getLogger("syncline").exception("a bug")
    assert "Traceback" in stderr.getvalue()
    assert "ValueError: (address)" in stderr.getvalue()
    assert SECRET not in stderr.getvalue(), "no values of local variables"


def test_json_where_nobody_watches_and_text_on_a_terminal(on_a_terminal: Callable[[], io.StringIO]) -> None:
    terminal = on_a_terminal()
    logs.configure()
    logging.getLogger("syncline").warning("look here", extra={"rows": 7})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "look here" in plain
    assert "rows=7" in plain
    logs.configure("json")
    logging.getLogger("syncline").warning("look here")
    assert json.loads(terminal.getvalue().splitlines()[-1])["event"] == "look here"


def test_every_call_is_logged_only_when_asked(stderr: Stderr) -> None:
    for verbose in (False, True):
        logs.configure("json", verbose=verbose)
        logging.getLogger("syncline.http").debug("crm: GET /a -> 200")
        logging.getLogger("urllib3.connectionpool").debug("noise")
        logging.getLogger("apprise").error("json://user:hunter2@host is down")
    assert [event["event"] for event in events(stderr)] == ["crm: GET /a -> 200"]


def test_another_programs_handlers_stay_and_ours_does_not_double(stderr: Stderr) -> None:
    before = len(logging.getLogger().handlers)
    assert not [found for found in logging.getLogger().handlers if isinstance(found, logs._Handler)]
    for _ in range(3):
        logs.configure("json")
    logging.getLogger("syncline").warning("once")
    assert len(events(stderr)) == 1
    assert len(logging.getLogger().handlers) == before + 1


def test_stages_are_events_of_the_same_stream(stderr: Stderr) -> None:
    logs.configure()
    seconds = iter([10.0, 12.5])
    shown = progress.choose()
    assert isinstance(shown, progress.LogLines)
    told = progress.LogLines(lambda: next(seconds))
    with told, bound_contextvars(run_id="r1", connection="crm"):
        told.start("read crm", None)
        told.advance("read crm", 3)
        told.advance("read crm", 4)
        told.finish("read crm")
    first, last = events(stderr)
    assert (first["event"], first["stage"], first["total"]) == ("stage started", "read crm", None)
    assert (last["event"], last["done"], last["seconds"], last["run_id"]) == ("stage finished", 7, 2.5, "r1")


def test_bars_where_somebody_watches_unless_json_is_asked_for(on_a_terminal: Callable[[], io.StringIO]) -> None:
    on_a_terminal()
    kinds: list[tuple[LogFormat, type]] = [
        ("auto", progress.Bars),
        ("text", progress.Bars),
        ("json", progress.LogLines),
    ]
    for form, kind in kinds:
        logs.configure(form)
        assert isinstance(progress.choose(), kind)


def test_a_commands_last_word_is_a_sentence_and_an_event_where_json_is_asked_for(stderr: Stderr) -> None:
    logs.configure("auto")
    logs.complain("that is wrong", exit_code=2)
    assert stderr.getvalue() == "that is wrong\n"
    logs.configure("json")
    logs.complain("that is wrong", exit_code=2)
    event = json.loads(stderr.getvalue().splitlines()[-1])
    assert (event["event"], event["level"], event["exit_code"]) == ("that is wrong", "error", 2)
