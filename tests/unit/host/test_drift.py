"""A vendor's answers today, held against those that were recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncline.errors import ConfigError
from syncline.host.drift import compare, shapes

CONTACT = {"id": "512", "properties": {"email": "x", "score": "5"}, "tags": [{"name": "Hot"}], "archived": False}


def _tape(path: Path, *answers: tuple[str, Any], status: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    interactions = [
        {
            "request": {"method": "GET", "uri": f"https://api.vendor.example{uri}"},
            "response": {"status": {"code": status}, "body": {"string": json.dumps(body)}},
        }
        for uri, body in answers
    ]
    with path.open("w") as out:
        YAML(typ="safe").dump({"interactions": interactions}, out)
    return path


def _drift(tmp_path: Path, fresh: Any, kept: Any = CONTACT, uri: str = "/v3/contacts/99817") -> list[str]:
    old = shapes(_tape(tmp_path / "kept" / "a.yaml", ("/v3/contacts/512", kept)))
    new = shapes(_tape(tmp_path / "fresh" / "b.yaml", (uri, fresh)))
    return [str(difference) for difference in compare(old, new)]


def test_other_values_of_the_same_shape_are_no_drift(tmp_path: Path) -> None:
    assert _drift(tmp_path, {**CONTACT, "id": "7", "tags": [{"name": "a"}, {"name": "b"}]}) == []


def test_a_key_that_is_gone_new_or_of_another_kind_is_named_with_its_call(tmp_path: Path) -> None:
    fresh = {"id": 512, "properties": {"email": "x"}, "tags": [{"name": "Hot", "color": None}], "archived": False}
    assert _drift(tmp_path, fresh) == [
        "GET /v3/contacts/{id} 200: properties.score is gone",
        "GET /v3/contacts/{id} 200: tags[].color is new (nothing)",
        "GET /v3/contacts/{id} 200: id is a number, was text",
    ]


def test_an_empty_list_hides_nothing_and_null_is_no_other_kind(tmp_path: Path) -> None:
    fresh = {**CONTACT, "tags": [], "properties": {"email": None, "score": "5"}}
    assert _drift(tmp_path, fresh) == []


def test_a_key_that_was_optional_may_be_absent(tmp_path: Path) -> None:
    kept = _tape(tmp_path / "kept.yaml", ("/v3/contacts/1", CONTACT), ("/v3/contacts/2", {"id": "2"}))
    fresh = _tape(tmp_path / "fresh.yaml", ("/v3/contacts/35", {"id": "3"}))
    assert compare(shapes(kept), shapes(fresh)) == []


def test_versions_are_no_ids(tmp_path: Path) -> None:
    assert _drift(tmp_path, {"id": 1}, uri="/v4/contacts/512") == []
    assert set(shapes(tmp_path / "fresh")) == {"GET /v4/contacts/{id} 200"}


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recording at"):
        shapes(tmp_path / "nowhere")
    (tmp_path / "x.yaml").write_text("version: 1\n")
    with pytest.raises(ConfigError, match=r"x\.yaml is no recording"):
        shapes(tmp_path)


def test_what_only_some_items_of_a_list_have_may_be_absent(tmp_path: Path) -> None:
    items = [{"id": "1", "note": "x"}, {"id": "2"}]
    assert _drift(tmp_path, {"items": [{"id": "3"}]}, kept={"items": items}) == []
    assert _drift(tmp_path, {"items": [{"note": "y"}]}, kept={"items": items}) == [
        "GET /v3/contacts/{id} 200: items[].id is gone"
    ]


def test_what_is_null_today_has_lost_no_keys(tmp_path: Path) -> None:
    assert _drift(tmp_path, {**CONTACT, "properties": None}) == []


def test_ids_as_keys_are_one_key(tmp_path: Path) -> None:
    kept, fresh = {"results": {"10512": {"ok": True}}}, {"results": {"10999": {"ok": "yes"}}}
    assert _drift(tmp_path, fresh, kept) == ["GET /v3/contacts/{id} 200: results.{id}.ok is text, was a boolean"]


@pytest.mark.parametrize(("fresh", "now"), [([CONTACT], "a list"), ("Sorry!", "text")])
def test_another_kind_of_answer_is_drift(tmp_path: Path, fresh: Any, now: str) -> None:
    assert _drift(tmp_path, fresh) == [f"GET /v3/contacts/{{id}} 200: the answer is {now}, was a mapping"]


def test_a_page_of_text_where_there_was_json_is_drift(tmp_path: Path) -> None:
    kept = _tape(tmp_path / "kept.yaml", ("/v3/contacts/512", CONTACT))
    fresh = _tape(tmp_path / "fresh.yaml", ("/v3/contacts/513", "Sorry"))
    fresh.write_text(fresh.read_text("utf-8").replace(json.dumps("Sorry"), "<p>Sorry</p>"), "utf-8")
    told = [str(difference) for difference in compare(shapes(kept), shapes(fresh))]
    assert told == ["GET /v3/contacts/{id} 200: the answer is no JSON, was a mapping"]
