"""`syncline serve` as a process: what it says, what stops it, what it ends with."""

from __future__ import annotations

import builtins
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from syncline.cli import main
from syncline.errors import ConfigError
from syncline.host import Host
from syncline.server import serve

SYNCLINE = [sys.executable, "-c", "from syncline.cli.main import main; main()"]
RECEIVES = {"plugin": "mailchimp", "simulated": True}
DOES_NOT = {"plugin": "files", "simulated": True}


def configured(folder: Path, server: dict[str, Any] | None = None, **connections: Any) -> Path:
    path = folder / "connectors.yaml"
    config = {"version": 1, "simulation": {"people": 5}, "server": server or {}, "connections": connections}
    path.write_text(json.dumps(config), "utf-8")
    return path


@contextmanager
def served(path: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running server and the addresses it printed."""
    command = [*SYNCLINE, "serve", "--config", str(path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        names = len(json.loads(path.read_text())["connections"])
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
    with Host.load(path, env={}) as host, pytest.raises(ConfigError, match="no connection takes webhooks"):
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
    monkeypatch.setattr(main, "receive_webhooks", lambda host, address, port, **_: given.update(host=host, port=port))
    result = CliRunner().invoke(main.app, ["serve", "--config", str(path)], catch_exceptions=False)
    assert (result.exit_code, given["port"]) == (0, 8080)
    assert given["host"].receiving_names() == ["newsletter"]
