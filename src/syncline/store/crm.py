"""What the CRMs hold, as far as we know: mirror, links, acknowledged values, memberships, conflicts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, false, or_, select, update

from syncline.model import Edit, RemoteRecord, RemoteRef, Value, from_microseconds, microseconds
from syncline.store import schema
from syncline.store.batches import batches, insert_new, upsert
from syncline.store.edits import as_written, told_apart
from syncline.store.link_history import end_links
from syncline.store.values import dump, load

__all__ = [
    "Conflict",
    "Link",
    "MirrorRecord",
    "acknowledge",
    "acknowledged",
    "conflicts",
    "forget",
    "known_refs",
    "links",
    "members",
    "mirror",
    "mirror_by_email",
    "mirror_by_key",
    "note_deleted",
    "note_written",
    "own_members",
    "owners",
    "put_conflicts",
    "put_links",
    "put_members",
    "put_mirror",
    "remove_members",
]


@dataclass(frozen=True, slots=True)
class MirrorRecord:
    """A CRM record as last read; `key` is our external id as it stands there."""

    record: RemoteRecord
    key: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """Which record a person is, and how we know: key, email, created, successor, decided."""

    person_id: int
    ref: RemoteRef
    how: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A person with several candidates, or one that is taken; a human decides."""

    person_id: int
    reason: str
    candidates: tuple[RemoteRef, ...]
    since_us: int = field(default=0, compare=False)


def put_mirror(
    connection: Connection,
    name: str,
    records: Sequence[RemoteRecord],
    match_fields: Mapping[str, str],
    seen_at: datetime | None = None,
) -> None:
    """Store what was read, at `seen_at`. `match_fields`: object → the field that carries our key."""
    for batch in batches({record.ref: record for record in records}.values()):
        known = {ref: item.record for ref, item in mirror(connection, name, [r.ref for r in batch]).items()}
        told = [told_apart(record, known.get(record.ref), seen_at) for record in batch]
        upsert(connection, schema.remote, [_mirror_row(name, record, match_fields) for record in told])
        _replace_emails(connection, name, batch)


def _mirror_row(name: str, record: RemoteRecord, match_fields: Mapping[str, str]) -> dict[str, object]:
    key = record.fields.get(match_fields.get(record.ref.object, ""))
    return {
        "connection": name,
        "object": record.ref.object,
        "remote_id": record.ref.id,
        "key": None if key is None else str(key),
        "fields": dump(record.fields),
        "changed_us": microseconds(record.changed_at) if record.changed_at else None,
        "changed_by": record.changed_by,
        "deleted": record.deleted,
        "successor_object": record.successor.object if record.successor else None,
        "successor_id": record.successor.id if record.successor else None,
        "changed_who": record.changed_who,
        "edits": _dump_edits(record.edits),
    }


def _dump_edits(edits: Mapping[str, Edit]) -> str | None:
    if not edits:
        return None
    return json.dumps({name: [microseconds(e.at) if e.at else None, e.by, e.who] for name, e in edits.items()})


def _load_edits(text: str | None) -> dict[str, Edit]:
    known = json.loads(text) if text else {}
    return {
        name: Edit(from_microseconds(at) if at is not None else None, by, who) for name, (at, by, who) in known.items()
    }


def _replace_emails(connection: Connection, name: str, records: Sequence[RemoteRecord]) -> None:
    table = schema.remote_email
    connection.execute(delete(table).where(_about(table, name, [record.ref for record in records])))
    rows = [
        {"connection": name, "email": email, "object": record.ref.object, "remote_id": record.ref.id}
        for record in records
        if not record.deleted
        for email in {email.strip().lower() for email in record.emails if email}
    ]
    insert_new(connection, table, rows)


