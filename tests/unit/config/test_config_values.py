"""What a valid connectors.yaml means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from syncline.config import Config, KindInfo, Loaded, Origin, read, settings
from syncline.config.models import TASK_TEXTS, ActionConfig
from syncline.errors import ConfigError, Problem

GOOD = """
version: 1
store: sqlite:///.syncline/state.db
raw_retention: 30d
connections:
  newsletter: {plugin: mailchimp, api_key: "${MC_KEY}", audience: 3f2a}
  crm: {plugin: salesforce, login: {client_id: "${SF_ID}", client_secret: "${SF_SECRET}"}}
classify:
  page_type: {pricing: ["*/pricing*", "*/prezzi*"], demo: ["*/demo*"]}
  form_type: {demo_request: ["*demo*"]}
  content_type: {whitepaper: ["*.pdf"]}
  video: ["*/video/*"]
  clicks_count_as: [page_visit]
  connections: {newsletter: {page_type: {pricing: ["*/p"]}, clicks_count_as: []}}
identity: {blocked: {email: ["noreply@*"]}, max_emails: 3}
models: {interesse_v2: models/interesse.yaml}
scores: {interesse: {model: comportamentale}, fit: {model: interesse_v2}}
segments: {lead_caldo: {all: [email_open, {page_visit: {page_type: demo}}]}}
actions:
  - name: richiamare
    when: {enters: lead_caldo}
    task: {to: crm, text: alert_it, due: 2h, priority: from_score, score: interesse, owner: "005"}
  - when: {leaves: interesse.caldo}
    task: {to: crm, subject: "Cold again: {name}"}
syncs:
  - name: leads
    to: crm
    object: Lead
    also: [Contact]
    match: Syncline_Key__c
    when_missing: create
    create_if: {score: interesse, at_least: 20.5}
    every: 15m
    fields:
      Score__c: {from: score.interesse, owner: ours, write_when: {moves: 5, or: band}}
      Band__c: {from: score.interesse.band, owner: ours}
      Hot__c: {from: segment.lead_caldo, owner: ours}
      LastName: {from: person.last_name, owner: shared, policy: only_if_empty, default: "(unknown)"}
      Status: {to: person.stage, owner: theirs}
    segments: {lead_caldo: "Lead caldo"}
    guard: {creates: null, clears: 10}
