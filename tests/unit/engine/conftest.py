"""A state database that holds some people's logs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert

from syncline.scoring.log import LoggedEvent
from syncline.store import schema
from syncline.store.database import Database


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    found = Database(f"sqlite:///{tmp_path_factory.mktemp('store')}/state.db")
    yield found
    found.close()


@pytest.fixture(scope="module")
def fill(database) -> Callable[..., None]:
    """Replaces all people, events and attributes; person ids are the keys."""

    def run(logs: Mapping[int, Sequence[LoggedEvent]], profiles: Mapping[int, Mapping[str, str]] | None = None) -> None:
        people = [{"id": i, "key": str(i), "created_us": 0} for i in logs]
        events = [_row(person, event) for person, log in logs.items() for event in log]
        attributes = [
            {"person_id": person, "name": name, "value": value, "at_us": 0, "event_id": bytes(16)}
            for person, profile in (profiles or {}).items()
            for name, value in profile.items()
        ]
        with database.write() as connection:
            for table, rows in ((schema.person, people), (schema.event, events), (schema.attribute, attributes)):
                connection.execute(delete(table))
                if rows:
                    connection.execute(insert(table), rows)

    return run


def _row(person, event):
    return {
        "id": bytes.fromhex(event.id),
        "person_id": person,
        "type": event.type,
        "t_us": event.t_us,
        "machine": event.machine,
        "properties": json.dumps(event.properties),
        "source": "test/test",
    }


@pytest.fixture(scope="session")
def without_events():
    """An assessment without the event ids, which only the reference evaluator gives."""

    def strip(assessment):
        scores = {
            name: replace(score, contributions=tuple(replace(found, events=()) for found in score.contributions))
            for name, score in assessment.scores.items()
        }
        return replace(assessment, scores=scores)

    return strip
