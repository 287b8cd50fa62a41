"""Why a person has their scores, and why they are in a segment or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select

from syncline.model import from_microseconds
from syncline.scoring.log import LoggedEvent
from syncline.scoring.program import Program
from syncline.scoring.reference import Why, assess, why
from syncline.scoring.result import Assessment
from syncline.store import schema
from syncline.store.database import Database
from syncline.store.profiles import Profile, profiles
from syncline.store.values import load

__all__ = ["Explanation", "Holding", "explain"]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one CRM holds of a person: field → its value there, who changed the record last, how we found it."""

    connection: str
    object: str
    id: str
    how: str
    changed_by: str
    fields: Mapping[str, Any]
    ours: Mapping[str, Any]
    """What the CRM last accepted from us."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All about one person as of a time."""

    profile: Profile
    as_of: datetime
    assessment: Assessment
    events: Mapping[str, LoggedEvent]
    """The events that contributions name, by id."""
    holdings: tuple[Holding, ...] = ()
    why: Why | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; amounts as text, so that they keep every decimal. The contributions sum to the value."""
        return {
            "person": self.profile.key,
            "emails": list(self.profile.emails),
            "attributes": dict(self.profile.attributes),
            "as_of": self.as_of.isoformat(),
            "scores": {name: self._score(name) for name in self.assessment.scores},
            "segments": sorted(self.assessment.segments),
            "crm": [self._holding(holding) for holding in self.holdings],
            "why": _why(self.why) if self.why else None,
        }

    def _score(self, name: str) -> dict[str, Any]:
        score = self.assessment.scores[name]
        return {
            "model": score.model,
            "version": score.version,
            "value": str(score.value),
            "band": score.band,
            "contributions": [
                {
                    "line": c.line,
                    "amount": str(c.amount),
                    "signal": c.signal,
                    "value": str(c.value) if isinstance(c.value, Decimal) else c.value,
                    "says": dict(c.says),
                    "weight": None if c.weight is None else str(c.weight),
                    "events": [self._event(event) for event in c.events],
                }
                for c in score.contributions
            ],
        }

    def _event(self, event_id: str) -> dict[str, Any]:
        event = self.events[event_id]
        moment = from_microseconds(event.t_us).isoformat()
        return {"id": event.id, "type": event.type, "at": moment, "properties": dict(event.properties)}

    def _holding(self, holding: Holding) -> dict[str, Any]:
        return {
            "connection": holding.connection,
            "object": holding.object,
            "id": holding.id,
            "found_by": holding.how,
            "last_writer": holding.changed_by,
            "fields": {name: _plain(value) for name, value in holding.fields.items()},
            "ours": {name: _plain(value) for name, value in holding.ours.items()},
        }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _why(node: Why) -> dict[str, Any]:
    return {"text": node.text, "holds": node.holds, "value": _plain(node.value), "parts": [_why(p) for p in node.parts]}


def explain(
    database: Database, program: Program, person_id: int, as_of: datetime, segment: str | None = None
) -> Explanation:
    """The plain-Python evaluator over one person's events: the same numbers as a run's, with the events behind them."""
    with database.read() as connection:
        profile = profiles(connection, [person_id])[person_id]
        events = _events(connection, person_id)
        holdings = _holdings(connection, person_id)
    assessment = assess(program, person_id, events, profile.attributes, as_of)
    named = {event for score in assessment.scores.values() for c in score.contributions for event in c.events}
    return Explanation(
        profile=profile,
        as_of=as_of,
        assessment=assessment,
        events={event.id: event for event in events if event.id in named},
        holdings=tuple(holdings),
        why=why(program, segment, events, profile.attributes, as_of) if segment else None,
    )


def _events(connection: Connection, person_id: int) -> list[LoggedEvent]:
    table = schema.event
    rows = connection.execute(select(table).where(table.c.person_id == person_id).order_by(table.c.t_us))
    return [
        LoggedEvent(row.id.hex(), row.type, row.t_us, bool(row.machine), json.loads(row.properties)) for row in rows
    ]


def _holdings(connection: Connection, person_id: int) -> list[Holding]:
    link, remote, ours = schema.link, schema.remote, schema.acknowledged
    rows = connection.execute(
        select(link, remote.c.fields, remote.c.changed_by, ours.c.fields.label("ours"))
        .join(remote, _same_record(remote))
        .join(ours, _same_record(ours), isouter=True)
        .where(link.c.person_id == person_id)
    )
    return [
        Holding(
            row.connection, row.object, row.remote_id, row.how, row.changed_by, load(row.fields), load(row.ours or "{}")
        )
        for row in rows
    ]


def _same_record(table: Table) -> ColumnElement[bool]:
    link = schema.link
    return and_(
        table.c.connection == link.c.connection,
        table.c.object == link.c.object,
        table.c.remote_id == link.c.remote_id,
    )
