"""How a row becomes an event: what an admin may write, and what is refused."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from syncline.model import Identifier
from syncline_files import FilesConfig, FilesSource
from syncline_files.config import Columns, Moment, Piece, Value


def _one(connect: Any, row: dict[str, Any], **columns: Any) -> Any:
    base = {"type": "page_visit", "at": {"value": "2026-01-01T00:00:00Z"}, "identifiers": {"email": "email"}}
    Path("r.jsonl").write_text(json.dumps({"email": "a@x.example", **row}) + "\n")
    (event,) = connect("r.jsonl", columns={**base, **columns}).events()
    return event


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        ("t", "2024-05-27T10:15:30Z", "2024-05-27T10:15:30+00:00"),
        ("t", "2024-05-27T12:15:30.5+02:00", "2024-05-27T10:15:30.500000+00:00"),
        ({"column": "t", "timezone": "Europe/Rome"}, "2024-05-27 12:15:30", "2024-05-27T10:15:30+00:00"),
        ({"column": "t", "timezone": "Europe/Rome"}, "2024-01-27", "2024-01-26T23:00:00+00:00"),
        ({"column": "t", "format": "epoch_s"}, 1716804930, "2024-05-27T10:15:30+00:00"),
        ({"column": "t", "format": "epoch_s"}, "1716804930.25", "2024-05-27T10:15:30.250000+00:00"),
        ({"column": "t", "format": "epoch_ms"}, "1716804930250", "2024-05-27T10:15:30.250000+00:00"),
        ({"column": "t", "format": "%Y%m%d", "timezone": "UTC"}, "20240527", "2024-05-27T00:00:00+00:00"),
        ({"column": "t", "format": "%d.%m.%y %H:%M %z"}, "27.05.24 12:15 +0200", "2024-05-27T10:15:00+00:00"),
        ({"column": ["missing", "t"]}, "2024-05-27T10:15:30Z", "2024-05-27T10:15:30+00:00"),
    ],
)
def test_times(connect: Any, at: Any, value: Any, expected: str) -> None:
    event = _one(connect, {"t": value}, at=at)
    assert event.occurred_at.isoformat() == expected


def test_one_moment_for_all_rows(connect: Any) -> None:
    assert _one(connect, {}).occurred_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_values_are_translated_and_null_says_nothing(connect: Any) -> None:
    spec = {"column": "page", "values": {"demo_pagina": "demo", "x": None, 2: "two", True: "yes"}}
    assert _one(connect, {"page": "demo_pagina"}, properties={"page_type": spec}).properties == {"page_type": "demo"}
    assert _one(connect, {"page": "other"}, properties={"page_type": spec}).properties == {"page_type": "other"}
    assert _one(connect, {"page": "x"}, properties={"page_type": spec}).properties == {}
    assert _one(connect, {"page": 2}, properties={"page_type": spec}).properties == {"page_type": "two"}
    assert _one(connect, {"page": True}, properties={"page_type": spec}).properties == {"page_type": "yes"}
    spec["otherwise"] = "other"
    assert _one(connect, {"page": "z"}, properties={"page_type": spec}).properties == {"page_type": "other"}


def test_values_take_the_kind_of_the_vocabulary(connect: Any) -> None:
    event = _one(
        connect, {"s": " 12.50 ", "id": 7, "d": ""}, properties={"duration_s": "s", "session_id": "id", "geo": "d"}
    )
    assert event.properties == {"duration_s": 12.5, "session_id": "7"}
    event = _one(
        connect, {"g": "yes"}, type="consent_change", properties={"granted": "g", "purpose": {"value": "email"}}
    )
    assert event.properties == {"granted": True, "purpose": "email"}


def test_nested_objects_are_reached_by_dots_and_a_column_with_dots_comes_first(connect: Any) -> None:
    properties = {"device": "extra.device", "geo": ["none.at.all", "extra.geo"]}
    assert _one(connect, {"extra": {"device": "tv", "geo": "RO"}}, properties=properties).properties == {
        "device": "tv",
        "geo": "RO",
    }
    assert _one(connect, {"extra.device": "pc", "extra": {"device": "tv"}}, properties=properties).properties == {
        "device": "pc"
    }
    assert _one(connect, {"extra": "text"}, properties=properties).properties == {}


def test_identifiers_without_a_colon_are_the_connections_own(connect: Any) -> None:
    event = _one(connect, {"n": 7, "c": "K1"}, identifiers={"email": "email", "user": "n", "shop:customer": "c"})
    assert event.identifiers == (
        Identifier("email", "a@x.example"),
        Identifier("web:user", "7"),
        Identifier("shop:customer", "K1"),
    )


def test_profile_says_only_what_is_filled(connect: Any) -> None:
    event = _one(connect, {"nome": " Ada ", "azienda": ""}, profile={"first_name": "nome", "company": "azienda"})
    assert event.profile == {"first_name": "Ada"}


def test_the_type_may_be_a_column(connect: Any) -> None:
    spec = {"column": ["kind", "event"], "values": {"pv": "page_visit", "ping": None}}
    assert _one(connect, {"kind": "pv"}, type=spec).type == "page_visit"
    assert _one(connect, {"kind": "?", "event": "video_view"}, type=spec).type == "video_view"
    columns = {"type": spec, "at": {"value": "2026-01-01T00:00:00Z"}, "identifiers": {"email": "email"}}
    Path("r.jsonl").write_text('{"kind": "ping"}\n{"kind": "pagevisit", "email": "a@x.example"}\n{}\n')
    events, reasons = connect("r.jsonl", columns=columns).sorted_out()
    assert events == []  # a ping is no event, and no mistake either
    assert reasons[0].startswith("r.jsonl line 2: kind = 'pagevisit': no event type; did you mean 'page_visit'?")
    assert reasons[1] == "r.jsonl line 3: nothing says what happened: columns kind, event are empty"


def test_a_row_may_stand_for_several_events(connect: Any) -> None:
    columns = {
        "type": "page_visit",
        "at": {"value": "2026-01-01T00:00:00Z"},
        "identifiers": {"visitor": "_line"},
        "properties": {"session_id": "_line", "url": "_file"},
        "explode": [
            {"name": "shop", "repeat": "n", "properties": {"duration_s": {"column": "s", "share": True}}},
            {"name": "help", "when": "h", "properties": {"page_type": {"value": "help"}}},
            {"name": "call", "when": "c", "type": "call", "properties": {"call_type": "c"}},
        ],
    }
    Path("r.csv").write_text("n,s,h,c\n2,30,0,demo\n0,0,1,\n")
    with pytest.raises(ValidationError, match="call has no property 'session_id'"):
        connect("r.csv", columns=columns)
    columns["properties"] = {}
    events = connect("r.csv", columns=columns).events()
    assert [(e.identifiers[0].value, e.type, dict(e.properties)) for e in events] == [
        ("2", "page_visit", {"duration_s": 15}),
        ("2", "page_visit", {"duration_s": 15}),
        ("2", "call", {"call_type": "demo"}),
        ("3", "page_visit", {"page_type": "help"}),
    ]
    assert len({e.id for e in events}) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "page_vist"}, "there is no event type 'page_vist'; did you mean 'page_visit'"),
        ({"type": {"column": "t", "values": {"a": "opened"}}}, "there is no event type 'opened'"),
        ({"properties": {"durations": "s"}}, "page_visit has no property 'durations'; did you mean 'duration_s'"),
        ({"properties": {"duration_s": {}}}, "give either `column` or `value`"),
        ({"at": {"column": "t", "format": "%d/%m/%Y"}}, "reads no time zone; add `timezone`"),
        ({"at": {"column": "t", "format": "unix"}}, "`format` is iso8601, epoch_s, epoch_ms, or a strptime pattern"),
        ({"at": {"column": "t", "timezone": "Rome"}}, "there is no time zone 'Rome'"),
        ({"at": {"value": "2026-01-01T00:00:00"}}, "`value` has no time zone"),
        ({"at": {}}, "give one of `column`, `join` and `value`"),
        ({"identifiers": {}}, "at least 1 item"),
        ({"explode": [{"name": "a"}, {"name": "a"}]}, "two entries of `explode` have the same name"),
    ],
)
def test_a_mistake_in_the_mapping_is_found_before_anything_is_read(change: dict[str, Any], message: str) -> None:
    columns = {"type": "page_visit", "at": "t", "identifiers": {"email": "e"}, **change}
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        FilesConfig.model_validate({"path": "x.csv", "columns": columns})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delimiter": ";;"}, "one character"),
        ({"encoding": "utf-16"}, "convert the file to UTF-8"),
        ({"encoding": "utf8000"}, "there is no encoding 'utf8000'"),
        ({"header": ["a", "a"]}, "each once"),
        ({"path": []}, "at least 1 item"),
        ({"colums": {}}, "Extra inputs"),
    ],
)
def test_a_mistake_in_the_settings_is_found(settings: dict[str, Any], message: str) -> None:
    good = {"path": "x.csv", "columns": {"type": "call", "at": "t", "identifiers": {"email": "e"}}}
    with pytest.raises(ValidationError, match=message):
        FilesConfig.model_validate({**good, **settings})


def test_columns_or_a_dialect_must_be_given() -> None:
    with pytest.raises(ValidationError, match="columns"):
        FilesConfig.model_validate({"path": "x.csv"})


def test_the_settings_have_a_schema_for_editors() -> None:
    schema = FilesSource.config_model.model_json_schema()
    assert {"path", "columns", "dialect", "growing"} <= schema["properties"].keys()


def test_rows_of_many_shapes_say_the_same(connect: Any) -> None:
    """The mapping is compiled for the columns of a row; every row has others here."""
    rows = [{"email": f"p{n}@x.example", "s": n, f"extra{n}": 1} for n in range(600)]
    Path("r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {
        "type": "page_visit",
        "at": {"value": "2026-01-01T00:00:00Z"},
        "identifiers": {"email": ["mail", "email"]},
        "properties": {"duration_s": ["seconds", "s"]},
    }
    events = connect("r.jsonl", columns=columns).events()
    assert [e.properties["duration_s"] for e in events] == list(range(600))


@pytest.mark.parametrize("model", [FilesConfig, Columns, Moment, Piece, Value], ids=lambda model: model.__name__)
def test_every_setting_is_in_the_readme(model: type[BaseModel]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in readme] == []


def test_the_mapping_of_the_readme_is_accepted() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n|^\n)+", readme, re.MULTILINE)]
    read = [
        YAML(typ="safe", pure=True).load(block) for block in blocks if re.match(r"\s*(columns|connections):", block)
    ]
    settings = [block.get("connections", {}).get("website") or {"plugin": "", "path": "x", **block} for block in read]
    assert len(settings) == 2
    for setting in settings:
        FilesConfig.model_validate({key: value for key, value in setting.items() if key != "plugin"})
