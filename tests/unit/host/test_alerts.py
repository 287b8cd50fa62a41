"""A trouble is told when it begins and when it is over; not each time it is met, and not to nobody."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from syncline.config import ALERT_KINDS
from syncline.errors import AuthError, ConfigError, ConnectorError, GuardError, StoreError, TransientError
from syncline.host.alerts import ALL, WORDS, Decision, Facts, decide, message, over, troubles
from syncline.host.notify import by_apprise
from syncline.store.alerts import Known, Trouble
from syncline.sync.report import Report, SinkReport, SourceReport

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise imports it
CONNECTIONS = ["shop", "crm"]
REFUSED = Trouble("credentials", "crm")


def facts(sink: SinkReport | None = None, **more: Any) -> Facts:
    report = Report(run_id="r1", sources={"shop": SourceReport()}, sinks={"crm": sink or SinkReport()})
    return Facts(**{"subject": ALL, "report": report, "connections": CONNECTIONS, "syncs": ["leads", "deals"], **more})


def refused() -> SinkReport:
    return SinkReport(error="the token of ada@acme.example was revoked", trouble="credentials")


def met(trouble: Trouble, *, told: bool = True, times: int = 1) -> Known:
    return Known(trouble, 1, 1, times, 1 if told else None)


def decided(
    known: list[Known], found: Facts, on: Any = ALERT_KINDS
) -> tuple[list[Trouble], list[Trouble], list[Trouble]]:
    """What begins, what ends, what is nobody's trouble any more."""
    decision = decide(known, found, 10, on)
    return tuple([item.trouble for item in part] for part in (decision.begins, decision.ends, decision.gone))  # type: ignore[return-value]


def test_it_is_told_once_and_once_more_when_it_is_over() -> None:
    assert decided([], facts(refused())) == ([REFUSED], [], [])
    assert decided([met(REFUSED)], facts(refused())) == ([], [], [])
    assert decided([met(REFUSED, times=9)], facts()) == ([], [REFUSED], [])
    assert decided([], facts()) == ([], [], [])


def test_every_meeting_is_counted_from_the_first() -> None:
    [seen] = decide([Known(REFUSED, 1, 5, 4, 2)], facts(refused()), 10, ALERT_KINDS).seen
    assert seen == Known(REFUSED, 1, 10, 5, 2)


def test_what_could_not_be_told_is_told_the_next_time() -> None:
    assert decided([met(REFUSED, told=False)], facts(refused())) == ([REFUSED], [], [])


def test_what_nobody_was_told_of_ends_without_a_word() -> None:
    assert decided([met(REFUSED, told=False)], facts()) == ([], [], [REFUSED])


def test_kinds_that_are_not_wanted_are_kept_and_not_told() -> None:
    decision = decide([], facts(refused()), 10, ["guard"])
    assert (decision.begins, [item.trouble for item in decision.seen]) == ([], [REFUSED])


def test_a_connection_that_is_no_longer_configured_is_nobodys_trouble() -> None:
    assert decided([met(Trouble("guard", "old"))], facts()) == ([], [], [Trouble("guard", "old")])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (facts(SinkReport(error="…", trouble="guard")), {Trouble("guard", "crm")}),
        (facts(SinkReport(parked=["Lead.Band: gone"])), {Trouble("drift", "crm")}),
        (facts(SinkReport(error="…", trouble="weather")), {Trouble("weather", "crm")}),
        (facts(dead_letters=["crm"]), {Trouble("dead_letters", "crm")}),
        (facts(paused=["crm"]), {Trouble("paused", "crm")}),
        (facts(killed=["leads", ALL]), {Trouble("killed", "leads"), Trouble("killed", ALL)}),
        (facts(late=["leads"]), {Trouble("schedule", "leads")}),
        (facts(error=ZeroDivisionError()), {Trouble("failed", ALL)}),
        (facts(error=ConfigError("…"), subject="leads"), {Trouble("settings", "leads")}),
        (facts(error=AuthError("…")), {Trouble("credentials", ALL)}),
        (facts(error=GuardError("…")), {Trouble("guard", ALL)}),
        (facts(error=TransientError("…")), {Trouble("weather", ALL)}),
        (facts(error=ConnectorError("…")), {Trouble("failed", ALL)}),
        (facts(error=StoreError("…")), {Trouble("failed", ALL)}),
        (facts(), set()),
    ],
    ids=lambda value: "+".join(sorted(kind for kind, _ in value)) or "fine" if isinstance(value, set) else "",
)
def test_what_somebody_might_have_to_know(found: Facts, expected: set[Trouble]) -> None:
    assert troubles(found) == expected
    assert {trouble.kind for trouble in expected} <= set(ALERT_KINDS) == set(WORDS)


