"""`GET /metrics`: what the store knows and what this process received, in Prometheus' words and by its conventions."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from structlog.contextvars import get_contextvars

from syncline.config import Config
from syncline.errors import StoreError
from syncline.server.app import make_app
from syncline.server.metrics import ServerMetrics, StoreCollector
from syncline.store import books

NAMES = ["shop"]


class Clock:
    """Time that passes by a quarter of a second whenever somebody looks."""

    now = 100.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


@pytest.fixture
def metrics(desk: Any) -> ServerMetrics:
    config = Config.model_validate({"version": 1, "connections": {"shop": {"plugin": "memory-source"}}})
    return ServerMetrics(StoreCollector(desk.database, config, lambda: desk.now), NAMES, monotonic=Clock())


@pytest.fixture
def app(desk: Any, metrics: ServerMetrics) -> Any:
    return make_app(desk.receivers, desk.writer, Config.model_fields["server"].default, metrics=metrics)


async def asked(app: Any, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.example") as client:
        return [await client.request(method, path, **more) for method, path, more in requests]


def ask(app: Any, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    return asyncio.run(asked(app, *requests))


def figures(response: httpx.Response) -> dict[tuple[str, ...], float]:
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_webhooks_are_counted_by_answer_with_how_long_it_took(desk: Any, app: Any) -> None:
    body = desk.body("a", "b")
    good = ("POST", "/hooks/shop", {"content": body, "headers": desk.signed(body)})
    forged = ("POST", "/hooks/shop", {"content": body, "headers": {}})
    *_, scraped = ask(app, good, good, forged, ("POST", "/hooks/nobody", {}), ("GET", "/metrics", {}))
    found = figures(scraped)
    assert found["syncline_webhooks_total", "shop", "200"] == 2
    assert found["syncline_webhooks_total", "shop", "403"] == 1
    assert found["syncline_webhook_duration_seconds_count", "shop"] == 3
    assert found["syncline_webhook_duration_seconds_sum", "shop"] == pytest.approx(3 * 0.25)
    assert found["syncline_webhooks_in_progress", "shop"] == 0
    assert found["syncline_inbox_records", "shop"] == 2, "what waits for the next run"
    assert "nobody" not in scraped.text, "whatever is called makes no label"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"])
def test_nobody_outside_sees_them(app: Any, header: str) -> None:
    there, outside = ask(app, ("GET", "/metrics", {}), ("GET", "/metrics", {"headers": {header: "192.0.2.1"}}))
    assert (there.status_code, outside.status_code, outside.text) == (200, 404, "")


def test_a_server_without_metrics_has_none(desk: Any) -> None:
    [answer] = desk.send(("GET", "/metrics", {}))
    assert answer.status_code == 404


def test_a_store_that_cannot_be_read_is_no_500(app: Any, desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise StoreError("lost")

    monkeypatch.setattr(desk.database, "read", lost)
    assert [answer.status_code for answer in ask(app, ("GET", "/metrics", {}))] == [503]


def test_what_is_logged_of_a_webhook_says_of_which_connection(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append((record.getMessage(), get_contextvars()))  # type: ignore[method-assign]
    log = logging.getLogger("syncline.server")
    log.addHandler(handler)
    ask(app, ("POST", "/hooks/shop", {"content": b"[]"}))
    log.removeHandler(handler)
    assert [context for message, context in seen if "refused" in message] == [{"connection": "shop"}]


def test_syncline_serve_has_them(tmp_path: Path) -> None:
    """As a process of its own."""
    path = tmp_path / "connectors.yaml"
    shop = {"plugin": "mailchimp", "simulated": True}
    path.write_text(json.dumps({"version": 1, "simulation": {"people": 3}, "connections": {"shop": shop}}), "utf-8")
    command = [
        sys.executable,
        "-c",
        "from syncline.cli.main import main; main()",
        "serve",
        "--port",
        "0",
        "-c",
        str(path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            url = running.stdout.readline().strip()
            httpx.post(url, content=b"hunter2")
            found = figures(httpx.get(url.replace("hooks/shop", "metrics")))
        finally:
            running.terminate()
            _, log = running.communicate(timeout=30)
    assert found["syncline_webhooks_total", "shop", "403"] == 1
    assert found["syncline_dead_letters", "shop"] == 0
    refused = [json.loads(line) for line in log.splitlines() if "refused" in line]
    assert [event["connection"] for event in refused] == ["shop"]


def test_names_follow_prometheus_conventions(app: Any) -> None:
    """prometheus.io/docs/practices/naming: base units, and `_total` for what only grows. Its own parser reads it."""
    [scraped] = ask(app, ("GET", "/metrics", {}))
    families = list(text_string_to_metric_families(scraped.text))
    assert families
    for family in families:
        assert re.fullmatch(r"syncline_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"(minutes|hours|milliseconds|ms|percent)$", family.name)
        if family.type == "counter":
            assert f"# TYPE {family.name}_total counter" in scraped.text
        if "timestamp" in family.name or "duration" in family.name:
            assert family.name.endswith("_seconds")


@pytest.mark.parametrize(
    ("what", "index"),
    [("quarantined", "raw_open"), ("inbox", "raw_open"), ("unread", "webhook_unread"), ("unanswered", "outbox_open")],
)
def test_a_scrape_reads_no_table_that_grows_with_people(desk: Any, what: str, index: str) -> None:
    """SQLite says which index it uses; the partial ones hold only what is open."""
    query = str(books._QUERIES[what].compile(desk.database.engine, compile_kwargs={"literal_binds": True}))
    with desk.database.read() as connection:
        plan = " ".join(str(row.detail) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
    assert f"USING INDEX {index}" in plan or f"USING COVERING INDEX {index}" in plan