def _about(table: Table, name: str, refs: Iterable[RemoteRef]) -> ColumnElement[bool]:
    """The rows about these records. By object and its ids: a list of pairs is compared pair by pair in PostgreSQL."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for ref in refs:
        ids[ref.object].append(ref.id)
    objects = [and_(table.c.object == name_of, table.c.remote_id.in_(some)) for name_of, some in ids.items()]
    return and_(table.c.connection == name, or_(false(), *objects))


def mirror(connection: Connection, name: str, refs: Iterable[RemoteRef]) -> dict[RemoteRef, MirrorRecord]:
    """The mirrored records among `refs`."""
    table = schema.remote
    found: dict[RemoteRef, MirrorRecord] = {}
    for batch in batches(set(refs)):
        rows = connection.execute(select(table).where(_about(table, name, batch)))
        found |= {item.record.ref: item for item in map(_mirror_record, rows)}
    return found


def mirror_by_key(connection: Connection, name: str, keys: Iterable[str]) -> dict[str, list[MirrorRecord]]:
    """Our key → the records that carry it (several when the CRM does not keep it unique across objects)."""
    table = schema.remote
    found: defaultdict[str, list[MirrorRecord]] = defaultdict(list)
    for batch in batches(keys):
        for row in connection.execute(select(table).where(table.c.connection == name, table.c.key.in_(batch))):
            found[row.key].append(_mirror_record(row))
    return dict(found)


def mirror_by_email(connection: Connection, name: str, emails: Iterable[str]) -> dict[str, list[RemoteRef]]:
    """Lower-case address → the records that show it."""
    table = schema.remote_email
    found: defaultdict[str, list[RemoteRef]] = defaultdict(list)
    for batch in batches(emails):
        rows = connection.execute(
            select(table.c.email, table.c.object, table.c.remote_id).where(
                table.c.connection == name, table.c.email.in_(batch)
            )
        )
        for email, object_name, remote_id in rows:
            found[email].append(RemoteRef(object_name, remote_id))
    return dict(found)


def _mirror_record(row: object) -> MirrorRecord:
    value = row._mapping  # type: ignore[attr-defined]  # a SQLAlchemy row; its own type is generic over columns
    successor = RemoteRef(value["successor_object"], value["successor_id"]) if value["successor_id"] else None
    record = RemoteRecord(
        ref=RemoteRef(value["object"], value["remote_id"]),
        fields=load(value["fields"]),
        changed_at=None if value["changed_us"] is None else from_microseconds(value["changed_us"]),
        changed_by=value["changed_by"],
        deleted=bool(value["deleted"]),
        successor=successor,
        changed_who=value["changed_who"],
        edits=_load_edits(value["edits"]),
    )
    return MirrorRecord(record, value["key"])


def note_written(
    connection: Connection, name: str, match_fields: Mapping[str, str], written: Mapping[RemoteRef, Mapping[str, Value]]
) -> None:
    """The mirror after writes the CRM accepted: old fields with ours laid over them."""
    known = {ref: item.record for ref, item in mirror(connection, name, written).items()}
    records = [as_written(ref, fields, known.get(ref)) for ref, fields in written.items()]
    for batch in batches(records):
        upsert(connection, schema.remote, [_mirror_row(name, record, match_fields) for record in batch])


def known_refs(connection: Connection, name: str, object_name: str) -> set[str]:
    """The ids of an object's records that live, as far as we know."""
    table = schema.remote
    mine = (table.c.connection == name, table.c.object == object_name, table.c.deleted.is_(False))
    return set(connection.scalars(select(table.c.remote_id).where(*mine)))


def note_deleted(connection: Connection, name: str, object_name: str, ids: Iterable[str]) -> None:
    """The mirror once a complete read did not bring these records."""
    table, emails = schema.remote, schema.remote_email
    for batch in batches(ids):
        mine = (table.c.connection == name, table.c.object == object_name, table.c.remote_id.in_(batch))
        connection.execute(update(table).where(*mine).values(deleted=True, key=None))
        connection.execute(
            delete(emails).where(
                emails.c.connection == name, emails.c.object == object_name, emails.c.remote_id.in_(batch)
            )
        )


def links(connection: Connection, name: str, people: Collection[int]) -> dict[int, Link]:
    table = schema.link
    found: dict[int, Link] = {}
    for batch in batches(people):
        rows = connection.execute(select(table).where(table.c.connection == name, table.c.person_id.in_(batch)))
        for row in rows:
            found[row.person_id] = Link(row.person_id, RemoteRef(row.object, row.remote_id), row.how)
    return found


def owners(connection: Connection, name: str, refs: Iterable[RemoteRef]) -> dict[RemoteRef, int]:
    """Record → the person linked to it."""
    table = schema.link
    found: dict[RemoteRef, int] = {}
    for batch in batches(set(refs)):
        rows = connection.execute(
            select(table.c.object, table.c.remote_id, table.c.person_id).where(_about(table, name, batch))
        )
        found |= {RemoteRef(object_name, remote_id): person for object_name, remote_id, person in rows}
    return found


def put_links(connection: Connection, name: str, new: Sequence[Link], at_us: int) -> None:
    """These people are these records now; a link that is replaced goes into the history, with why."""
    for batch in batches(new):
        _end_others(connection, name, {link.person_id: link for link in batch}, at_us)
    rows = [
        {
            "person_id": link.person_id,
            "connection": name,
            "object": link.ref.object,
            "remote_id": link.ref.id,
            "how": link.how,
            "at_us": at_us,
        }
        for link in new
    ]
    upsert(connection, schema.link, rows)


def _end_others(connection: Connection, name: str, new: Mapping[int, Link], at_us: int) -> None:
    for link in links(connection, name, new).values():
        follower = new[link.person_id]
        if follower.ref != link.ref:
            mine = schema.link.c.person_id == link.person_id
            end_links(connection, name, mine, _why_ended(link, follower), at_us)


def _why_ended(link: Link, follower: Link) -> str:
    if follower.how == "successor":
        verb = "merged into" if link.ref.object == follower.ref.object else "converted to"
        return f"{verb} {follower.ref.object}/{follower.ref.id}"
    return "decided anew" if follower.how == "decided" else "deleted"


