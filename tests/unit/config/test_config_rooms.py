"""Models, segments and texts are checked in the same go, each mistake in its own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from syncline.actions.tasks import check_template
from syncline.config import Loaded, Rooms
from syncline.scoring import presets
from syncline.scoring.model import parse_model
from syncline.segments import parse_segments

ROOMS = Rooms(
    presets=presets.names(),
    preset=presets.preset,
    parse_model=parse_model,
    bands=lambda model: [band.name for band in model.bands],
    parse_segments=parse_segments,
    check_template=check_template,
)
MODEL = """\
model: mine
version: 1
signals:
  demos: {count: page_visit, where: {page_type: demo}}
score:
  - {name: demo, add: 10 * demos}
"""
HEAD = "version: 1\nconnections: {crm: {plugin: salesforce, simulated: true}}\n"
SYNC = "syncs:\n  - {name: a, to: crm, object: Lead, match: Key__c, fields: {A: "


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(MODEL)
    return path


@pytest.mark.parametrize(
    "reference",
    ["comportamentale", "models/mine.yaml", "named", "{signals: {a: {count: any}}, score: [{name: a, add: a}]}"],
    ids=["a shipped model", "a path", "a name", "written in place"],
)
def test_a_model_is_found(load_text: Callable[..., Loaded], model_file: Path, reference: str) -> None:
    text = f"{HEAD}models: {{named: models/mine.yaml}}\nscores: {{interest: {{model: {reference}}}}}\n"
    assert list(load_text(text, rooms=ROOMS).models) == ["interest"]


def test_an_unknown_model_lists_the_known_ones(complaint: Callable[..., str]) -> None:
    told = complaint(f"{HEAD}scores: {{interest: {{model: comportamentali}}}}\n", rooms=ROOMS)
    assert told == (
        "connectors.yaml:3: scores.interest.model: no model is called 'comportamentali'; did you mean "
        "'comportamentale'? Known: comportamentale, behavioral; or give the path of a .yaml file"
    )


def test_a_missing_model_file_is_told_where_it_is_named(complaint: Callable[..., str]) -> None:
    told = complaint(f"{HEAD}models: {{a: models/no.yaml}}\nscores: {{x: {{model: a}}}}\n", rooms=ROOMS)
    assert told == "connectors.yaml:3: models.a: there is no such file; its path is relative to this file's folder"


def test_a_mistake_in_a_model_file_is_told_with_that_file_and_line(
    complaint: Callable[..., str], model_file: Path
) -> None:
    model_file.write_text(MODEL.replace("10 * demos", "10 * demo").replace("version", "versione"))
    told = complaint(f"{HEAD}scores: {{x: {{model: models/mine.yaml}}, y: {{model: models/mine.yaml}}}}\n", rooms=ROOMS)
    first, second = told.split("\n")
    assert first.startswith("models/mine.yaml:2: versione: unknown key")
    assert second.startswith("models/mine.yaml:6: score[0].add: ")
    assert "demos" in second


def test_broken_yaml_in_a_model_file_is_told_with_that_file_and_line(
    complaint: Callable[..., str], model_file: Path
) -> None:
    model_file.write_text("model: mine\n\tversion: 1\n")
    told = complaint(f"{HEAD}scores: {{x: {{model: models/mine.yaml}}}}\n", rooms=ROOMS)
    assert told == "models/mine.yaml:2: a tab; YAML is indented with spaces"


def test_a_mistake_in_a_segment_is_told_with_its_place(complaint: Callable[..., str]) -> None:
    told = complaint(f"{HEAD}segments:\n  hot:\n    all:\n      - email_opne\n", rooms=ROOMS)
    assert told.startswith("connectors.yaml:6: segments.hot.all[0]: ")
    assert "email_open" in told


def test_an_unknown_band_lists_those_of_the_model(complaint: Callable[..., str]) -> None:
    told = complaint(
        f"{HEAD}scores: {{x: {{model: comportamentale}}}}\n"
        "actions:\n  - when: {enters: x.cald}\n    task: {to: crm, subject: Call}\n",
        rooms=ROOMS,
    )
    assert told == (
        "connectors.yaml:5: actions[0].when.enters: score 'x' has no band 'cald'; did you mean 'caldo'? Known: caldo"
    )


@pytest.mark.parametrize(
    ("mapping", "key"),
    [
        ("{from: score.x.band, owner: ours}", "from"),
        ("{from: score.x, owner: ours, write_when: {moves: 1, or: band}}", "write_when.or"),
    ],
    ids=["from", "write_when"],
)
def test_bands_of_a_model_without_bands_are_refused(
    complaint: Callable[..., str], model_file: Path, mapping: str, key: str
) -> None:
    told = complaint(f"{HEAD}scores: {{x: {{model: models/mine.yaml}}}}\n{SYNC}{mapping}}}}}\n", rooms=ROOMS)
    assert told == (
        f"connectors.yaml:5: syncs[0].fields.A.{key}: the model of score 'x' has no bands; give it some, or remove this"
    )


def test_an_unknown_placeholder_in_a_task_is_refused(complaint: Callable[..., str]) -> None:
    told = complaint(
        f"{HEAD}segments: {{hot: {{all: [email_open]}}}}\n"
        'actions:\n  - when: {enters: hot}\n    task: {to: crm, subject: "Call {nome_completo}"}\n',
        rooms=ROOMS,
    )
    assert told.startswith("connectors.yaml:6: actions[0].task.subject: unknown placeholder {nome_completo}; ")
