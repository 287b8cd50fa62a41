"""Every shipped connector has its format pinned as it is now: what is added today is held against tomorrow."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from syncline.sdk import Sink, Source, capabilities
from syncline.testing.contract._format_settings import settings_format

PLUGINS = Path(__file__).parents[2] / "plugins"
REFRESH = "refresh it: pytest --update-formats -k test_what_is_stored plugins/{}/tests"

PRIVATE = ("/tmp/", "/home/", "/work/", "127.0.0.1:", "localhost:")  # noqa: S108  # looked for, not used


def shipped() -> list[Any]:
    """(folder, kit, connector class) of each."""
    found = []
    for folder in sorted(path for path in PLUGINS.iterdir() if (path / "pyproject.toml").is_file()):
        for connector in importlib.import_module(f"syncline_{folder.name}.hooks").connectors():
            kits = [name for name, base in (("source", Source), ("sink", Sink)) if issubclass(connector, base)]
            found += [pytest.param(folder, kit, connector, id=f"{kit} {connector.kind}") for kit in kits]
    return found


@pytest.mark.parametrize(("folder", "kit", "connector"), shipped())
def test_the_pinned_format_is_the_present_one(folder: Path, kit: str, connector: type[Any]) -> None:
    entry = json.loads((folder / "tests" / "format.json").read_text("utf-8"))[f"{kit} {connector.kind}"]
    now = {"can": list(capabilities(connector)), **json.loads(json.dumps(settings_format(connector.config_model)))}
    if kit == "source":
        now["streams"] = list(connector.streams)
        entry["streams"] = list(entry["streams"])
    assert {part: entry[part] for part in now} == now, REFRESH.format(folder.name)


@pytest.mark.parametrize("folder", sorted(PLUGINS.iterdir()), ids=lambda folder: folder.name)
def test_nothing_private_is_pinned(folder: Path) -> None:
    """No path of a machine, no port that happened to be free."""
    text = (folder / "tests" / "format.json").read_text("utf-8")
    assert not [word for word in PRIVATE if word in text]
