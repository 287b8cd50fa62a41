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
_TYPES: Final = {
    "sqlite": {"id": "INTEGER", "binary": "BLOB"},
    "postgresql": {"id": "BIGSERIAL", "binary": "BYTEA"},
}


def _webhooks(connection: Connection) -> None:
    """Webhooks, and which way records and events came; what is there came by poll."""
    for statement in _TWO.format(**_TYPES[connection.dialect.name]).split(";"):
        connection.exec_driver_sql(statement)


MIGRATIONS: Final[dict[int, Callable[[Connection], None]]] = {2: _webhooks}
"""Version → what brings a database of the version before to it, in the same transaction as the new number."""
