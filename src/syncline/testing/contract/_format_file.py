"""The file that pins formats: one entry for each connector and kit, printed so that a change of it can be read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from syncline.testing.contract._expect import expect

__all__ = ["FormatFile"]

_WIDTH: Final = 118
_HEADING: Final = re.compile(r"^#+ +Connector contract\b", re.MULTILINE)
_ABOUT: Final = (
    "What stored configurations and databases depend on; `pytest --update-formats` writes it (docs/contract.md)"
)


@dataclass(frozen=True, slots=True)
class FormatFile:
    """The entry of one connector as a source, or as a sink."""

    path: Path
    kit: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kit} {self.kind}"

    def entry(self) -> dict[str, Any] | None:
        """What is pinned; None when nothing is."""
        return self._all().get(self.name)

    def write(self, entry: dict[str, Any]) -> None:
        pinned = {**self._all(), self.name: entry}
        text = printed({"about": _ABOUT, **dict(sorted(pinned.items()))})
        self.path.write_text(f"{text}\n", encoding="utf-8")

    def refuse_another_kind(self, suite: str) -> None:
        """A connector that has a new word has no entry; whoever wrote the old word has no connector."""
        others = [name for name, entry in self._all().items() if entry["suite"] == suite and name != self.name]
        expect(
            not others,
            f"{suite} pinned {' and '.join(f'`{name}`' for name in others)}, and the connector now says `{self.name}`: "
            f"every connectors.yaml that names the old plugin is refused. Keep `kind`; or, if it is another connector "
            f"altogether, take its old entry out of {self.path.name}",
        )

    def demand_note(self, number: int) -> None:
        """A break that was decided on is told to those who upgrade."""
        readme = next((p for p in (folder / "README.md" for folder in self.path.parents[:3]) if p.is_file()), None)
        place = readme.name if readme else f"a README.md above {self.path.parent.name}"
        text = readme.read_text("utf-8") if readme else ""
        heading = _HEADING.search(text)
        told = heading is not None and f"format {number}" in text[heading.end() :].lower()
        expect(told, f"{self.name}: say under “Connector contract” in {place} what “format {number}” asks of upgraders")

    def _all(self) -> dict[str, dict[str, Any]]:
        if not self.path.is_file():
            return {}
        found: dict[str, Any] = json.loads(self.path.read_text("utf-8"))
        return {name: entry for name, entry in found.items() if name != "about"}


def printed(value: Any, indent: int = 0) -> str:
    """JSON in which whatever fits into a line stands in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= _WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    inner, pad = indent + 1, " " * (indent + 1)
    if isinstance(value, list):
        lines = [f"{pad}{printed(one, inner)}" for one in value]
    else:
        lines = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {printed(one, inner)}" for key, one in value.items()]
    ends = "[]" if isinstance(value, list) else "{}"
    return f"{ends[0]}\n" + ",\n".join(lines) + f"\n{' ' * indent}{ends[1]}"
