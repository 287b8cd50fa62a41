"""Who connects and does not ask is hung up on; who waits for an answer is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from syncline.host import Host
from syncline.server import serve
from syncline.server.protocol import WITHIN, Impatient

from .test_serve import RECEIVES, configured


class Line:
    """A transport and a loop in one: `later` is what the loop is to do, `cut` whether the line was."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []
        self.cut = False

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        assert seconds == WITHIN
        self.later.append(call)
        return SimpleNamespace(cancel=self.later.clear)

    def get_extra_info(self, _name: str) -> None:
        return None

    def abort(self) -> None:
        self.cut = True

    def wait(self) -> None:
        [look] = self.later
        self.later.clear()
        look()


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def asking(line: Line) -> Any:
    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    config: Any = uvicorn.Config(nothing, log_config=None, lifespan="off")
    protocol = Impatient(config, ServerState(), {}, _loop=line)  # type: ignore[arg-type]  # as much of one as is used
    protocol.connection_made(line)  # type: ignore[arg-type]
    return protocol


@pytest.mark.parametrize("sent", [b"", b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_who_does_not_come_to_a_request_is_hung_up_on(line: Line, asking: Any, sent: bytes) -> None:
    if sent:
        asking.data_received(sent)
    line.wait()
    assert line.cut
    assert not line.later


def test_who_waits_for_an_answer_is_not(line: Line, asking: Any) -> None:
    asking.cycle = SimpleNamespace(response_complete=False)
    for _ in range(3):
        line.wait()
    assert not line.cut


def test_who_goes_on_sending_after_the_answer_is_hung_up_on(line: Line, asking: Any) -> None:
    for _ in range(2):  # a new request in the meantime is no idleness
        asking.cycle = SimpleNamespace(response_complete=True, disconnected=False)
        line.wait()
        assert not line.cut
    line.wait()
    assert line.cut


def test_serve_receives_with_it_and_knows_no_web_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[uvicorn.Config] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: configs.append(self.config))
    with Host.load(configured(tmp_path, newsletter=RECEIVES), env={}) as host:
        serve(host, "127.0.0.1", 0, ready=lambda _: None)
    assert [(config.http, config.ws) for config in configs] == [(Impatient, "none")]