@pytest.mark.parametrize(
    ("why", "trouble", "found"),
    [
        ("the run died", REFUSED, facts(error=ZeroDivisionError())),
        ("the run was for one person", REFUSED, facts(whole=False)),
        ("the run did not come to it", Trouble("guard", "crm"), facts(refused())),
        ("the run may not write there", Trouble("guard", "crm"), facts(SinkReport(paused="…"))),
        ("the run was about another sync", Trouble("failed", "leads"), facts(subject="deals")),
        ("the run did not look", Trouble("weather", "other"), facts(connections=["other"])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_called_over_that_was_not_looked_into(why: str, trouble: Trouble, found: Facts) -> None:
    assert not over(found, trouble)
    assert trouble not in decided([met(trouble)], found)[1]


@pytest.mark.parametrize(
    ("trouble", "found"),
    [
        (REFUSED, facts()),
        (Trouble("failed", "leads"), facts()),
        (Trouble("failed", "leads"), facts(subject="leads")),
        (Trouble("killed", ALL), facts(subject="leads")),
        (Trouble("settings", ALL), facts()),
        (Trouble("dead_letters", "crm"), facts(error=ZeroDivisionError())),
        (Trouble("paused", "crm"), facts(whole=False)),
        (Trouble("weather", "shop"), facts(refused())),
    ],
)
def test_it_is_over_when_the_run_got_that_far_or_the_store_says_so(trouble: Trouble, found: Facts) -> None:
    assert over(found, trouble)


@pytest.mark.parametrize("kind", ALERT_KINDS)
def test_every_kind_is_told_in_our_own_words_with_what_to_do(kind: str) -> None:
    begins, ends = met(Trouble(kind, "crm")), met(Trouble(kind, "shop"), times=3)
    title, text = message(Decision(begins=[begins], ends=[ends]), "r1")
    assert title == "syncline: trouble: 1 new, 1 over"
    assert re.search(r"^crm: .{20,}\n  What to do: .{10,}\nshop: .{10,} \(met 3 times\)\nRun r1; ", text)
    assert "CONNECTION" not in text


def test_no_vendors_word_is_passed_on() -> None:
    found = facts(refused(), error=ConfigError("hunter2 for ada@acme.example"))
    _, text = message(decide([], found, 10, ALERT_KINDS), None)
    assert not re.search("ada|hunter2|token|revoked", text)


# Through Apprise


class _Heard(BaseHTTPRequestHandler):
    said: ClassVar[list[dict[str, Any]]] = []
    answers: ClassVar[int] = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.said.append({"path": self.path, **json.loads(body)})
        self.send_response(self.answers)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def heard() -> Iterator[tuple[str, type[_Heard]]]:
    """The address of a program that takes what Apprise's `json://` sends, and what it has heard."""
    handler = type("Handler", (_Heard,), {"said": [], "answers": 200})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_address[1]}/hunter2", handler
        server.shutdown()


def test_apprise_takes_title_and_text_to_its_address(heard: tuple[str, type[_Heard]]) -> None:
    """Apprise's own client is the second opinion on its addresses."""
    address, handler = heard
    assert by_apprise([SecretStr(address)])("a title", "crm: a text\n  What to do: nothing")
    [said] = handler.said
    assert (said["path"], said["title"], said["message"]) == (
        "/hunter2",
        "a title",
        "crm: a text\n  What to do: nothing",
    )


def test_one_address_that_fails_keeps_no_other_from_being_told(
    heard: tuple[str, type[_Heard]], caplog: pytest.LogCaptureFixture
) -> None:
    address, handler = heard
    notify = by_apprise([SecretStr("json://127.0.0.1:9/hunter2"), SecretStr(address)])
    assert notify("t", "b")
    assert len(handler.said) == 1
    handler.answers = 500
    assert not notify("t", "b")
    assert "alerts.to[0] has not taken a message" in caplog.text
    assert "hunter2" not in caplog.text


def test_an_address_that_is_none_is_refused_without_being_shown(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.to\[1\]: is no address that Apprise knows") as caught:
        by_apprise([SecretStr("json://127.0.0.1"), SecretStr("hunter2")])
    assert "hunter2" not in str(caught.value) + caplog.text


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"pip install 'syncline\[alerts\]'"):
        by_apprise([SecretStr("json://127.0.0.1")])
