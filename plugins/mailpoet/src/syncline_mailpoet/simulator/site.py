"""What MailPoet does to its tables when something happens: the rules of the vendor sheet, §3, nothing else."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection

from syncline_mailpoet.simulator.schema import TABLES
from syncline_mailpoet.simulator.shelf import Row, Shelf

__all__ = ["APPLE", "BROWSER", "UNSUBSCRIBE", "MailPoetSite", "Tracking"]

BROWSER: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126 Safari/537.36"
APPLE: Final = "Mozilla/5.0"
"""Apple's mail privacy protection, to the letter: the only agent that MailPoet takes for a machine."""
UNSUBSCRIBE: Final = "[link:subscription_unsubscribe_url]"

Tracking = Literal["full", "partial", "basic"]

_MINUTE: Final = timedelta(minutes=1)


class MailPoetSite:
    """One site's tables. Times are given as aware datetimes and written as UTC."""

    def __init__(self, prefix: str, tracking: Tracking = "full") -> None:
        self.tracking = tracking
        self.tables = {name: Shelf(name, prefix) for name in TABLES}
        self._opens: dict[tuple[int, int, int], Row] = {}
        self._clicks: dict[tuple[int, int, int], Row] = {}
        self._forms: dict[tuple[int, int], Row] = {}
        self._members: dict[tuple[int, int], Row] = {}
        self._left: dict[tuple[int, int, int], Row] = {}
        self._people: dict[str, Row] = {}
        self._agents: dict[str, Row] = {}

    def load(self, connection: Connection) -> None:
        """Take over what the database holds."""
        for shelf in self.tables.values():
            shelf.load(connection)
        self._people = {row["email"].lower(): row for row in self.tables["subscribers"]}
        self._agents = {row["user_agent"]: row for row in self.tables["user_agents"]}
        self._opens = {_sent(row): row for row in self.tables["statistics_opens"]}
        self._left = {_sent(row): row for row in self.tables["statistics_unsubscribes"] if row["queue_id"]}
        self._clicks = {
            (row["link_id"], row["subscriber_id"], row["queue_id"]): row for row in self.tables["statistics_clicks"]
        }
        self._forms = {(row["form_id"], row["subscriber_id"]): row for row in self.tables["statistics_forms"]}
        self._members = {(r["subscriber_id"], r["segment_id"]): r for r in self.tables["subscriber_segment"]}

    def flush(self, connection: Connection) -> int:
        return sum(shelf.flush(connection) for shelf in self.tables.values())

    # People and lists

    def person(self, email: str) -> Row:
        return self._people[email.lower()]

    def add_list(self, name: str, at: datetime, kind: str = "default") -> Row:
        return self.tables["segments"].add({"name": name, "type": kind, **_dates(at)})

    def add_person(
        self, email: str, at: datetime, *, source: str = "form", status: str = "subscribed", **more: Any
    ) -> Row:
        """A subscriber; `email` is kept as it is typed, and unique whatever its letter case."""
        if email.lower() in self._people:
            raise ValueError(f"{email} is subscribed already")
        confirmed = {"confirmed_at": _text(at), "last_subscribed_at": _text(at)} if status == "subscribed" else {}
        token = hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()
        values = {"email": email, "source": source, "status": status, "link_token": token, **confirmed, **_dates(at)}
        row = self.tables["subscribers"].add({**values, **more})
        self._people[email.lower()] = row
        return row

    def join(self, person: Row, segment: Row, at: datetime, status: str = "subscribed") -> Row:
        key = (person["id"], segment["id"])
        if key in self._members:
            self.tables["subscriber_segment"].change(self._members[key], status=status, updated_at=_text(at))
        else:
            self._members[key] = self.tables["subscriber_segment"].add(
                {"subscriber_id": key[0], "segment_id": key[1], "status": status, **_dates(at)}
            )
        return self._members[key]

    def change_person(self, person: Row, at: datetime, **values: Any) -> None:
        self._touch(person, at, **values)

    def resubscribe(self, person: Row, at: datetime) -> None:
        """Her old row of leaving stays."""
        self._touch(person, at, status="subscribed", last_subscribed_at=_text(at), confirmed_at=_text(at))
        for row in self._lists_of(person):
            self.tables["subscriber_segment"].change(row, status="subscribed", updated_at=_text(at))

    def delete(self, person: Row) -> None:
        """Hard: her row and her memberships go, every statistics row stays."""
        for row in self._lists_of(person):
            del self._members[row["subscriber_id"], row["segment_id"]]
            self.tables["subscriber_segment"].remove(row)
        del self._people[person["email"].lower()]
        self.tables["subscribers"].remove(person)

    def erase(self, person: Row, at: datetime) -> None:
        """WordPress's privacy tool."""
        del self._people[person["email"].lower()]
        mark = hashlib.sha256(f"{person['id']}:{person['email']}".encode()).hexdigest()[:24]
        nobody = {"first_name": "Anonymous", "last_name": "Anonymous", "status": "unsubscribed"}
        zero = {"subscribed_ip": "0.0.0.0", "confirmed_ip": "0.0.0.0"}  # noqa: S104  # what the tool writes
        self._touch(person, at, email=f"deleted-{mark}@site.invalid", **nobody, **zero)
        self._people[person["email"]] = person

    def view_page(self, person: Row, at: datetime) -> None:
        """The time of the last page view moves, at most once a minute, where cookies are allowed."""
        if self.tracking == "full" and self._is_due(person["last_page_view_at"], at):
            self._touch(person, at, last_page_view_at=_text(at), last_engagement_at=_text(at))

    # Mails

    def add_form(self, name: str, at: datetime) -> Row:
        return self.tables["forms"].add({"name": name, **_dates(at)})

    def send(self, subject: str, urls: Sequence[str], at: datetime, people: Iterable[Row]) -> Row:
        """A newsletter with its queue and its links, and one row for each mail; returns the newsletter."""
        dates = _dates(at)
        newsletter = self.tables["newsletters"].add(
            {"subject": subject, "status": "sent", "sent_at": _text(at), **dates}
        )
        about = {"task_id": newsletter["id"], "newsletter_id": newsletter["id"]}
        queue = self.tables["sending_queues"].add({**about, "newsletter_rendered_subject": subject, **dates})
        sent = {"newsletter_id": newsletter["id"], "queue_id": queue["id"]}
        for url in (UNSUBSCRIBE, *urls):
            mark = hashlib.md5(f"{newsletter['id']}{url}".encode(), usedforsecurity=False).hexdigest()[:12]
            self.tables["newsletter_links"].add({**sent, "url": url, "hash": mark, **dates})
        for person in people:
            self.tables["statistics_newsletters"].add({**sent, "subscriber_id": person["id"], "sent_at": _text(at)})
            self._touch(person, at, last_sending_at=_text(at), email_count=person["email_count"] + 1)
        return newsletter

    def open(
        self, person: Row, newsletter: Row, at: datetime, agent: str = BROWSER, *, held: bool = False
    ) -> Row | None:
        """One row a mail: its time is the first open's, its agent the last human one's. None without tracking."""
        if self.tracking == "basic":
            return None
        mail = {"newsletter_id": newsletter["id"], "subscriber_id": person["id"], "queue_id": self.queue(newsletter)}
        seen = self._agent(agent, at)
        row = self._opens.get(_sent(mail))
        if row is None:
            row = self.tables["statistics_opens"].add({**mail, **seen, "created_at": _text(at)}, held=held)
            self._opens[_sent(mail)] = row
        else:
            self._reseen("statistics_opens", row, agent, seen)
        self._engaged(person, at, "last_open_at")
        return row

    def click(
        self, person: Row, newsletter: Row, url: str, at: datetime, agent: str = BROWSER, *, held: bool = False
    ) -> Row | None:
        """One row for each link: it counts, and only the last time is known. A click opens the mail, too."""
        if self.tracking == "basic":
            return None
        link = self.link(newsletter, url)
        key = (link["id"], person["id"], link["queue_id"])
        seen, row = self._agent(agent, at), self._clicks.get(key)
        if row is None:
            mail = {"newsletter_id": newsletter["id"], "subscriber_id": person["id"], "queue_id": link["queue_id"]}
            row = self.tables["statistics_clicks"].add(
                {**mail, "link_id": link["id"], **seen, "count": 1, **_dates(at)}, held=held
            )
            self._clicks[key] = row
        else:
            self._reseen("statistics_clicks", row, agent, seen)
            self.tables["statistics_clicks"].change(row, count=row["count"] + 1, updated_at=_text(at))
        self.open(person, newsletter, at, agent)
        self._engaged(person, at, "last_click_at")
        return row

    def unsubscribe(
        self,
        person: Row,
        newsletter: Row | None,
        at: datetime,
        *,
        source: str = "newsletter",
        method: str = "link",
        held: bool = False,
    ) -> Row:
        """One row for each mail, or for each time where there is no mail; she and her memberships are unsubscribed."""
        told = {"source": source, "method": method}
        mail = {"newsletter_id": None, "subscriber_id": person["id"], "queue_id": None}
        if newsletter is not None:
            mail |= {"newsletter_id": newsletter["id"], "queue_id": self.queue(newsletter)}
        row = self._left.get(_sent(mail)) if newsletter is not None else None
        if row is None:
            row = self.tables["statistics_unsubscribes"].add({**mail, **told, "created_at": _text(at)}, held=held)
            if newsletter is not None:
                self._left[_sent(mail)] = row
        else:
            self.tables["statistics_unsubscribes"].change(row, **told)
        self._touch(person, at, status="unsubscribed")
        for member in self._lists_of(person):
            self.tables["subscriber_segment"].change(member, status="unsubscribed", updated_at=_text(at))
        return row

    def bounce(self, person: Row, newsletter: Row, at: datetime, *, held: bool = False) -> Row:
        mail = {"newsletter_id": newsletter["id"], "subscriber_id": person["id"], "queue_id": self.queue(newsletter)}
        self._touch(person, at, status="bounced")
        return self.tables["statistics_bounces"].add({**mail, "created_at": _text(at)}, held=held)

    def submit(self, form: Row, person: Row, at: datetime, *, held: bool = False) -> Row:
        """The first submission of a form by a person; another one leaves no trace here."""
        key = (form["id"], person["id"])
        if key not in self._forms:
            self._forms[key] = self.tables["statistics_forms"].add(
                {"form_id": key[0], "subscriber_id": key[1], "created_at": _text(at)}, held=held
            )
        return self._forms[key]

    def link(self, newsletter: Row, url: str) -> Row:
        for row in self.tables["newsletter_links"]:
            if row["newsletter_id"] == newsletter["id"] and row["url"] == url:
                return row
        raise KeyError(f"newsletter {newsletter['id']} has no link {url}")

    def links(self, newsletter: Row) -> list[str]:
        """The addresses in a newsletter, without the shortcodes."""
        found = (row for row in self.tables["newsletter_links"] if row["newsletter_id"] == newsletter["id"])
        return [row["url"] for row in found if not row["url"].startswith("[")]

    def queue(self, newsletter: Row) -> int:
        return int(next(q["id"] for q in self.tables["sending_queues"] if q["newsletter_id"] == newsletter["id"]))

    # What the rules share

    def _lists_of(self, person: Row) -> list[Row]:
        keys = [(person["id"], segment["id"]) for segment in self.tables["segments"]]
        return [self._members[key] for key in keys if key in self._members]

    def _agent(self, agent: str, at: datetime) -> dict[str, Any]:
        """Which agent, and of what type; no agent at all is a person's."""
        if not agent:
            return {"user_agent_id": None, "user_agent_type": 0}
        if agent not in self._agents:
            self._agents[agent] = self.tables["user_agents"].add(
                {"hash": str(zlib.crc32(agent.encode())), "user_agent": agent, "updated_at": _text(at)}
            )
        return {"user_agent_id": self._agents[agent]["id"], "user_agent_type": int(agent == APPLE)}

    def _reseen(self, table: str, row: Row, agent: str, seen: dict[str, Any]) -> None:
        """Seen again: a human agent is written over what is there, a machine's only over a machine's."""
        if agent and (seen["user_agent_type"] == 0 or row["user_agent_type"] == 1):
            self.tables[table].change(row, **seen)

    def _engaged(self, person: Row, at: datetime, column: str) -> None:
        """At most once a minute. Somebody who had become inactive is subscribed again."""
        if person["id"] in self.tables["subscribers"] and self._is_due(person[column], at):
            back = {"status": "subscribed"} if person["status"] == "inactive" else {}
            self._touch(person, at, **{column: _text(at)}, last_engagement_at=_text(at), **back)

    def _is_due(self, last: str | None, at: datetime) -> bool:
        return last is None or datetime.fromisoformat(last).replace(tzinfo=UTC) <= at - _MINUTE

    def _touch(self, person: Row, at: datetime, **values: Any) -> None:
        self.tables["subscribers"].change(person, **values, updated_at=_text(at))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _dates(at: datetime) -> dict[str, str]:
    return {"created_at": _text(at), "updated_at": _text(at)}


def _sent(row: Row) -> tuple[int, int, int]:
    return row["newsletter_id"], row["subscriber_id"], row["queue_id"]
