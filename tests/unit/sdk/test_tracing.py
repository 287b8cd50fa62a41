"""Spans where somebody traces, nothing where nobody does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import ClassVar

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from werkzeug.wrappers import Request, Response

from syncline.sdk import Http
from syncline.sdk.tracing import span
from syncline.testing.simulator import VendorSimulator


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Everything that is traced in this test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def test_spans_nest_and_carry_what_is_noted_later(spans: InMemorySpanExporter) -> None:
    with span("run", {"syncline.sync": "leads"}) as note, span("read crm", {"syncline.connection": "crm"}):
        note({"syncline.run_id": "r1"})
    read, run = spans.get_finished_spans()
    assert (run.name, dict(run.attributes or {})) == ("run", {"syncline.sync": "leads", "syncline.run_id": "r1"})
    assert read.parent is not None
    assert read.parent.span_id == run.context.span_id


def test_a_failed_span_names_the_kind_of_error_and_not_its_text(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="ada"), span("run", {}):
        raise ValueError("ada@acme.example is wrong")
    [run] = spans.get_finished_spans()
    assert run.status.status_code is trace.StatusCode.ERROR
    assert dict(run.attributes or {}) == {"error.type": "ValueError"}
    assert "ada" not in run.to_json()


class _Vendor(VendorSimulator):
    name = "little"
    routes: ClassVar = [("GET", "/people/<who>", "person")]

    def person(self, request: Request, who: str) -> Response:
        return Response("{}")


@pytest.fixture
def vendor() -> Iterator[_Vendor]:
    with _Vendor() as vendor:
        yield vendor


def test_a_call_is_a_span_without_address_query_or_secret(spans: InMemorySpanExporter, vendor: _Vendor) -> None:
    http = Http("crm", base_url=vendor.url)
    http.request("GET", "/people/ada@acme.example?key=hunter2", headers={"Authorization": "Bearer hunter2"})
    [call] = spans.get_finished_spans()
    assert call.kind is trace.SpanKind.CLIENT
    assert dict(call.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "url.path": "/people/(address)",
        "syncline.connection": "crm",
        "syncline.purpose": "read",
    }
    assert "hunter2" not in call.to_json()
    http.close()


HEAVY = ("opentelemetry", "apprise", "prometheus_client", "fastapi", "uvicorn", "apscheduler")


def test_nobody_pays_for_what_is_not_used() -> None:
    """The command line loads none of the extras."""
    code = f"import sys, syncline.cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_a_span_is_nothing(monkeypatch: pytest.MonkeyPatch, spans: InMemorySpanExporter) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with span("run", {}) as note:
        note({"a": 1})
    assert not spans.get_finished_spans()
