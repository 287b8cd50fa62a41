"""The whole way in: a simulated account in connectors.yaml, pulled, classified and scored by the host."""

from __future__ import annotations

import pytest

from syncline.host import Host
from syncline.testing.population import population

CONFIG = """
version: 1
simulation: {people: 200, seed: 1}
connections:
  leads: {plugin: instapage, simulated: true}
classify: {form_type: {other: ["31550001"]}}
scores: {engagement: {model: behavioral}, interesse: {model: comportamentale}}
segments:
  wants_demo: {all: [{form_submission: {form_type: demo_request}}]}
  partner: {all: [{form_submission: {form_type: other, page_id: "31550001"}}]}
"""


@pytest.fixture
def host(tmp_path):
    (tmp_path / "connectors.yaml").write_text(CONFIG, "utf-8")
    with Host.load(tmp_path / "connectors.yaml", env={}) as host:
        yield host


def test_a_pull_brings_everything_and_the_next_one_nothing(host):
    first = host.pull().sources["leads"]
    assert first.read == len(host.simulation.running["leads"].submissions) > 100
    assert first.quarantined == 0
    assert first.stored + first.duplicate == first.read
    again = host.pull().sources["leads"]
    assert (again.stored, again.quarantined) == (0, 0)


def test_who_asked_for_a_demo_is_known_and_scored(host):
    host.pull()
    hot = next(person for person in population(200, 1) if person.persona == "hot")
    told = host.explain(hot.email).to_json()
    assert told["segments"] == ["wants_demo"]
    points = {line["line"]: float(line["amount"]) for line in told["scores"]["interesse"]["contributions"]}
    assert points["whitepaper"] == 25  # the download behind its form
    assert told["attributes"]["company"] == hot.company
