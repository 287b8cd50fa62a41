"""Why a person has their scores, and why they are in a segment or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from syncline.model import Edit, RemoteRecord, Value, from_microseconds
from syncline.people import ConsentRules, Said
from syncline.scoring.log import LoggedEvent
from syncline.scoring.program import Program
from syncline.scoring.reference import Why, assess, why
from syncline.scoring.result import Assessment
from syncline.store import consents, crm, schema
from syncline.store.crm import Link
from syncline.store.database import Database
from syncline.store.edits import edit_of
from syncline.store.link_history import PastLink, past_links
from syncline.store.profiles import Profile, profiles

__all__ = ["Allowed", "Explanation", "Holding", "explain"]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one CRM holds of a person: field → its value there, who changed it last, how we found the record."""

    connection: str
    object: str
    id: str
    how: str
    changed_by: str
    fields: Mapping[str, Any]
    ours: Mapping[str, Any]
    """What the CRM last accepted from us."""
    edits: Mapping[str, Edit]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """Whether a person allows a purpose: why not, and what each side says."""

    purpose: str
    refusal: str | None
    sides: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All about one person as of a time."""

    profile: Profile
    as_of: datetime
    assessment: Assessment
    events: Mapping[str, LoggedEvent]
    """The events that contributions name, by id."""
    holdings: tuple[Holding, ...] = ()
    past: tuple[PastLink, ...] = ()
    """Records the person was, and those that somebody said they are not."""
    why: Why | None = None
    consent: tuple[Allowed, ...] = ()
    """What they allow, purpose by purpose, as of now."""

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
            "past": [_past(link) for link in self.past],
            "consent": {allowed.purpose: _allowed(allowed) for allowed in self.consent},
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
            "writers": {name: _edit(edit) for name, edit in holding.edits.items()},
            "deleted": holding.deleted,
        }


def _edit(edit: Edit) -> dict[str, Any]:
    return {"by": edit.by, "who": edit.who, "at": edit.at.isoformat() if edit.at else None}


def _allowed(allowed: Allowed) -> dict[str, Any]:
    sides = [
        {"side": said.side, "granted": said.granted, "at": from_microseconds(said.at_us).isoformat()}
        for said in allowed.sides
    ]
    return {"allowed": allowed.refusal is None, "because": allowed.refusal, "sides": sides}


def _past(link: PastLink) -> dict[str, Any]:
    return {
        "connection": link.connection,
        "object": link.ref.object,
        "id": link.ref.id,
        "found_by": link.how,
        "from": from_microseconds(link.from_us).isoformat(),
        "until": from_microseconds(link.until_us).isoformat(),
        "why": link.why,
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _why(node: Why) -> dict[str, Any]:
    return {"text": node.text, "holds": node.holds, "value": _plain(node.value), "parts": [_why(p) for p in node.parts]}


def explain(
    database: Database,
    program: Program,
    person_id: int,
    as_of: datetime,
    segment: str | None = None,
    rules: ConsentRules | None = None,
) -> Explanation:
    """The plain-Python evaluator over one person's events: the same numbers as a run's, with the events behind them."""
    with database.read() as connection:
        profile = profiles(connection, [person_id])[person_id]
        events = _events(connection, person_id)
        holdings = _holdings(connection, person_id)
        past = past_links(connection, person_id)
        said = [Said(*row) for row in consents.of(connection, [person_id])]
    rules = rules or ConsentRules()
    assessment = assess(program, person_id, events, profile.attributes, as_of)
    named = {event for score in assessment.scores.values() for c in score.contributions for event in c.events}
    return Explanation(
        profile=profile,
        as_of=as_of,
        assessment=assessment,
        events={event.id: event for event in events if event.id in named},
        holdings=tuple(holdings),
        past=tuple(past),
        consent=tuple(Allowed(p, rules.refusal(p, said), tuple(rules.sides(p, said))) for p in rules.purposes),
        why=why(program, segment, events, profile.attributes, as_of) if segment else None,
    )


def _events(connection: Connection, person_id: int) -> list[LoggedEvent]:
    table = schema.event
    rows = connection.execute(select(table).where(table.c.person_id == person_id).order_by(table.c.t_us))
    return [
        LoggedEvent(row.id.hex(), row.type, row.t_us, bool(row.machine), json.loads(row.properties)) for row in rows
    ]


def _holdings(connection: Connection, person_id: int) -> list[Holding]:
    table = schema.link
    names = select(table.c.connection).where(table.c.person_id == person_id).order_by(table.c.connection)
    found = []
    for name in connection.scalars(names).all():
        link = crm.links(connection, name, [person_id])[person_id]
        item = crm.mirror(connection, name, [link.ref]).get(link.ref)
        if item is not None:
            ours = crm.acknowledged(connection, name, [link.ref]).get(link.ref, {})
            found.append(_holding(name, link, item.record, ours))
    return found


def _holding(name: str, link: Link, record: RemoteRecord, ours: Mapping[str, Value]) -> Holding:
    return Holding(
        connection=name,
        object=link.ref.object,
        id=link.ref.id,
        how=link.how,
        changed_by=record.changed_by,
        fields=record.fields,
        ours=ours,
        edits={field: edit_of(record, field) for field in record.fields},
        deleted=record.deleted,
    )
