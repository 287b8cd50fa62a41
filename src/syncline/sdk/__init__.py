"""All that a plugin may import, beside `syncline.errors` and `syncline.model`."""

from syncline.sdk.config import ConnectorConfig
from syncline.sdk.connector import (
    ClosesTasks,
    Connector,
    Context,
    CreatesTasks,
    KeepsSegments,
    Polls,
    Prepares,
    Receives,
    Sink,
    Source,
    WebhookRequest,
    capabilities,
)
from syncline.sdk.hookspecs import Simulator, SimulatorOptions, hookimpl
from syncline.sdk.http import Http, Throttle

__all__ = [
    "ClosesTasks",
    "Connector",
    "ConnectorConfig",
    "Context",
    "CreatesTasks",
    "Http",
    "KeepsSegments",
    "Polls",
    "Prepares",
    "Receives",
    "Simulator",
    "SimulatorOptions",
    "Sink",
    "Source",
    "Throttle",
    "WebhookRequest",
    "capabilities",
    "hookimpl",
]
