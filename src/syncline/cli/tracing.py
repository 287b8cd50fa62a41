"""OpenTelemetry as the environment asks for it, by its own variables; without them not even its library is loaded."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

__all__ = ["configure", "exporters"]

_log = logging.getLogger("syncline.tracing")

_ASKS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_GROUP: Final = "opentelemetry_traces_exporter"
_PACKAGES: Final = {"otlp": "opentelemetry-exporter-otlp", "zipkin": "opentelemetry-exporter-zipkin"}


def configure(env: Mapping[str, str]) -> None:
    """Send spans where `OTEL_TRACES_EXPORTER` says (`otlp` if only an endpoint is given); nowhere without either.

    The library reads everything else itself: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER,
    OTEL_BSP_…, OTEL_EXPORTER_OTLP_…. What is missing is a warning: a trace is not worth a run.
    """
    names = exporters(env)
    if not names:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("OTEL_… asks for traces, and the library is not installed: pip install 'syncline[otel]'")
        return
    named = "OTEL_SERVICE_NAME" in env or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "syncline"}))
    for name in names:
        exporter = _exporter(name)
        if exporter is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # it flushes when the process ends


def exporters(env: Mapping[str, str]) -> list[str]:
    """The exporters the environment asks for."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    said = env.get("OTEL_TRACES_EXPORTER", "").strip()
    if not said:
        return ["otlp"] if any(env.get(name) for name in _ASKS) else []
    return [name for name in (part.strip() for part in said.split(",")) if name and name != "none"]


def _exporter(name: str) -> Any:
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    if found is None:
        known = ", ".join(sorted({point.name for point in entry_points(group=_GROUP)}))
        package = _PACKAGES.get(name, "the package that brings it")
        _log.warning("traces cannot be sent by %r: install %s; there is: %s", name, package, known)
        return None
    made = found.load()
    return made(out=sys.stderr) if name == "console" else made()  # stdout is the result
