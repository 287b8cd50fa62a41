"""The tables of a MailPoet site that the simulator writes, in the words of MariaDB and of SQLite.

Columns are those of MailPoet 5.17 (vendor sheet, mailpoet_schema.sql); a test compares them with it on a real server.
One line a column: its name, its type, and `?` (may be NULL), `!` (must be given) or `=` and its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["TABLES", "Column", "create", "drop"]

_SOURCES: Final = (
    "form imported administrator api wordpress_user woocommerce_user woocommerce_checkout unknown"
).split()

_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "uint": ("int(11) unsigned", "INTEGER"),
    "int": ("int(11)", "INTEGER"),
    "int1": ("int(1)", "INTEGER"),
    "tiny": ("tinyint(1)", "INTEGER"),
    "medium": ("mediumint(9)", "INTEGER"),
    "big": ("bigint(20)", "INTEGER"),
    "float": ("float unsigned", "REAL"),
    "time": ("timestamp", "TEXT"),
    "text": ("text", "TEXT"),
    "long": ("longtext", "TEXT"),
    "source": (f"enum({','.join(repr(source) for source in _SOURCES)})", "TEXT"),
}

_DATES: Final = "created_at time?, updated_at time=changed"

_TABLES: Final = {
    "subscribers": "wp_user_id big?, is_woocommerce_user int1=0, first_name v255=, last_name v255=, email v150!,"
    " status v12=unconfirmed, subscribed_ip v45?, confirmed_ip v45?, confirmed_at time?, last_subscribed_at time?,"
    f" {_DATES}, deleted_at time?, unconfirmed_data long?, source source=unknown?, count_confirmations uint=0,"
    " unsubscribe_token c15?, link_token c32?, engagement_score float?, engagement_score_updated_at time?,"
    " last_engagement_at time?, woocommerce_synced_at time?, email_count uint=0, last_sending_at time?,"
    " last_open_at time?, last_click_at time?, last_purchase_at time?, last_page_view_at time?",
    "segments": f"name v90!, type v90=default, description v250=, {_DATES}, deleted_at time?,"
    " average_engagement_score float?, average_engagement_score_updated_at time?,"
    " display_in_manage_subscription_page tiny=0",
    "subscriber_segment": f"subscriber_id uint!, segment_id uint!, status v12=subscribed, {_DATES}",
    "newsletters": "hash v150?, parent_id uint?, subject v250=, type v150=standard, sender_address v150=,"
    " sender_name v150=, status v20=draft, reply_to_address v150=, reply_to_name v150=, preheader v250=, body long?,"
    f" sent_at time?, {_DATES}, deleted_at time?, unsubscribe_token c15?, ga_campaign v250=, wp_post_id int?",
    "sending_queues": "task_id uint!, newsletter_id uint?, newsletter_rendered_body long?,"
    " newsletter_rendered_subject v250?, subscribers long?, count_total uint=0, count_processed uint=0,"
    f" count_to_process uint=0, meta long?, {_DATES}, deleted_at time?",
    "newsletter_links": f"newsletter_id uint!, queue_id uint!, url v2083!, hash v20!, {_DATES}",
    "user_agents": f"hash v32!, user_agent text!, {_DATES}",
    "statistics_newsletters": "newsletter_id uint!, subscriber_id uint!, queue_id uint!, sent_at time=now",
    "statistics_opens": "newsletter_id uint!, subscriber_id uint!, queue_id uint!, user_agent_id uint?,"
    " user_agent_type tiny=0, created_at time=now",
    "statistics_clicks": "newsletter_id uint!, subscriber_id uint!, queue_id uint!, link_id uint!, user_agent_id uint?,"
    f" user_agent_type tiny=0, count uint!, {_DATES}",
    "statistics_unsubscribes": "newsletter_id uint?, subscriber_id uint!, queue_id uint?, created_at time=now,"
    " source v255=unknown?, meta v255?, method v40=unknown",
    "statistics_forms": "form_id uint!, subscriber_id uint!, created_at time=now",
    "statistics_bounces": "newsletter_id uint!, subscriber_id uint!, queue_id uint!, created_at time=now",
    "forms": f"name v90!, status v20=enabled, body long?, settings long?, styles long?, {_DATES}, deleted_at time?",
}

_UNIQUE: Final[Mapping[str, str]] = {
    "subscribers": "email",
    "segments": "name",
    "subscriber_segment": "subscriber_id, segment_id",
    "user_agents": "hash",
    "statistics_forms": "form_id, subscriber_id",
}
_INDEXED: Final[Mapping[str, tuple[str, ...]]] = {
    "subscribers": ("updated_at",),
    "statistics_opens": ("created_at", "subscriber_id"),
    "statistics_clicks": ("subscriber_id",),
    "statistics_unsubscribes": ("subscriber_id",),
}
_CLOSING: Final = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `default` is what a row holds when nothing is said."""

    name: str
    kind: str
    nullable: bool
    default: Any

    @property
    def is_time(self) -> bool:
        return self.kind == "time"


