"""What brings a state database of an older version up to date: one function a version.

The statements are written down as they were on that day. They never read the tables of `syncline.store.schema`, which
go on changing: a step that did would make of an old database what only a later step knows how to make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

__all__ = ["MIGRATIONS"]

_TWO: Final = """
ALTER TABLE raw ADD COLUMN way SMALLINT DEFAULT 1 NOT NULL;
ALTER TABLE event ADD COLUMN way SMALLINT DEFAULT 1 NOT NULL;
ALTER TABLE suppressed ADD COLUMN way SMALLINT DEFAULT 1 NOT NULL;
CREATE INDEX event_way ON event (t_us, source, way) WHERE way != 1;
CREATE TABLE webhook (
    id {id} NOT NULL,
    digest {binary} NOT NULL,
    connection TEXT NOT NULL,
    address TEXT NOT NULL,
    headers TEXT NOT NULL,
    body {binary} NOT NULL,
    received_us BIGINT NOT NULL,
    status SMALLINT NOT NULL,
    reason TEXT,
    request TEXT,
    PRIMARY KEY (id),
    UNIQUE (digest)
);
CREATE INDEX webhook_received ON webhook (received_us);
CREATE INDEX webhook_unread ON webhook (connection, id) WHERE status = 1;
CREATE TABLE webhook_count (
    connection TEXT NOT NULL,
    day INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    requests BIGINT NOT NULL,
    PRIMARY KEY (connection, day, outcome, reason)
);
CREATE TABLE awaited (
    connection TEXT NOT NULL,
    type TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    PRIMARY KEY (connection, type)
)
"""
_THREE: Final = """
ALTER TABLE remote ADD COLUMN changed_who TEXT;
ALTER TABLE remote ADD COLUMN edits TEXT;
ALTER TABLE run ADD COLUMN sync TEXT;
ALTER TABLE run ADD COLUMN person TEXT;
ALTER TABLE run ADD COLUMN undoes TEXT;
ALTER TABLE dead_letter ADD COLUMN edited TEXT;
ALTER TABLE dead_letter ADD COLUMN discarded TEXT;
CREATE TABLE link_history (
    id {id} NOT NULL,
    person_id BIGINT NOT NULL,
    connection TEXT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    how TEXT NOT NULL,
    from_us BIGINT NOT NULL,
    until_us BIGINT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX link_history_person ON link_history (person_id, connection);
CREATE TABLE undecided (
    connection TEXT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    field TEXT NOT NULL,
    person_id BIGINT NOT NULL,
    theirs TEXT NOT NULL,
    theirs_us BIGINT,
    theirs_by TEXT NOT NULL,
    theirs_who TEXT,
    ours TEXT NOT NULL,
    ours_us BIGINT,
    since_us BIGINT NOT NULL,
    decision TEXT,
    value TEXT,
    decided_us BIGINT,
    PRIMARY KEY (connection, object, remote_id, field)
);
CREATE INDEX undecided_person ON undecided (person_id);
CREATE TABLE description (
    connection TEXT NOT NULL,
    object TEXT NOT NULL,
    fields TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    seen_us BIGINT NOT NULL,
    PRIMARY KEY (connection, object)
);
CREATE TABLE rollout (
    connection TEXT NOT NULL,
    stage TEXT NOT NULL,
    wave INTEGER NOT NULL,
    since_us BIGINT NOT NULL,
    PRIMARY KEY (connection)
);
CREATE TABLE pause (
    connection TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    until_us BIGINT,
    PRIMARY KEY (connection)
);
CREATE TABLE usage (
    connection TEXT NOT NULL,
    day INTEGER NOT NULL,
    calls BIGINT NOT NULL,
    write_calls BIGINT NOT NULL,
    credits BIGINT NOT NULL,
    PRIMARY KEY (connection, day)
);
CREATE TABLE consent (
    person_id BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    connection TEXT NOT NULL,
    granted BOOLEAN NOT NULL,
    at_us BIGINT NOT NULL,
    event_id {binary} NOT NULL,
    PRIMARY KEY (person_id, purpose, connection)
);
CREATE TABLE schedule (
    sync TEXT NOT NULL,
    due_us BIGINT NOT NULL,
    run_id TEXT,
    outcome TEXT,
    PRIMARY KEY (sync)
);
CREATE TABLE alert (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    times INTEGER NOT NULL,
    told_us BIGINT,
    PRIMARY KEY (kind, subject)
)
"""
_TYPES: Final = {
    "sqlite": {"id": "INTEGER", "binary": "BLOB"},
    "postgresql": {"id": "BIGSERIAL", "binary": "BYTEA"},
}


def _webhooks(connection: Connection) -> None:
    """Webhooks, and which way records and events came; what is there came by poll."""
    _carry_out(connection, _TWO)


def _trust(connection: Connection) -> None:
    """What two-way sync keeps: who changed what, decisions, consent, pauses, stages, schedules, alerts.

    CRMs that a run has written to before are past their first run.
    """
    _carry_out(connection, _THREE)
    connection.exec_driver_sql(
        "INSERT INTO rollout (connection, stage, wave, since_us) "
        "SELECT connection, 'whole', 0, max(at_us) FROM acknowledged GROUP BY connection"
    )


def _carry_out(connection: Connection, statements: str) -> None:
    for statement in statements.format(**_TYPES[connection.dialect.name]).split(";"):
        connection.exec_driver_sql(statement)


MIGRATIONS: Final[dict[int, Callable[[Connection], None]]] = {2: _webhooks, 3: _trust}
"""Version → what brings a database of the version before to it, in the same transaction as the new number."""
