"""`syncline serve` as a process: what it says, what stops it, what it ends with."""

from __future__ import annotations

import builtins
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from syncline.cli import main
from syncline.errors import ConfigError
from syncline.host import Host
from syncline.host.schedule import Due, Every
from syncline.server import serve
from syncline.sync.stop import Stop

serve_module = sys.modules["syncline.server.serve"]  # the package's `serve` is the function

SYNCLINE = [sys.executable, "-c", "from syncline.cli.main import main; main()"]
RECEIVES = {"plugin": "mailchimp", "simulated": True}
DOES_NOT = {"plugin": "files", "simulated": True}


SCHEDULED = {
    "name": "leads",
    "to": "crm",
    "object": "Lead",
    "match": "Syncline_Key__c",
    "fields": {"Email": {"from": "person.email", "owner": "shared", "policy": "only_if_empty"}},
    "cron": "0 3 1 1 *",
}
CRM = {"plugin": "salesforce", "simulated": True}


def configured(
    folder: Path, server: dict[str, Any] | None = None, syncs: Sequence[dict[str, Any]] = (), **connections: Any
) -> Path:
    path = folder / "connectors.yaml"
    config: dict[str, Any] = {"version": 1, "simulation": {"people": 5}, "server": server or {}}
    config |= {"connections": connections, "syncs": list(syncs)}
    path.write_text(json.dumps(config), "utf-8")
    return path


