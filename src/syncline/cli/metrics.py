"""`syncline metrics`: what the store knows, once, in Prometheus' words; for those who run without a server."""

from __future__ import annotations

import sys

import typer

from syncline.cli.common import DEFAULT, ConfigPath
from syncline.errors import ConfigError
from syncline.host import Host

__all__ = ["app"]

app = typer.Typer()


@app.command()
def metrics(config: ConfigPath = DEFAULT) -> None:
    """Print the metrics that come from the store, for node_exporter's textfile collector; no server is needed."""
    try:
        from syncline.server.metrics import exposition  # heavy, and an extra
    except ImportError as error:
        raise ConfigError(
            f"metrics need the library {error.name}, which is not installed: pip install 'syncline[serve]'"
        ) from error
    with Host.load(config, only=()) as host:
        sys.stdout.write(exposition(host).decode())
