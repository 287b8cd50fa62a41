"""Every statement this connector sends: SELECT only, in what MariaDB, MySQL and SQLite have in common.

Columns that older MailPoets lack are `optional`: they are asked for only where the table has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    TableClause,
    and_,
    case,
    column,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    table,
)

from syncline_mailpoet.cursor import TimeCursor

__all__ = ["BLOCK", "NEEDED", "OPTIONAL", "STREAMS", "Statements", "StreamTable", "empty"]

BLOCK: Final = 1000
"""So many ids of opens are watched together for machines that turn out to be people."""

_MAIL: Final = "newsletter_id subscriber_id queue_id"


@dataclass(frozen=True, slots=True)
class StreamTable:
    """The table behind a stream. `by_time`: its rows change in place, and their `updated_at` tells."""

    name: str
    columns: tuple[str, ...]
    by_time: bool = False
    labels: tuple[str, ...] = ()
    """What joins add: `email`, `campaign`, `url`, `form`, `list`."""


def _stream(name: str, columns: str, labels: str = "", *, by_time: bool = False) -> StreamTable:
    return StreamTable(name, tuple(columns.split()), by_time, tuple(labels.split()))


STREAMS: Final[Mapping[str, StreamTable]] = {
    "subscribers": _stream(
        "subscribers",
        "id email first_name last_name status source created_at confirmed_at last_subscribed_at deleted_at last_open_at"
        " last_click_at last_engagement_at last_sending_at last_page_view_at engagement_score_updated_at updated_at",
        "left_at",
        by_time=True,
    ),
    "lists": _stream(
        "subscriber_segment",
        "id subscriber_id segment_id status created_at updated_at",
        "email source list",
        by_time=True,
    ),
    "unsubscribes": _stream("statistics_unsubscribes", f"id {_MAIL} source method reason created_at", "email campaign"),
    "bounces": _stream("statistics_bounces", f"id {_MAIL} created_at", "email campaign"),
    "forms": _stream("statistics_forms", "id form_id subscriber_id created_at", "email form"),
    "opens": _stream("statistics_opens", f"id {_MAIL} user_agent_type created_at", "email campaign"),
    "clicks": _stream(
        "statistics_clicks",
        f"id {_MAIL} link_id user_agent_type count created_at updated_at",
        "email campaign url",
        by_time=True,
    ),
}

_JOINED: Final[Mapping[str, tuple[str, ...]]] = {
    "newsletters": ("id", "subject"),
    "sending_queues": ("id", "newsletter_rendered_subject"),
    "newsletter_links": ("id", "url"),
    "segments": ("id", "name", "type"),
    "forms": ("id", "name"),
}

OPTIONAL: Final[frozenset[str]] = frozenset(
    {"source", "method", "reason", "confirmed_at", "last_subscribed_at", "last_open_at", "last_click_at"}
    | {"last_engagement_at", "last_sending_at", "last_page_view_at", "engagement_score_updated_at"}
)
"""Came with later migrations, or may be missing without harm (vendor sheet, §8)."""

NEEDED: Final[Mapping[str, tuple[str, ...]]] = {**{s.name: s.columns for s in STREAMS.values()}, **_JOINED}
"""Table, without its prefix → the columns we look at."""


def empty(name: str) -> Select[Any]:
    """All columns of a table and none of its rows: what it has, at no cost."""
    return select(literal_column("*")).select_from(table(name)).where(false())


class Statements:
    """The statements for tables of this prefix that have these columns."""

    def __init__(self, prefix: str, columns: Mapping[str, frozenset[str]]) -> None:
        self._columns = columns
        self._tables = {
            name: table(f"{prefix}mailpoet_{name}", *(column(c) for c in wanted)) for name, wanted in NEEDED.items()
        }

    def rows_after_id(self, stream: str, floor: int, limit: int) -> Select[Any]:
        """Rows of a stream by id."""
        main = self._main(stream)
        return self._rows(stream, main).where(main.c.id > floor).order_by(main.c.id).limit(limit)

    def rows_after_time(self, stream: str, after: TimeCursor, limit: int) -> Select[Any]:
        """Rows of a stream by the time of their last change."""
        main = self._main(stream)
        changed, row = main.c.updated_at, main.c.id
        later = or_(changed > after.at, and_(changed == after.at, row > after.id))
        return self._rows(stream, main).where(later).order_by(changed, row).limit(limit)

    def last_until(self, stream: str, floor: int) -> Select[Any]:
        """The last row up to an id, and when it was made; none below the first row."""
        main = self._main(stream)
        return select(main.c.id, main.c.created_at).where(main.c.id <= floor).order_by(main.c.id.desc()).limit(1)

    def first_open_since(self, moment: str) -> Select[Any]:
        opens = self._main("opens")
        return select(func.min(opens.c.id)).where(opens.c.created_at > moment)

    def open_blocks(self, first: int) -> Select[Any]:
        """Per block of ids from `first` on: how many rows are people's, their ids' sum, how many machines'."""
        opens = self._main("opens")
        block = (opens.c.id - opens.c.id % BLOCK).label("block")
        is_person = opens.c.user_agent_type == 0
        return (
            select(
                block,
                func.sum(case((is_person, 1), else_=0)).label("people"),
                func.sum(case((is_person, opens.c.id), else_=0)).label("ids"),
                func.sum(case((is_person, 0), else_=1)).label("machines"),
            )
            .where(opens.c.id >= first)
            .group_by(block)
        )

    def people_in_block(self, block: int, floor: int) -> Select[Any]:
        """The rows of a block of opens that are people's now, up to `floor`."""
        opens = self._main("opens")
        inside = and_(opens.c.id >= block, opens.c.id < block + BLOCK, opens.c.id <= floor)
        return self._rows("opens", opens).where(inside, opens.c.user_agent_type == 0).order_by(opens.c.id)

    # Building

    def _main(self, stream: str) -> TableClause:
        return self._tables[STREAMS[stream].name]

    def _rows(self, stream: str, main: TableClause) -> Select[Any]:
        known = STREAMS[stream]
        own = [self._own(known.name, main, name) for name in known.columns]
        added: list[ColumnElement[Any]] = []
        source: FromClause = main
        for label in known.labels:
            source, columns = getattr(self, f"_with_{label}")(source, main)
            added += columns
        return select(*own, *added).select_from(source)

    def _own(self, name: str, main: TableClause, wanted: str) -> ColumnElement[Any]:
        if wanted in OPTIONAL and wanted not in self._columns[name]:
            return null().label(wanted)
        return main.c[wanted]

    def _with_email(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        subscribers = self._tables["subscribers"]
        return source.outerjoin(subscribers, subscribers.c.id == main.c.subscriber_id), [subscribers.c.email]

    def _with_source(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        """Where the subscriber came from; after `email`, which joins her."""
        return source, [self._own("subscribers", self._tables["subscribers"], "source")]

    def _with_campaign(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        """The subject as it was sent, else as it was written."""
        newsletters = self._tables["newsletters"]
        queues = self._tables["sending_queues"]
        sent = func.coalesce(func.nullif(queues.c.newsletter_rendered_subject, ""), newsletters.c.subject)
        joined = source.outerjoin(newsletters, newsletters.c.id == main.c.newsletter_id)
        return joined.outerjoin(queues, queues.c.id == main.c.queue_id), [sent.label("campaign")]

    def _with_url(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        links = self._tables["newsletter_links"]
        return source.outerjoin(links, links.c.id == main.c.link_id), [links.c.url]

    def _with_form(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        forms = self._tables["forms"]
        return source.outerjoin(forms, forms.c.id == main.c.form_id), [forms.c.name.label("form")]

    def _with_list(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        lists = self._tables["segments"]
        joined = source.outerjoin(lists, lists.c.id == main.c.segment_id)
        return joined, [lists.c.name.label("list_name"), lists.c.type.label("list_type")]

    def _with_left_at(self, source: FromClause, main: TableClause) -> tuple[FromClause, list[ColumnElement[Any]]]:
        left = self._main("unsubscribes")
        last = select(func.max(left.c.created_at)).where(left.c.subscriber_id == main.c.id)
        return source, [last.scalar_subquery().label("left_at")]
