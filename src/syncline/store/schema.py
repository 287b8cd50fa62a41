"""The state database, table by table. Times are int64 microseconds UTC (`_us`), amounts with a fraction are integers
with their scale in the name (`value_hundredths`), structured values are JSON text."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    or_,
    text,
)

__all__ = [
    "AWAITED",
    "BY_POLL",
    "BY_WEBHOOK",
    "RAW_DONE",
    "RAW_NEW",
    "RAW_QUARANTINED",
    "VERSION",
    "WEBHOOK_READ",
    "WEBHOOK_UNREAD",
    "acknowledged",
    "action",
    "alert",
    "attribute",
    "awaited",
    "conflict",
    "consent",
    "cursor",
    "dead_letter",
    "description",
    "event",
    "identifier",
    "keep",
    "lease",
    "link",
    "link_history",
    "member",
    "meta",
    "metadata",
    "outbox",
    "pause",
    "person",
    "raw",
    "remote",
    "remote_email",
    "rollout",
    "run",
    "schedule",
    "score",
    "score_history",
    "stale",
    "standing",
    "suppressed",
    "undecided",
    "usage",
    "webhook",
    "webhook_count",
]

VERSION: Final = 3

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER becomes SQLite's own row id

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

# What came in

RAW_NEW: Final = 0
RAW_DONE: Final = 1
RAW_QUARANTINED: Final = 2

# Which way something came, as bits of `way`: it may have come both ways.
BY_POLL: Final = 1
BY_WEBHOOK: Final = 2
AWAITED: Final = 4  # of an event that came by poll: webhooks bring its type, so one was to be expected

raw = Table(
    "raw",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("digest", LargeBinary(16), nullable=False, unique=True),  # of connection, stream, key and payload
    Column("connection", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("reason", Text),
    Column("way", SmallInteger, nullable=False, server_default=text("1")),
)
Index("raw_open", raw.c.connection, raw.c.id, sqlite_where=raw.c.status != RAW_DONE, postgresql_where=raw.c.status != 1)

cursor = Table(
    "cursor",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("cursor", Text),
    Column("updated_us", BigInteger, nullable=False),
)

keep = Table(
    "keep",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Webhooks, as they came

WEBHOOK_READ: Final = 0
WEBHOOK_UNREAD: Final = 1

webhook = Table(
    "webhook",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("digest", LargeBinary(16), nullable=False, unique=True),  # of connection and body
    Column("connection", Text, nullable=False),
    Column("address", Text, nullable=False),  # method and path, with what may be secret left out
    Column("headers", Text, nullable=False),  # those that are known to hold no secret
    Column("body", LargeBinary, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("reason", Text),  # why it could not be read
    Column("request", Text),  # all of the request but its body, while it waits to be read again
)
_unread = webhook.c.status == WEBHOOK_UNREAD
Index("webhook_unread", webhook.c.connection, webhook.c.id, sqlite_where=_unread, postgresql_where=_unread)
Index("webhook_received", webhook.c.received_us)

webhook_count = Table(  # requests a day, by what became of them
    "webhook_count",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("day", Integer, primary_key=True),  # since 1970, UTC
    Column("outcome", Text, primary_key=True),  # received, duplicate, refused
    Column("reason", Text, primary_key=True),  # why they were refused; else empty
    Column("requests", BigInteger, nullable=False),
)

awaited = Table(  # the types of events that a connection's webhooks bring
    "awaited",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("since_us", BigInteger, nullable=False),  # when the first one occurred
)

# Who and what

person = Table(
    "person",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),  # opaque; what CRMs and logs see of a person
    Column("created_us", BigInteger, nullable=False),
    Column("merged_into", BigInteger),  # the survivor; its own identifiers, events and attributes have moved there
)
_merged = person.c.merged_into.is_not(None)
Index("person_merged", person.c.merged_into, sqlite_where=_merged, postgresql_where=_merged)

identifier = Table(
    "identifier",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
)
Index("identifier_person", identifier.c.person_id)

attribute = Table(
    "attribute",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("event_id", LargeBinary(16), nullable=False),  # breaks ties, so that arrival order does not matter
)

event = Table(
    "event",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("t_us", BigInteger, nullable=False),
    Column("machine", Boolean, nullable=False),
    Column("properties", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("way", SmallInteger, nullable=False, server_default=text("1")),
)
Index("event_person", event.c.person_id, event.c.t_us)
_by_webhook = event.c.way != BY_POLL  # few events, or none: counting them reads no others
Index("event_way", event.c.t_us, event.c.source, event.c.way, sqlite_where=_by_webhook, postgresql_where=_by_webhook)

suppressed = Table(  # what repeats another event; kept, because an earlier one that arrives late decides anew
    "suppressed",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("t_us", BigInteger, nullable=False),
    Column("machine", Boolean, nullable=False),
    Column("properties", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("way", SmallInteger, nullable=False, server_default=text("1")),
)
Index("suppressed_person", suppressed.c.person_id, suppressed.c.t_us)

stale = Table("stale", metadata, Column("person_id", BigInteger, primary_key=True))  # to be scored again

# What we think

score = Table(
    "score",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("value_hundredths", BigInteger, nullable=False),
    Column("band", Text),
    Column("as_of_us", BigInteger, nullable=False),
)

score_history = Table(
    "score_history",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("person_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("value_hundredths", BigInteger, nullable=False),
    Column("band", Text),
    Column("as_of_us", BigInteger, nullable=False),
)
Index("score_history_person", score_history.c.person_id, score_history.c.name, score_history.c.as_of_us)

standing = Table(  # where a person stands towards a rule: `segment:lead_caldo`, `band:interesse.caldo`
    "standing",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("inside", Boolean, nullable=False),
    Column("armed", Boolean, nullable=False),  # entering now counts as a transition
    Column("entered", Integer, nullable=False),  # how often so far: part of every action's key
    Column("since_us", BigInteger, nullable=False),
)

action = Table(
    "action",
    metadata,
    Column("key", Text, primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("connection", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", Text, nullable=False),  # waiting, done
    Column("remote_id", Text),
    Column("run_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
Index("action_waiting", action.c.connection, action.c.status)
Index("action_person", action.c.person_id)

# What the CRMs hold

remote = Table(  # what we last read there
    "remote",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("remote_id", Text, primary_key=True),
    Column("key", Text),
    Column("fields", Text, nullable=False),
    Column("changed_us", BigInteger),
    Column("changed_by", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("successor_object", Text),
    Column("successor_id", Text),
    Column("changed_who", Text),  # the CRM's own name or id of whoever changed it
    Column("edits", Text),  # field → [at_us, by, who], where the CRM tells of single fields
)
Index("remote_key", remote.c.connection, remote.c.key)

remote_email = Table(
    "remote_email",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("email", Text, primary_key=True),  # lower case
    Column("object", Text, primary_key=True),
    Column("remote_id", Text, primary_key=True),
)
Index("remote_email_record", remote_email.c.connection, remote_email.c.object, remote_email.c.remote_id)

link = Table(
    "link",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("object", Text, nullable=False),
    Column("remote_id", Text, nullable=False),
    Column("how", Text, nullable=False),  # key, email, created, successor, decided
    Column("at_us", BigInteger, nullable=False),
    UniqueConstraint("connection", "object", "remote_id"),
)

link_history = Table(  # links that have ended: converted, merged, deleted, decided anew
    "link_history",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("person_id", BigInteger, nullable=False),
    Column("connection", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("remote_id", Text, nullable=False),
    Column("how", Text, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
)
Index("link_history_person", link_history.c.person_id, link_history.c.connection)

acknowledged = Table(  # what the CRM last accepted from us
    "acknowledged",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("remote_id", Text, primary_key=True),
    Column("fields", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

member = Table(  # segment membership the CRM has acknowledged
    "member",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("segment", Text, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    Column("object", Text, nullable=False),
    Column("remote_id", Text, nullable=False),
    Column("ours", Boolean, nullable=False),  # we made it; False: it was there before, and it is not ours to end
)
Index("member_person", member.c.person_id)

conflict = Table(  # several candidates: a person decides
    "conflict",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("candidates", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

undecided = Table(  # fields both sides changed, where the policy is to ask
    "undecided",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("remote_id", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("theirs", Text, nullable=False),  # both values as store.values writes them
    Column("theirs_us", BigInteger),
    Column("theirs_by", Text, nullable=False),
    Column("theirs_who", Text),
    Column("ours", Text, nullable=False),
    Column("ours_us", BigInteger),
    Column("since_us", BigInteger, nullable=False),
    Column("decision", Text),  # ours, theirs, value; none yet: it waits
    Column("value", Text),  # of the decision `value`
    Column("decided_us", BigInteger),
)
Index("undecided_person", undecided.c.person_id)

description = Table(  # a CRM object's fields as they were when its mappings last passed preflight
    "description",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("fields", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)

rollout = Table(  # how far the first runs into a CRM have got
    "rollout",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("stage", Text, nullable=False),  # match, updates, creates, whole
    Column("wave", Integer, nullable=False),  # of `creates`: which one is next, from 0
    Column("since_us", BigInteger, nullable=False),
)

pause = Table(  # connections that are not written to, and until when
    "pause",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # credentials, quota, undo, asked
    Column("reason", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("until_us", BigInteger),  # none: until a person says so
)

usage = Table(  # what we have used of a connection's day
    "usage",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("day", Integer, primary_key=True),  # since 1970, UTC
    Column("calls", BigInteger, nullable=False),
    Column("write_calls", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
)

# What people allow

consent = Table(  # what each side says last; the most restrictive of them holds
    "consent",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("connection", Text, primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("event_id", LargeBinary(16), nullable=False),  # breaks ties, so that arrival order does not matter
)

# What was done

run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("status", Text, nullable=False),  # running, killed, failed, or what Report.status says
    Column("as_of_us", BigInteger, nullable=False),
    Column("report", Text),
    Column("sync", Text),  # the only one it ran; none: all of them
    Column("person", Text),  # the key of the only one it was for
    Column("undoes", Text),  # the run it takes back
)

schedule = Table(  # what the scheduler last did for a sync
    "schedule",
    metadata,
    Column("sync", Text, primary_key=True),
    Column("due_us", BigInteger, nullable=False),  # the latest time that has been answered by a run
    Column("run_id", Text),
    Column("outcome", Text),
)

alert = Table(  # troubles somebody has been told of
    "alert",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),  # the connection, the sync
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    Column("told_us", BigInteger),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("operation", Text, nullable=False),  # upsert, task, add, remove
    Column("object", Text, nullable=False),  # the segment for add and remove
    Column("key", Text, nullable=False),
    Column("person_id", BigInteger, nullable=False),
    Column("match", Text, nullable=False),  # what addresses the record: `Id`, or our key's field; empty for the rest
    Column("rank", BigInteger, nullable=False),  # the higher, the sooner: hot people first
    Column("payload", Text, nullable=False),
    Column("before", Text),
    Column("status", Text, nullable=False),  # pending, sent, abandoned, or what Status says
    Column("code", Text),
    Column("reason", Text),
    Column("remote_id", Text),
    Column("done_us", BigInteger),
)
Index("outbox_run", outbox.c.run_id, outbox.c.status)
_open = or_(outbox.c.status == "pending", outbox.c.status == "sent")  # few rows of many; SQLite sees through OR, not IN
Index("outbox_open", outbox.c.status, outbox.c.connection, sqlite_where=_open, postgresql_where=_open)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("edited", Text),  # field → the value a person gave it, for the next try
    Column("discarded", Text),  # the payload that is not tried again
)
Index("dead_letter_person", dead_letter.c.person_id)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
