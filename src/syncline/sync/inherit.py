"""What goes over: from a record to the one it lives on as, and from the CRMs into what we know of a person."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from syncline.model import RemoteRecord, RemoteRef, Value, microseconds
from syncline.store import crm
from syncline.store.edits import edit_of
from syncline.store.profiles import put_attributes
from syncline.sync.match import Matches
from syncline.sync.merge import same
from syncline.sync.plan import BatchPlan, Reading

__all__ = ["inherited", "put_readings", "settle_readings"]


def inherited(
    connection: Connection, name: str, matches: Matches, acknowledged: Mapping[RemoteRef, Mapping[str, Value]]
) -> dict[RemoteRef, dict[str, Value]]:
    """Converted record → what the one before it had accepted from us, as far as it came over with the conversion.

    What somebody had emptied came over empty. What stood in a record before is somebody else's, even where it is the
    same; and after a merge all of it is: a person's edit that came by it is never taken for a value of ours.
    """
    former = {
        matches.linked[person].ref: old
        for person, old in matches.followed.items()
        if person in matches.linked and matches.linked[person].ref.object != old.object
    }
    accepted = crm.acknowledged(connection, name, former.values())
    found = {}
    for ref, old in former.items():
        survivor, gone = matches.records.get(ref), matches.records.get(old)
        if survivor is None or gone is None or old not in accepted:
            continue
        own = acknowledged.get(ref, {})
        came_over = {
            field: value
            for field, value in accepted[old].items()
            if field not in own and _came_over(field, value, survivor.record, gone.record)
        }
        if came_over:
            found[ref] = came_over
    return found


def _came_over(field: str, value: Value, survivor: RemoteRecord, gone: RemoteRecord) -> bool:
    at, ended_at = edit_of(survivor, field).at, gone.changed_at
    held = survivor.fields.get(field)
    if same(held, None) and field in gone.edits:
        return True
    return same(held, value) and at is not None and ended_at is not None and at >= ended_at


def settle_readings(batch: BatchPlan) -> None:
    """Of what several CRMs say of the same attribute the greatest reading holds, whichever is read first."""
    best: dict[tuple[int, str], Reading] = {}
    for plan in batch.targets.values():
        for person, attributes in plan.read.items():
            for attribute, reading in attributes.items():
                other = best.get((person, attribute))
                if other is None or reading.order > other.order:
                    best[person, attribute] = reading
    for (person, attribute), reading in best.items():
        if batch.people[person].attributes.get(attribute) != reading.value:
            batch.read.setdefault(person, {})[attribute] = reading


def put_readings(connection: Connection, found: Mapping[int, Mapping[str, Reading]]) -> None:
    """Keep what is read: of attributes a CRM owns whatever we knew, of shared ones unless we heard something later."""
    for owned in (True, False):
        rows = [
            (person, attribute, reading.value, microseconds(reading.at))
            for person, readings in found.items()
            for attribute, reading in readings.items()
            if reading.owned is owned
        ]
        put_attributes(connection, rows, whatever_was_said=owned)
