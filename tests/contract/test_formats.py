"""The kit refuses an upgrade that would break stored configurations and databases in silence, and allows the rest.

Each connector below is the next version of a memory connector; the format of the version before is pinned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic import Field as Setting

from syncline.errors import CursorExpiredError
from syncline.model import Page, event_id
from syncline.sdk import ConnectorConfig
from syncline.testing.contract import fields_of_every_kind
from syncline.testing.memory import MemoryConfig, MemorySink, MemorySource

from .test_memory_contract import TestMemorySink as SinkKit
from .test_memory_contract import TestMemorySource as SourceKit
from .test_memory_contract import connected

CLAUSE = "test_what_is_stored_outlives_an_upgrade"


class Login(BaseModel):
    """Who logs in."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    user: str = "us"
    """Who."""
    word: SecretStr | None = None
    """With what."""


class Key(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    key: SecretStr
    """Instead of a person."""


class FirstConfig(MemoryConfig):
    """`depth`, `mode`, `login`, `names` and `pace` of the first version."""

    depth: int = Setting(default=3, le=10)
    mode: Literal["fast", "slow"] = "fast"
    login: Login | Key = Login()
    names: tuple[str, ...] = ()
    pace: float | None = None


class FirstSource(MemorySource):
    config_model = FirstConfig


class FirstSink(MemorySink):
    config_model = FirstConfig


# Settings


class WithoutDepth(MemoryConfig):
    """`mode`, `login`, `names`, `pace`."""

    mode: Literal["fast", "slow"] = "fast"
    login: Login | Key = Login()
    names: tuple[str, ...] = ()
    pace: float | None = None


class Renamed(WithoutDepth):
    """And `depths`."""

    depths: int = 3


class Demands(FirstConfig):
    """And `region`, which it cannot do without."""

    region: str


class DemandsWhatWasOptional(FirstConfig):
    names: tuple[str, ...]  # type: ignore[misc]  # that is the mistake


class Retyped(FirstConfig):
    names: dict[str, str] = Setting(default={})  # type: ignore[assignment]


class TakesNoNothing(FirstConfig):
    pace: float = 1.0  # type: ignore[assignment]


class OtherDefault(FirstConfig):
    depth: int = Setting(default=5, le=10)


class TakesLess(FirstConfig):
    depth: int = Setting(default=3, le=5)


class FewerModes(FirstConfig):
    mode: Literal["fast"] = "fast"  # type: ignore[assignment]


class RenamedWithin(FirstConfig):
    class Login(BaseModel):
        name: str = "us"
        word: SecretStr | None = None

    login: Login | Key = Login()  # type: ignore[assignment]


class NoKeyAnyMore(FirstConfig):
    login: Login = Login()


class AnyMappingOfNumbers(FirstConfig):
    login: dict[str, int] = Setting(default={"user": "us", "word": None}, validate_default=False)  # type: ignore[assignment]


class OtherSecretByDefault(FirstConfig):
    secret: SecretStr | None = None  # type: ignore[assignment]


def settings(model: type[ConnectorConfig]) -> type[MemorySource]:
    return type(model.__name__, (FirstSource,), {"config_model": model})


# What is stored


class CallsTheStreamOtherwise(FirstSource):
    streams = ("facts",)

    def read(self, stream: str, cursor: str | None) -> Any:
        for page in super().read("events", cursor):
            yield Page([replace(raw, stream=stream) for raw in page.records], page.cursor)


class TakesNoOldCursor(FirstSource):
    def read(self, stream: str, cursor: str | None) -> Any:
        if cursor is not None and not cursor.startswith("v2:"):
            raise CursorExpiredError(f"not a cursor of this version: {cursor}")
        for page in super().read(stream, cursor and cursor.removeprefix("v2:")):
            yield replace(page, cursor=f"v2:{page.cursor}")


class CrashesOnAnOldCursor(FirstSource):
    def read(self, stream: str, cursor: str | None) -> Any:
        for page in super().read(stream, None if cursor is None else cursor.split(":", 1)[1]):
            yield replace(page, cursor=f"v2:{page.cursor}")


class CountsPagesNow(FirstSource):
    """The cursor is of the same form, and means another thing."""

    def read(self, stream: str, cursor: str | None) -> Any:
        for number, page in enumerate(super().read(stream, str(2 * int(cursor or 0))), int(cursor or 0) + 1):
            yield replace(page, cursor=str(number))


class OtherIds(FirstSource):
    def normalize(self, raw: Any) -> Any:
        for event in super().normalize(raw):
            yield replace(event, id=event_id("memory", "2", raw.key))


class OtherTypes(FirstSource):
    def normalize(self, raw: Any) -> Any:
        for event in super().normalize(raw):
            yield replace(event, type="custom", properties={"name": event.type})


class OtherKeys(FirstSource):
    """Records are called otherwise, and their events with them; what is stored gives the old ids."""

    def read(self, stream: str, cursor: str | None) -> Any:
        for page in super().read(stream, cursor):
            yield Page([replace(raw, key=f"memory/{raw.key}") for raw in page.records], page.cursor)


class ChokesOnOldRecords(FirstSource):
    """A record carries its version now, and one without is not understood."""

    def read(self, stream: str, cursor: str | None) -> Any:
        for page in super().read(stream, cursor):
            yield Page([replace(raw, payload={**raw.payload, "v": 2}) for raw in page.records], page.cursor)

    def receive(self, request: Any) -> Any:
        return [replace(raw, payload={**raw.payload, "v": 2}) for raw in super().receive(request)]

    def normalize(self, raw: Any) -> Any:
        if raw.payload["v"] == 2:
            yield from super().normalize(raw)


class ListensNoMore(FirstSource):
    receive = None  # type: ignore[assignment]


class AnotherWord(FirstSource):
    kind = "memory-source-2"


# Mappings


class ForgetsAField(FirstSink):
    def describe(self, object: str) -> Any:
        return [f for f in super().describe(object) if f.name != "Phone"]


class KeepsNumbersAsText(FirstSink):
    def describe(self, object: str) -> Any:
        return [replace(f, kind="text", scale=None) if f.name == "Score" else f for f in super().describe(object)]


class FindsByKeyNoMore(FirstSink):
    def describe(self, object: str) -> Any:
        return [replace(f, unique=f.name == "Id") for f in super().describe(object)]


class ReadsCompaniesOnly(FirstSink):
    def describe(self, object: str) -> Any:
        return [replace(f, writable=f.writable and f.name != "Band") for f in super().describe(object)]


class ShortensWhatItMakes(FirstSink):
    def describe(self, object: str) -> Any:
        return [replace(f, max_length=10) if f.name == "KitText" else f for f in super().describe(object)]


class KeepsTaskKeysElsewhere(FirstSink):
    task_fields = (replace(MemorySink.task_fields[0], name="Key2"),)

    def create_tasks(self, tasks: Any) -> Any:
        self.world.create_field(self.task_fields[0])
        return super().create_tasks(tasks)


class MakesNoTasks(FirstSink):
    create_tasks = None  # type: ignore[assignment]


class PrefixesSegments(FirstSink):
    def missing(self, needed: Any, segments: Sequence[str]) -> Any:
        return super().missing(needed, [f"syncline {name}" for name in segments])


class CallsRecordsOtherwise(FirstSink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            longer = [replace(r, ref=replace(r.ref, id=f"{object}/{r.ref.id}")) for r in page.records]
            yield replace(page, records=longer)


class TakesNoOldPosition(FirstSink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        if cursor is not None and not cursor.startswith("v2:"):
            raise CursorExpiredError(f"not a position of this version: {cursor}")
        for page in super().changes(object, fields, cursor and cursor.removeprefix("v2:")):
            yield replace(page, cursor=page.cursor and f"v2:{page.cursor}")


class SkipsAhead(FirstSink):
    """A position is of the same form, and means another thing."""

    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        return super().changes(object, fields, cursor and str(1_000 * int(cursor)))


SOURCES: dict[type[MemorySource], str] = {
    settings(WithoutDepth): "setting `depth` is gone",
    settings(Renamed): "setting `depth` is gone \\(renamed to `depths`\\?\\)",
    settings(Demands): "setting `region` is new and required",
    settings(DemandsWhatWasOptional): "setting `names` is now required",
    settings(Retyped): "setting `names` takes a mapping, and no longer a list",
    settings(TakesNoNothing): "setting `pace` takes a number, and no longer nothing",
    settings(OtherDefault): "the default of setting `depth` changed \\(3 became 5\\)",
    settings(TakesLess): "setting `depth` takes less than before \\(maximum is 5, and was 10\\)",
    settings(FewerModes): "setting `mode` no longer takes 'slow'",
    settings(RenamedWithin): "setting `login.user` is gone \\(renamed to `login.name`\\?\\)",
    settings(NoKeyAnyMore): "setting `login.key` is gone",
    settings(AnyMappingOfNumbers): "setting `login.(user|key)` takes an integer, and no longer",
    settings(OtherSecretByDefault): "the default of setting `secret` changed \\('\\(hidden\\)' became None\\)",
    CallsTheStreamOtherwise: "stream 'events' is gone \\(there are: facts\\)",
    TakesNoOldCursor: "stream 'events': a stored cursor such as 5 is refused: CursorExpiredError",
    CrashesOnAnOldCursor: "stream 'events': a stored cursor such as 5 is refused: IndexError",
    CountsPagesNow: "stream 'events': from a stored cursor such as 5 what happened since is not found",
    OtherIds: "every fact of before is stored a second time",
    OtherTypes: "became custom",
    OtherKeys: "stream 'events': the record f2 is now called memory/f4: every raw record is stored anew",
    ChokesOnOldRecords: "the stored record f2 is no longer understood: KeyError",
    ListensNoMore: "`receive` is gone",
    AnotherWord: "pinned `source memory-source`, and the connector now says `source memory-source-2`",
}
SINKS: dict[type[MemorySink], str] = {
    ForgetsAField: "field Lead.Phone is not described any longer",
    KeepsNumbersAsText: "field Lead.Score is described as text, and was number",
    FindsByKeyNoMore: "field Lead.Key finds no record any longer",
    ReadsCompaniesOnly: "field Lead.Band can no longer be written",
    ShortensWhatItMakes: "field Lead.KitText holds less \\(max_length is 10, and was 40\\)",
    KeepsTaskKeysElsewhere: "tasks keep their key no longer in Task.Key",
    MakesNoTasks: "`create_tasks` is gone",
    PrefixesSegments: "segment 'hot' is 'segment syncline hot' in the CRM, and was 'segment hot'",
    CallsRecordsOtherwise: "the ids of Lead look like 'a/x8', and looked like 'x8'",
    TakesNoOldPosition: "Lead: a stored cursor such as 1 is refused: CursorExpiredError",
    SkipsAhead: "Lead: from a stored cursor such as",
}


# What is added


class AddsSettings(FirstConfig):
    """And `color`; `mode`, `depth` and `names` take more."""

    color: str | None = None
    depth: int = 3  # type: ignore[assignment]
    mode: Literal["fast", "slow", "still"] = "fast"  # type: ignore[assignment]
    names: tuple[str, ...] | dict[str, str] = ()  # type: ignore[assignment]
    login: Login | Key | str = Login()  # type: ignore[assignment]


class AddsAStream(FirstSource):
    config_model = AddsSettings
    streams = ("events", "more")

    def read(self, stream: str, cursor: str | None) -> Any:
        return super().read("events", cursor) if stream == "events" else iter(())


class WritesNewCursors(FirstSource):
    """And takes those of before."""

    def read(self, stream: str, cursor: str | None) -> Any:
        for page in super().read(stream, cursor and cursor.removeprefix("v2:")):
            yield replace(page, cursor=f"v2:{page.cursor}")


class SaysMoreOfAnEvent(FirstSource):
    """And brings another one beside it."""

    def normalize(self, raw: Any) -> Any:
        for event in super().normalize(raw):
            yield replace(event, properties={**event.properties, "url": "/more"})
            yield replace(event, id=f"{event.id}-2", type="custom", properties={"name": "seen"})


class DescribesMore(FirstSink):
    config_model = AddsSettings

    def describe(self, object: str) -> Any:
        return [*super().describe(object), replace(super().describe(object)[1], name="Nickname")]


ADDITIONS = (AddsAStream, WritesNewCursors, SaysMoreOfAnEvent, DescribesMore)


def kit_of(connector: type[Any], folder: Path, *, number: int = 1) -> Any:
    """A suite for this connector, with its format in `folder`."""

    class Kit(SinkKit if issubclass(connector, MemorySink) else SourceKit):  # type: ignore[misc]  # either has it all
        format = number
        format_fields = fields_of_every_kind("Lead", lambda word: f"Kit{word.title()}")

        def connect(self) -> Any:
            """The next version, with the settings of the first."""
            made = connected(first_of(connector), self.world)
            made.__class__ = type(connector.__name__, (connector,), {"world": self.world})
            return made

        def format_file(self) -> Path:
            return folder / "format.json"

    suite = Kit()
    suite.setup_method()
    return suite


def hold(connector: type[Any], folder: Path, *, number: int = 1) -> None:
    getattr(kit_of(connector, folder, number=number), CLAUSE)()


def pin(connector: type[Any], folder: Path, *, number: int = 1) -> dict[str, Any]:
    """As `pytest --update-formats` does; what is in the file then."""
    suite = kit_of(connector, folder, number=number)
    suite._pinned_now = set()
    getattr(suite, CLAUSE)()
    found: dict[str, Any] = json.loads((folder / "format.json").read_text("utf-8"))
    return found


def first_of(connector: type[Any]) -> type[Any]:
    return FirstSink if issubclass(connector, MemorySink) else FirstSource


BREAKS: dict[type[Any], str] = {**SOURCES, **SINKS}


@pytest.mark.parametrize(("connector", "said"), BREAKS.items(), ids=[c.__name__ for c in BREAKS])
def test_a_break_is_refused_and_named(connector: type[Any], said: str, tmp_path: Path) -> None:
    pin(first_of(connector), tmp_path)
    with pytest.raises(AssertionError, match=said):
        hold(connector, tmp_path)


@pytest.mark.parametrize("connector", [FirstSource, FirstSink, *ADDITIONS], ids=lambda c: c.__name__)
def test_what_is_as_it_was_and_what_is_added_is_fine(connector: type[Any], tmp_path: Path) -> None:
    pin(first_of(connector), tmp_path)
    hold(connector, tmp_path)


@pytest.mark.parametrize("connector", [OtherIds, ForgetsAField], ids=lambda c: c.__name__)
def test_the_message_says_for_whom_it_breaks_and_what_to_do(connector: type[Any], tmp_path: Path) -> None:
    pin(first_of(connector), tmp_path)
    with pytest.raises(AssertionError) as refused:
        hold(connector, tmp_path)
    for told in (
        "is stored a second time" if connector is OtherIds else "mappings of it are parked as drift",
        "Go on accepting the old form beside the new one",
        "set Kit.format to 2",
        "“Connector contract” in the plugin's README.md",
        "pytest --update-formats",
    ):
        assert told in str(refused.value)


def test_a_refresh_does_not_hide_a_break(tmp_path: Path) -> None:
    before = pin(FirstSource, tmp_path)
    with pytest.raises(AssertionError, match="is stored a second time"):
        pin(OtherIds, tmp_path)
    assert json.loads((tmp_path / "format.json").read_text("utf-8")) == before


def test_a_break_that_is_meant_raises_the_number_and_is_told_in_the_readme(tmp_path: Path) -> None:
    pin(FirstSource, tmp_path)
    with pytest.raises(AssertionError, match=r"say under “Connector contract” in .* what “format 2” asks"):
        pin(OtherIds, tmp_path, number=2)
    (tmp_path / "README.md").write_text("# Memory\n\n## Connector contract\n\nFormat 2: events come anew.\n", "utf-8")
    with pytest.raises(AssertionError, match="pins 1: refresh it with `pytest --update-formats`"):
        hold(OtherIds, tmp_path, number=2)
    assert pin(OtherIds, tmp_path, number=2)["source memory-source"]["format"] == 2
    hold(OtherIds, tmp_path, number=2)
    with pytest.raises(AssertionError, match="it only ever rises"):
        hold(OtherIds, tmp_path, number=1)


def test_a_refresh_keeps_the_samples_that_may_still_be_stored(tmp_path: Path) -> None:
    """A version that writes new cursors, and one later that takes only those: databases may hold the first ones."""
    pin(FirstSource, tmp_path)
    entry = pin(WritesNewCursors, tmp_path)["source memory-source"]
    assert entry["streams"]["events"]["cursors"] == ["5", "v2:5"]
    with pytest.raises(AssertionError, match="a stored cursor such as 5 is refused"):
        hold(TakesNoOldCursor, tmp_path)


def test_what_was_added_is_held_from_the_next_refresh_on(tmp_path: Path) -> None:
    pin(FirstSource, tmp_path)
    pin(AddsAStream, tmp_path)
    with pytest.raises(AssertionError, match="setting `color` is gone"):
        hold(FirstSource, tmp_path)


def test_a_second_class_of_a_connector_is_held_against_what_the_first_has_pinned(tmp_path: Path) -> None:
    first, second = kit_of(FirstSource, tmp_path), kit_of(OtherIds, tmp_path)
    first._pinned_now = second._pinned_now = set()
    getattr(first, CLAUSE)()
    with pytest.raises(AssertionError, match="is stored a second time"):
        getattr(second, CLAUSE)()


def test_a_sample_that_the_account_no_longer_holds_is_no_silent_pass(tmp_path: Path) -> None:
    pin(FirstSource, tmp_path)
    suite = kit_of(FirstSource, tmp_path)
    suite.world.streams["events"].clear()
    with pytest.raises(AssertionError, match="the record f2 is no longer read from the account of the test"):
        getattr(suite, CLAUSE)()


def test_no_secret_is_pinned(tmp_path: Path) -> None:
    """Neither one that the test logs in with, nor one that is a default."""
    pin(FirstSource, tmp_path)
    text = (tmp_path / "format.json").read_text("utf-8")
    assert "hush-hush" not in text
    assert '"secret": {"type": "secret", "default": "(hidden)"}' in text


def test_without_a_pinned_format_the_clause_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"give `format[.]json` to hold the connector to this clause"):
        hold(FirstSource, tmp_path)


def test_a_refresh_changes_nothing_when_nothing_has_changed(tmp_path: Path) -> None:
    assert pin(FirstSink, tmp_path) == pin(FirstSink, tmp_path)
