"""Traces go where OpenTelemetry's own environment variables say."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from syncline.cli import tracing

ONE_CRM = Path(__file__).parents[2] / "one_crm.yaml"


@pytest.mark.parametrize(
    ("env", "exporters"),
    [
        ({}, []),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "console"}, ["console"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "True"}, []),
        ({"OTEL_SERVICE_NAME": "x"}, []),
    ],
)
def test_the_environment_says_where_to(env: dict[str, str], exporters: list[str]) -> None:
    """As the specification has it: opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables."""
    assert tracing.exporters(env) == exporters


def test_an_exporter_that_is_not_installed_is_a_warning_with_what_to_install(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import trace

    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
    with caplog.at_level(logging.WARNING):
        tracing.configure({"OTEL_TRACES_EXPORTER": "otlp"})
    assert "install opentelemetry-exporter-otlp" in caplog.text


def test_without_the_library_it_is_a_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with caplog.at_level(logging.WARNING):
        tracing.configure({"OTEL_TRACES_EXPORTER": "console"})
    assert "pip install 'syncline[otel]'" in caplog.text


def test_a_command_traced_to_the_console_leaves_stdout_to_the_result(tmp_path: Path) -> None:
    """As a process of its own: the spans are flushed when it ends."""
    path = tmp_path / "connectors.yaml"
    path.write_text(ONE_CRM.read_text("utf-8").replace("people: 1000", "people: 5"), "utf-8")
    command = [sys.executable, "-c", "from syncline.cli.main import main; main()", "pull", "--json", "-c", str(path)]
    env = {"OTEL_TRACES_EXPORTER": "console", "PATH": "/usr/bin:/bin", "OTEL_SERVICE_NAME": "ours"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    report = json.loads(done.stdout)
    for word in ('"name": "pull"', '"name": "read newsletter"', '"syncline.run_id": "' + report["run_id"], '"ours"'):
        assert word in done.stderr