def acknowledged(connection: Connection, name: str, refs: Iterable[RemoteRef]) -> dict[RemoteRef, dict[str, Value]]:
    """What each record last accepted from us."""
    table = schema.acknowledged
    found: dict[RemoteRef, dict[str, Value]] = {}
    for batch in batches(set(refs)):
        rows = connection.execute(
            select(table.c.object, table.c.remote_id, table.c.fields).where(_about(table, name, batch))
        )
        found |= {RemoteRef(object_name, remote_id): load(fields) for object_name, remote_id, fields in rows}
    return found


def acknowledge(
    connection: Connection, name: str, written: Mapping[RemoteRef, Mapping[str, Value]], run_id: str, at_us: int
) -> None:
    """Move `acknowledged`: only ever called with what the CRM accepted."""
    known = acknowledged(connection, name, written)
    rows = [
        {
            "connection": name,
            "object": ref.object,
            "remote_id": ref.id,
            "fields": dump({**known.get(ref, {}), **fields}),
            "run_id": run_id,
            "at_us": at_us,
        }
        for ref, fields in written.items()
    ]
    upsert(connection, schema.acknowledged, rows)


def members(connection: Connection, name: str, segment: str, people: Collection[int]) -> dict[int, RemoteRef]:
    """Those of `people` whom the CRM has acknowledged as members, and as which record."""
    table = schema.member
    found: dict[int, RemoteRef] = {}
    for batch in batches(people):
        rows = connection.execute(
            select(table.c.person_id, table.c.object, table.c.remote_id).where(
                table.c.connection == name, table.c.segment == segment, table.c.person_id.in_(batch)
            )
        )
        found |= {person: RemoteRef(object_name, remote_id) for person, object_name, remote_id in rows}
    return found


def own_members(connection: Connection, name: str, segment: str, people: Collection[int]) -> set[int]:
    """Those of `people` whose membership we made, so that it is ours to end."""
    table = schema.member
    found: set[int] = set()
    for batch in batches(people):
        mine = and_(table.c.connection == name, table.c.segment == segment, table.c.ours)
        found |= set(connection.scalars(select(table.c.person_id).where(mine, table.c.person_id.in_(batch))))
    return found


def put_members(
    connection: Connection, name: str, segment: str, added: Mapping[int, RemoteRef], *, ours: bool = True
) -> None:
    """These are in. Not `ours`: they were in already; one that we made before stays ours."""
    rows = [
        {
            "connection": name,
            "segment": segment,
            "person_id": person,
            "object": ref.object,
            "remote_id": ref.id,
            "ours": ours,
        }
        for person, ref in added.items()
    ]
    upsert(connection, schema.member, rows, keep=() if ours else ("ours",))


def remove_members(connection: Connection, name: str, segment: str, people: Collection[int]) -> None:
    table = schema.member
    for batch in batches(people):
        connection.execute(
            delete(table).where(table.c.connection == name, table.c.segment == segment, table.c.person_id.in_(batch))
        )


def put_conflicts(
    connection: Connection, name: str, people: Collection[int], found: Sequence[Conflict], at_us: int
) -> None:
    """The open conflicts of `people` are now exactly `found`; one that stands keeps its date."""
    table = schema.conflict
    still = {conflict.person_id for conflict in found}
    for batch in batches(set(people) - still):
        connection.execute(delete(table).where(table.c.connection == name, table.c.person_id.in_(batch)))
    rows = [
        {
            "person_id": conflict.person_id,
            "connection": name,
            "reason": conflict.reason,
            "candidates": json.dumps([[ref.object, ref.id] for ref in conflict.candidates]),
            "at_us": at_us,
        }
        for conflict in found
    ]
    upsert(connection, table, rows, keep=("at_us",))


def forget(connection: Connection, name: str) -> None:
    """Everything known of a CRM's records: mirror, links, acknowledged values, memberships, conflicts, positions."""
    for table in (
        schema.remote,
        schema.remote_email,
        schema.link,
        schema.acknowledged,
        schema.member,
        schema.conflict,
        schema.undecided,
        schema.link_history,
        schema.dead_letter,
    ):
        connection.execute(delete(table).where(table.c.connection == name))
    positions = schema.cursor
    connection.execute(
        delete(positions).where(positions.c.connection == name, positions.c.stream.startswith("mirror:"))
    )
    kept = schema.keep
    connection.execute(delete(kept).where(kept.c.connection == name, kept.c.name == "account"))


def conflicts(connection: Connection, name: str) -> list[Conflict]:
    table = schema.conflict
    rows = connection.execute(select(table).where(table.c.connection == name).order_by(table.c.person_id))
    return [
        Conflict(row.person_id, row.reason, tuple(RemoteRef(*pair) for pair in json.loads(row.candidates)), row.at_us)
        for row in rows
    ]