def _column(text: str) -> Column:
    name, _, rest = text.partition(" ")
    nullable, rest = rest.endswith("?"), rest.rstrip("?!")
    kind, given, default = rest.partition("=")
    if not given:
        return Column(name, kind, nullable, None)
    return Column(name, kind, nullable, int(default) if default.isdecimal() else default)


TABLES: Final[Mapping[str, tuple[Column, ...]]] = {
    name: (Column("id", "uint", False, None), *(_column(part.strip()) for part in columns.split(",")))
    for name, columns in _TABLES.items()
}
"""Table, without its prefix → its columns, the id first."""


def create(prefix: str, dialect: str) -> Iterator[str]:
    """The statements that make the tables, those left out that are there."""
    for name in TABLES:
        full = f"{prefix}mailpoet_{name}"
        yield _table(full, name, dialect)
        if dialect == "sqlite":
            if name in _UNIQUE:
                yield f"CREATE UNIQUE INDEX IF NOT EXISTS {full}_u ON {full} ({_no_case(_UNIQUE[name])})"
            for column in _INDEXED.get(name, ()):
                yield f"CREATE INDEX IF NOT EXISTS {full}_{column} ON {full} ({column})"


def drop(prefix: str) -> Iterator[str]:
    for name in TABLES:
        yield f"DROP TABLE IF EXISTS {prefix}mailpoet_{name}"


def _no_case(columns: str) -> str:
    return "email COLLATE NOCASE" if columns == "email" else columns


def _table(full: str, name: str, dialect: str) -> str:
    sqlite = dialect == "sqlite"
    own = [_definition(column, sqlite=sqlite) for column in TABLES[name][1:]]
    if sqlite:
        first, keys, closing = "id INTEGER PRIMARY KEY AUTOINCREMENT", [], ""
    else:
        first, closing = "id int(11) unsigned NOT NULL AUTO_INCREMENT", _CLOSING
        keys = ["PRIMARY KEY (id)", *(f"KEY ({column})" for column in _INDEXED.get(name, ()))]
        keys += [f"UNIQUE KEY ({_UNIQUE[name]})"] if name in _UNIQUE else []
    return f"CREATE TABLE IF NOT EXISTS {full} ({', '.join([first, *own, *keys])}) {closing}".rstrip()


def _definition(column: Column, *, sqlite: bool) -> str:
    kind = _kind(column.kind)[1 if sqlite else 0]
    null = "NULL" if column.nullable else "NOT NULL"
    default = _default(column, sqlite=sqlite)
    return f"{'`' if not sqlite else chr(34)}{column.name}{'`' if not sqlite else chr(34)} {kind} {null}{default}"


def _kind(kind: str) -> tuple[str, str]:
    if kind in _TYPES:
        return _TYPES[kind]
    length = kind[1:]
    return f"{'varchar' if kind[0] == 'v' else 'char'}({length})", "TEXT"


def _default(column: Column, *, sqlite: bool) -> str:
    if column.default is None:
        return " DEFAULT NULL" if column.nullable else ""
    if column.is_time:
        moving = " ON UPDATE CURRENT_TIMESTAMP" if column.default == "changed" and not sqlite else ""
        return f" DEFAULT CURRENT_TIMESTAMP{moving}"
    return f" DEFAULT {column.default!r}"
