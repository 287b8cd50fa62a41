"""The clause about upgrades: the new version of a plugin meets the stored configurations and databases of the old one.

What those depend on is pinned in `format.json`, beside the test. Additions are fine. A break is refused, unless the
author says that it is meant.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from syncline.model import FieldSpec
from syncline.sdk import capabilities
from syncline.testing.contract._base import Contract
from syncline.testing.contract._expect import expect, not_given
from syncline.testing.contract._format_file import FormatFile
from syncline.testing.contract._format_settings import broken_settings, settings_format
from syncline.testing.contract._format_shape import shape_of
from syncline.testing.contract._format_sink import broken_segments, broken_sink, segments_format, sink_format
from syncline.testing.contract._format_source import broken_source, source_format

__all__ = ["KeepsFormat"]

Format = dict[str, Any]

_REFRESH: Final = "refresh it with `pytest --update-formats`"


class KeepsFormat(Contract):
    """The clause about upgrades, for sources and for sinks."""

    format: ClassVar[int] = 1
    """The number of what the plugin stores. It is raised with a break that is meant, and the README says what for."""
    format_fields: ClassVar[Sequence[FieldSpec]] = ()
    """Fields as syncs may need them, one of each kind, by names that the CRM takes; for sinks that prepare."""
    _pinned_now: set[str] | None = None
    """With `pytest --update-formats`, what it has pinned so far: the first class of a connector does it."""

    def format_file(self) -> Path:
        """Where the format is pinned; by default `format.json` beside the test, or here if that stands in no file."""
        try:
            return Path(inspect.getfile(type(self))).with_name("format.json")
        except TypeError:
            return Path("format.json")

    def test_what_is_stored_outlives_an_upgrade(self) -> None:
        """Settings, cursors, raw records, ids of events and mappings of the version before are still good."""
        kind = type(self.connect())
        file = FormatFile(self.format_file(), self._kit, kind.kind)
        file.refuse_another_kind(type(self).__name__)
        before, asked = file.entry(), self._pinned_now is not None and file.name not in self._pinned_now
        if before is None and not asked:
            not_given("format.json", f"nothing is pinned of `{file.name}`; `pytest --update-formats` does it")
        now, broken = self._compared(kind, before)
        if before is not None and not (asked and self._may_break(file, before)):
            self._hold(file, before, broken)
        if asked:
            file.write(now if before is None or before["format"] != self.format else _with_samples_of(before, now))
            self._pinned_now.add(file.name)  # type: ignore[union-attr]  # it is a set where it is asked for

    def _compared(self, kind: type[Any], before: Format | None) -> tuple[Format, list[str]]:
        """The format as it is now, and what of `before` is broken by it."""
        now: Format = {"format": self.format, "suite": type(self).__name__, "can": list(capabilities(kind))}
        now |= settings_format(kind.config_model)
        source = self._kit == "source"
        now |= source_format(self) if source else sink_format(self)
        broken: list[str] = []
        if before is not None:
            lost = [method for method in before["can"] if method not in now["can"]]
            broken += [f"`{m}` is gone: whoever configured what it did gets an error, or nothing at all" for m in lost]
            broken += broken_settings(before, now)
            broken += broken_source(self, before, now) if source else broken_sink(self, before, now)
        if not source:
            now["segments"] = segments_format(self)  # last: it leaves the account
            broken += broken_segments(before["segments"] if before else {}, now["segments"])
        return now, list(dict.fromkeys(broken))

    def _may_break(self, file: FormatFile, before: Format) -> bool:
        """Whether the number was raised, and the README says why."""
        if self.format <= before["format"]:
            return False
        file.demand_note(self.format)
        return True

    def _hold(self, file: FormatFile, before: Format, broken: Sequence[str]) -> None:
        suite, pinned, following = type(self).__name__, before["format"], self.format + 1
        expect(self.format >= pinned, f"{suite}.format is {self.format}, and was {pinned}: it only ever rises")
        if self.format > pinned:
            file.demand_note(self.format)
        expect(self.format == pinned, f"{suite}.format is {self.format}, {file.path.name} pins {pinned}: {_REFRESH}")
        expect(
            not broken,
            f"an upgrade would break what is stored with {file.name}. Since {file.path.name} was written:\n"
            + "".join(f"  - {line}\n" for line in broken)
            + "Go on accepting the old form beside the new one. Where that cannot be: set "
            f"{suite}.format to {following}, say under “Connector contract” in the plugin's README.md what “format "
            f"{following}” asks of those who upgrade, and {_REFRESH}",
        )


def _with_samples_of(before: Format, now: Format) -> Format:
    """A refreshed format keeps the samples it had: what they stand for may still be stored. New shapes are added."""
    for room in ("streams", "objects"):
        for name, old in before.get(room, {}).items():
            new = now[room][name]
            if "cursors" in old:
                shapes = {shape_of(cursor) for cursor in old["cursors"]}
                new["cursors"] = [*old["cursors"], *(c for c in new["cursors"] if shape_of(c) not in shapes)]
            if "records" in old:
                new["records"] = _joined(old["records"], new["records"])
    if "webhooks" in before:
        now["webhooks"] = _joined(before["webhooks"], now["webhooks"])
    return now


def _joined(old: Sequence[Format], new: Sequence[Format]) -> list[Format]:
    known = {_types(sample) for sample in old}
    return [*old, *(sample for sample in new if _types(sample) not in known)]


def _types(sample: Format) -> tuple[str, ...]:
    return (sample["stream"], *sorted(set(sample["events"].values())))