@contextmanager
def served(
    path: Path, port: int = 0, *options: str, lines: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running server and what it printed: a line for each connection, or so many."""
    command = [*SYNCLINE, "serve", "--config", str(path), "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        names = len(json.loads(path.read_text())["connections"]) if lines is None else lines
        try:
            yield running, [running.stdout.readline().strip() for _ in range(names)]
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_an_address_a_connection_receives_there_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    with served(configured(tmp_path, newsletter=RECEIVES)) as (running, [url]):
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/hooks/newsletter")
        assert httpx.get(url).status_code == 200
        assert httpx.post(f"{url}/hunter2?hunter3", content=b"hunter4").status_code == 403
        assert httpx.get(url.replace("hooks/newsletter", "health")).json() == {"status": "ok"}
        running.send_signal(number)
        _, log = running.communicate(timeout=30)
    assert running.returncode == 0
    assert "newsletter: a webhook was refused" in log
    assert "hunter" not in log
    with Host.load(tmp_path / "connectors.yaml", env={}) as host:
        webhook = host.pull("newsletter").sources["newsletter"].webhook
    assert webhook is not None
    assert webhook.refused == 1, "what was counted last is written before the end"


def test_the_address_of_a_client_is_what_a_trusted_proxy_says(tmp_path: Path) -> None:
    settings = {"public_url": "https://hooks.example/in/", "trusted_proxies": ["127.0.0.1"], "per_client_per_second": 1}
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with served(configured(tmp_path, settings, newsletter=RECEIVES), port) as (_, [url]):
        assert url == "https://hooks.example/in/hooks/newsletter"
        here = f"http://127.0.0.1:{port}/hooks/newsletter"
        clients = ["192.0.2.1"] * 3 + ["192.0.2.2"]
        answers = [httpx.post(here, headers={"X-Forwarded-For": client}).status_code for client in clients]
    assert answers == [403, 403, 429, 403]


@pytest.mark.parametrize(
    "wrong", ["hooks.example", "ftp://hooks.example", "https://h.example/?a=1", "https://a:b@h.example", ""]
)
def test_a_public_address_is_one_that_vendors_can_call(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.public_url: must be the address vendors call"):
        Host.load(configured(tmp_path, {"public_url": wrong}, newsletter=RECEIVES), env={})


def test_without_a_connection_that_receives_there_is_nothing_to_serve(tmp_path: Path) -> None:
    path = configured(tmp_path, website=DOES_NOT)
    with Host.load(path, env={}) as host, pytest.raises(ConfigError, match="nothing to serve: no connection takes web"):
        serve(host, "127.0.0.1", 0, ready=print)


def test_an_address_in_use_is_a_sentence(tmp_path: Path) -> None:
    path = configured(tmp_path, newsletter=RECEIVES)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, Host.load(path, env={}) as host:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*--port"):
            serve(host, "127.0.0.1", port, ready=print)


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "syncline.server.app", raising=False)
    path = configured(tmp_path, newsletter=RECEIVES)
    with Host.load(path, env={}) as host, pytest.raises(ConfigError, match=r"pip install 'syncline\[serve\]'"):
        serve(host, "127.0.0.1", 0, ready=print)


def test_only_the_secrets_of_what_receives_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing logs in anywhere: the account does not exist."""
    crm = {"plugin": "salesforce", "login": {"client_id": "${NOT_SET}", "client_secret": "${NOT_SET}", "domain": "x"}}
    path = configured(tmp_path, newsletter={"plugin": "mailchimp", "api_key": "${KEY}", "audience": "a"}, crm=crm)
    monkeypatch.setenv("KEY", "0123456789abcdef0123456789abcdef-us1")
    given: dict[str, Any] = {}
    monkeypatch.setattr(main, "run_server", lambda host, address, port, **_: given.update(host=host, port=port))
    result = CliRunner().invoke(main.app, ["serve", "--config", str(path)], catch_exceptions=False)
    assert (result.exit_code, given["port"]) == (0, 8080)
    assert given["host"].receiving_names() == ["newsletter"]


def asked_for(monkeypatch: pytest.MonkeyPatch, path: Path, *options: str) -> dict[str, Any]:
    """What the command line makes of these options."""
    given: dict[str, Any] = {}

    def take(host: Host, _address: str, _port: int, *, scheduled: Host | None, webhooks: bool, **_: Any) -> None:
        names = host.receiving_names() if webhooks else []
        given.update(webhooks=names, schedule=list(scheduled.timetable) if scheduled else [])

    monkeypatch.setattr(main, "run_server", take)
    CliRunner().invoke(main.app, ["serve", "--config", str(path), *options], catch_exceptions=False)
    return given


def test_schedules_and_webhooks_can_be_served_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configured(tmp_path, syncs=[SCHEDULED], newsletter=RECEIVES, crm=CRM)
    assert asked_for(monkeypatch, path) == {"webhooks": ["newsletter"], "schedule": ["leads"]}
    assert asked_for(monkeypatch, path, "--no-schedule") == {"webhooks": ["newsletter"], "schedule": []}
    assert asked_for(monkeypatch, path, "--no-webhooks") == {"webhooks": [], "schedule": ["leads"]}


def test_who_runs_syncs_needs_the_secrets_of_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = {"plugin": "salesforce", "login": {"client_id": "${NOT_SET}", "client_secret": "${NOT_SET}", "domain": "x"}}
    path = configured(tmp_path, syncs=[SCHEDULED], newsletter=RECEIVES, crm=crm)
    with pytest.raises(ConfigError, match="NOT_SET"):
        asked_for(monkeypatch, path)
    assert asked_for(monkeypatch, path, "--no-schedule")["webhooks"] == ["newsletter"]


@pytest.mark.parametrize("options", [["--no-schedule"], ["--no-webhooks", "--no-schedule"]])
def test_what_is_switched_off_is_nothing_to_serve(tmp_path: Path, options: list[str]) -> None:
    path = configured(tmp_path, syncs=[SCHEDULED], website=DOES_NOT, crm=CRM)
    result = CliRunner().invoke(main.app, ["serve", "--config", str(path), *options])
    assert isinstance(result.exception, ConfigError)
    assert "nothing to serve" in str(result.exception)


def test_a_schedule_alone_is_served_with_its_next_time_and_an_address_to_ask_for_health(tmp_path: Path) -> None:
    path = configured(tmp_path, syncs=[SCHEDULED], website=DOES_NOT, crm=CRM)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with served(path, port, lines=1) as (running, [line]):
        assert line.startswith("leads: next run 20")
        assert line.endswith("-01-01 03:00 UTC")
        assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}
        running.send_signal(signal.SIGTERM)
        _, log = running.communicate(timeout=30)
    assert running.returncode == 0, log


class _Endless:
    """A host whose run does not come to its end."""

    def __init__(self) -> None:
        self.stop, self.begun, self.over = Stop(), threading.Event(), threading.Event()
        self.timetable = {"leads": Every(timedelta(minutes=15))}

    def due(self) -> Due:
        return Due(times={"leads": datetime(2026, 6, 1, tzinfo=UTC)})

    def run_due(self) -> None:
        self.begun.set()
        self.over.wait(30)


def test_a_batch_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    host, ended = _Endless(), []
    monkeypatch.setattr(serve_module, "_RUN_GRACE", 0.01)
    monkeypatch.setattr(serve_module, "end_at_once", lambda: ended.append(True))
    with serve_module._running(host):  # type: ignore[arg-type]  # as much of a host as it takes
        assert host.begun.wait(10)
        assert not host.stop.asked
    assert host.stop.asked
    assert ended == [True]
    host.over.set()


def test_a_run_that_ends_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    host, ended = _Endless(), []
    monkeypatch.setattr(serve_module, "end_at_once", lambda: ended.append(True))
    with serve_module._running(host):  # type: ignore[arg-type]  # as much of a host as it takes
        assert host.begun.wait(10)
        host.over.set()
    assert not ended
    assert "syncline-scheduler" not in {thread.name for thread in threading.enumerate()}