"""


@pytest.fixture
def config(load_text: Callable[..., Loaded]) -> Config:
    return load_text(GOOD).config


def test_durations_are_timedeltas_and_numbers_exact(config: Config) -> None:
    (sync,) = config.syncs
    assert (config.raw_retention, sync.every) == (timedelta(days=30), timedelta(minutes=15))
    assert sync.create_if is not None
    assert sync.create_if.at_least == Decimal("20.5")
    assert config.actions[0].task.due == timedelta(hours=2)


@pytest.mark.parametrize(
    ("field", "origin"),
    [
        ("Score__c", Origin("score", "interesse")),
        ("Band__c", Origin("score", "interesse", "band")),
        ("Hot__c", Origin("segment", "lead_caldo")),
        ("LastName", Origin("person", "last_name")),
        ("Status", None),
    ],
)
def test_from_says_where_a_value_comes_from(config: Config, field: str, origin: Origin | None) -> None:
    assert config.syncs[0].fields[field].origin == origin


@pytest.mark.parametrize("text", ["score.a", "score.a.band", "score.a.reason", "segment.s", "person.last_name"])
def test_an_origin_reads_back_as_it_is_written(text: str) -> None:
    assert str(Origin.parse(text)) == text


def test_theirs_names_the_attribute_it_fills(config: Config) -> None:
    assert config.syncs[0].fields["Status"].attribute == "stage"


def test_the_object_comes_before_those_it_is_also_found_in(config: Config) -> None:
    assert config.syncs[0].objects == ("Lead", "Contact")


def test_null_means_no_limit_and_silence_the_default(config: Config) -> None:
    guard = config.syncs[0].guard
    assert (guard.creates, guard.clears, guard.tasks, guard.removes) == (None, 10, 1000, 100)


def test_a_connection_replaces_the_tables_it_gives_and_keeps_the_others(config: Config) -> None:
    own, general = config.classify.of("newsletter"), config.classify.of("crm")
    assert own.page_type == {"pricing": ("*/p",)}
    assert own.clicks_count_as == ()
    assert own.form_type == general.form_type == {"demo_request": ("*demo*",)}
    assert general.clicks_count_as == ("page_visit",)


def test_an_action_without_a_name_is_called_after_what_it_does(config: Config) -> None:
    assert [action.label for action in config.actions] == ["richiamare", "leaves_interesse.caldo_crm"]


def test_a_transition_is_of_a_segment_or_of_a_band(config: Config) -> None:
    segment, band = (action.when for action in config.actions)
    assert (segment.transition, segment.rule, segment.score) == ("enters", "segment:lead_caldo", None)
    assert (band.transition, band.rule, band.score) == ("leaves", "band:interesse.caldo", "interesse")


def test_a_task_tells_of_its_score_that_of_its_band_or_the_only_one(config: Config) -> None:
    given, banded = config.actions
    assert [config.task_score(given), config.task_score(banded)] == ["interesse", "interesse"]
    plain = ActionConfig.model_validate({"when": {"enters": "x"}, "task": {"to": "crm", "subject": "x"}})
    assert config.task_score(plain) is None
    alone = config.model_copy(update={"scores": {"fit": config.scores["fit"]}})
    assert alone.task_score(plain) == "fit"


def test_a_configuration_cannot_be_changed(config: Config) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config.syncs[0].name = "other"  # type: ignore[misc]


def test_settings_have_the_environment_filled_in(load_text: Callable[..., Loaded]) -> None:
    loaded = load_text(GOOD)
    assert loaded.settings["newsletter"].api_key.get_secret_value() == "from-the-environment-us1"  # type: ignore[attr-defined]
    assert loaded.config.connections["newsletter"].settings["api_key"] == "${MC_KEY}"


def test_one_connection_can_be_validated_alone(load_text: Callable[..., Loaded], kinds: Mapping[str, KindInfo]) -> None:
    document = load_text(GOOD).document
    assert settings(document, "crm", kinds["salesforce"]).login.client_id == "an-id"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"connectors\.yaml:6: connections\.newsletter\.path: missing"):
        settings(document, "newsletter", kinds["sheet"])


def test_variables_of_connections_that_are_not_used_need_not_be_set(load_text: Callable[..., Loaded]) -> None:
    loaded = load_text(GOOD, env={"MC_KEY": "k"}, only=["newsletter"])
    assert list(loaded.settings) == ["newsletter"]


def test_a_simulated_connection_needs_no_settings(load_text: Callable[..., Loaded]) -> None:
    loaded = load_text("version: 1\nconnections: {news: {plugin: mailchimp, simulated: true, page_size: 5}}\n")
    assert loaded.settings == {}
    assert loaded.config.connections["news"].settings == {"page_size": 5}


def _read(tmp_path: Path, text: str, **env: str) -> Any:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path, env)


def test_merged_and_repeated_mappings_are_understood(tmp_path: Path) -> None:
    document = _read(tmp_path, "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\nagain: *base\n")
    assert document.data["use"] == {"a": 1, "b": 3}
    assert document.data["again"] == {"a": 1, "b": 2}
    assert (document.line(("use", "a")), document.line(("use", "b"))) == (1, 4)


def test_keys_and_dates_are_text(tmp_path: Path) -> None:
    document = _read(tmp_path, "404: 2024-01-31\ntrue: 0x10\non: .5\nnothing: ~\n")
    assert document.data == {"404": "2024-01-31", "true": 16, "on": 0.5, "nothing": None}


def test_a_mapping_inside_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"some\.yaml:2: a\.b: refers to itself"):
        _read(tmp_path, "a: &a\n  b: *a\n")


def test_variables_stand_alone_inside_text_or_not_at_all(tmp_path: Path) -> None:
    document = _read(tmp_path, 'a: "${X}"\nb: "https://${X}/$${X}"\n', X="here")
    assert document.resolve()[0] == {"a": "here", "b": "https://here/${X}"}
    assert document.at(("a",)) == "${X}"


def test_what_is_not_there_is_on_the_line_of_what_is_around_it(tmp_path: Path) -> None:
    document = _read(tmp_path, "a:\n  b:\n    - x: 1\n    -\n      y: 2\n")
    assert [document.line(path) for path in [("a", "b", 0, "z"), ("a", "b", 1, "y"), ("q",)]] == [3, 5, 1]


def test_an_error_of_someone_else_gets_its_place(tmp_path: Path) -> None:
    document = _read(tmp_path, "segments:\n  hot:\n    all: [email_opne]\n")
    inner = ConfigError(problems=[Problem(("hot", "all", 0), "unknown event type"), Problem(("cold",), "missing")])
    located = document.located(inner, ("segments",))
    assert str(located) == (
        f"{document.path}:1: segments.cold: missing\n{document.path}:3: segments.hot.all[0]: unknown event type"
    )
    assert [problem.path for problem in located.problems] == [("segments", "cold"), ("segments", "hot", "all", 0)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        read(tmp_path / "nowhere.yaml", {})


def test_the_task_texts_that_may_be_named_are_those_that_are_shipped() -> None:
    texts = resources.files("syncline.actions.texts")
    assert set(TASK_TEXTS) == {item.name.removesuffix(".yaml") for item in texts.iterdir() if ".yaml" in item.name}
