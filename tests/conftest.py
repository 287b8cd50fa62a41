"""Worlds for tests: a connectors.yaml in a folder of its own, its vendors simulated inside the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncline.host import Host
from syncline.sync.retry import retrying

EMBEDDED = Path(__file__).parents[1] / "connectors.yaml"


@dataclass
class World:
    """A configured folder. `host()` opens it anew, as a new process would; its vendors keep what they hold."""

    folder: Path
    stack: ExitStack

    @property
    def config(self) -> Path:
        return self.folder / "connectors.yaml"

    def host(self, **options: Any) -> Host:
        options.setdefault("retry", retrying(attempts=3, sleep=lambda _: None))
        return self.stack.enter_context(Host.load(self.config, env={}, **options))

    def edit(self, *pairs: tuple[str, str]) -> None:
        """Replace text in connectors.yaml; every piece must be there."""
        text = self.config.read_text("utf-8")
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text, "utf-8")


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """A factory: the embedded connectors.yaml for so many simulated people, with pieces of its text replaced."""
    with ExitStack() as stack:

        def make(*pairs: tuple[str, str], people: int = 120, name: str = "world") -> World:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "connectors.yaml").write_text(EMBEDDED.read_text("utf-8"), "utf-8")
            world = World(folder, stack)
            world.edit(("people: 1000", f"people: {people}"), *pairs)
            return world

        yield make
