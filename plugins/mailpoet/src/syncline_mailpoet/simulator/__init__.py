"""MailPoet, simulated: no server, but the tables that its plugin would write, in an SQLite file or in a MariaDB.

The rules are those of the vendor sheet, §3 (site.py); they were seen in the plugin's code and in real runs, so nothing
here is a guess that would need a switch. `tracking` is the site's own setting.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from syncline.sdk import SimulatorOptions, WebhookRequest
from syncline.testing.population import EPOCH
from syncline_mailpoet.simulator.schema import create
from syncline_mailpoet.simulator.shelf import Row
from syncline_mailpoet.simulator.site import APPLE, BROWSER, UNSUBSCRIBE, MailPoetSite, Tracking
from syncline_mailpoet.simulator.story import tell
from syncline_mailpoet.webhook import SIGNATURE, TIMESTAMP, signature

__all__ = ["APPLE", "BROWSER", "UNSUBSCRIBE", "MailPoetSimulator"]

R = TypeVar("R")

_SQLITE: Final = "sqlite"


class MailPoetSimulator:
    """One site. People are named by their address, newsletters by their position (-1: the last one sent).

    `server` are `host`, `user`, `password` and `name` of a MariaDB in which the tables are to be; without it they are
    in a file in `options.folder`. What happens is written at once; inside `together` when it ends.
    """

    name: ClassVar[str] = "mailpoet"
    webhook_secret: Final = "simulated-webhook-secret"  # noqa: S105  # made up

    def __init__(
        self,
        options: SimulatorOptions | None = None,
        *,
        server: Mapping[str, str] | None = None,
        site: str = "blog.example",
        prefix: str = "wp_",
        tracking: Tracking = "full",
    ) -> None:
        self.options = options or SimulatorOptions()
        if self.options.faults:
            raise ValueError("mailpoet is not reached by HTTP: it has no faults to inject; use break_reading()")
        self.site_name = site
        self.prefix = prefix
        self.site = MailPoetSite(prefix, tracking)
        self._server = dict(server) if server else None
        self._now = datetime.fromisoformat(self.options.clock or EPOCH).astimezone(UTC)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._engine: Engine | None = None
        self._file: Path | None = None
        self._postponed = False

    # What the host needs

    def start(self) -> None:
        """Make the tables and what happened until now, unless they are there from an earlier run."""
        self._engine = self._connect()
        self.site = MailPoetSite(self.prefix, self.site.tracking)
        known = inspect(self._engine).has_table(f"{self.prefix}mailpoet_subscribers")
        with self._engine.begin() as connection:
            for statement in create(self.prefix, connection.dialect.name):
                connection.execute(text(statement))
            if known:
                self.site.load(connection)
        if not known:
            tell(self.site, self.options.people, self.options.seed, self._now)
            self._commit()

    def stop(self) -> None:
        """What happened is written already; a temporary file goes."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> MailPoetSimulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def settings(self) -> Mapping[str, Any]:
        where: Mapping[str, Any] = self._server or {"file": str(self._file)}
        if self._engine is None:
            raise RuntimeError("simulator mailpoet is not started")
        return {
            "plugin": "mailpoet",
            "site": self.site_name,
            **where,
            "prefix": self.prefix,
            "webhook_secret": self.webhook_secret,
        }

    def counters(self) -> Mapping[str, int]:
        """A database counts no calls."""
        return {"calls": 0, "write_calls": 0}

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by

    # What happens on the site

    @property
    def emails(self) -> list[str]:
        """Who is subscribed now, in the order they came."""
        return [row["email"] for row in self.site.tables["subscribers"] if row["status"] == "subscribed"]

    def newsletter(self, position: int = -1) -> Row:
        return list(self.site.tables["newsletters"])[position]

    def open(self, email: str, newsletter: int = -1, *, agent: str = BROWSER, held: bool = False) -> Row | None:
        """With `held` the row has its number, but its transaction does not end before `release`."""
        return self._done(
            self.site.open(self.site.person(email), self.newsletter(newsletter), self._now, agent, held=held)
        )

    def click(
        self,
        email: str,
        newsletter: int = -1,
        *,
        url: str | None = None,
        agent: str = BROWSER,
        held: bool = False,
    ) -> Row | None:
        """On the first link unless told otherwise."""
        mail = self.newsletter(newsletter)
        link = url or self.site.links(mail)[0]
        return self._done(self.site.click(self.site.person(email), mail, link, self._now, agent, held=held))

    def unsubscribe(
        self,
        email: str,
        newsletter: int | None = -1,
        *,
        source: str = "newsletter",
        method: str = "link",
        held: bool = False,
    ) -> Row:
        mail = None if newsletter is None else self.newsletter(newsletter)
        who = self.site.person(email)
        return self._done(self.site.unsubscribe(who, mail, self._now, source=source, method=method, held=held))

    def resubscribe(self, email: str) -> None:
        self.site.resubscribe(self.site.person(email), self._now)
        self._done(None)

    def subscribe(self, email: str, *, source: str = "form", status: str = "subscribed", **more: Any) -> Row:
        """Somebody new, on the main list."""
        person = self.site.add_person(email, self._now, source=source, status=status, **more)
        self.site.join(person, self.site.tables["segments"][2], self._now, status)
        return self._done(person)

    def submit_form(self, email: str, form: int = 1, *, held: bool = False) -> Row:
        """Only the first submission of a form leaves a row."""
        return self._done(
            self.site.submit(self.site.tables["forms"][form], self.site.person(email), self._now, held=held)
        )

    def bounce(self, email: str, newsletter: int = -1, *, held: bool = False) -> Row:
        return self._done(self.site.bounce(self.site.person(email), self.newsletter(newsletter), self._now, held=held))

    def view_page(self, email: str) -> None:
        self.site.view_page(self.site.person(email), self._now)
        self._done(None)

    def change(self, email: str, **values: Any) -> None:
        """An administrator edits a subscriber."""
        self.site.change_person(self.site.person(email), self._now, **values)
        self._done(None)

    def send(self, subject: str, *urls: str) -> Row:
        """To everybody who is subscribed."""
        people = [self.site.person(email) for email in self.emails]
        return self._done(self.site.send(subject, urls, self._now, people))

    def delete_subscriber(self, email: str) -> None:
        """For good: what she did stays behind as orphans."""
        self.site.delete(self.site.person(email))
        self._done(None)

    def erase(self, email: str) -> None:
        """By WordPress's privacy tool."""
        self.site.erase(self.site.person(email), self._now)
        self._done(None)

    def release(self) -> None:
        """The transactions of all rows that were held end now."""
        for shelf in self.site.tables.values():
            shelf.release()
        self._done(None)

    def webhook(self, click: Row, *, secret: str | None = None, at: datetime | None = None) -> WebhookRequest:
        """What the must-use plugin sends for a click, after the row was written."""
        told = {"event": "link_clicked", "site": self.site_name, "prefix": self.prefix, "click": self._told(click)}
        return self.signed(json.dumps(told).encode(), secret=secret, at=at)

    def signed(self, body: bytes, *, secret: str | None = None, at: datetime | None = None) -> WebhookRequest:
        """A request with this body, signed as the plugin signs."""
        moment = at or self._now
        stamp = str(int(moment.timestamp()))
        headers = {
            "content-type": "application/json",
            TIMESTAMP: stamp,
            SIGNATURE: signature(secret or self.webhook_secret, stamp, body),
        }
        return WebhookRequest("POST", "/hooks/mailpoet", "", headers, body, moment)

    def break_reading(self) -> None:
        """The table that everything is joined with goes, as when the plugin is deleted."""
        full = f"{self.prefix}mailpoet_subscribers"
        self.run(f"ALTER TABLE {full} RENAME TO {full}_gone")

    def run(self, statement: str) -> None:
        """Somebody changes the database past the plugin."""
        with self._started().begin() as connection:
            connection.execute(text(statement))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Everything inside becomes visible at once."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False
        self._commit()

    # Inside

    def _told(self, click: Row) -> dict[str, Any]:
        tables = self.site.tables
        person = tables["subscribers"].get(click["subscriber_id"])
        return {
            **{name: value for name, value in click.items() if name != "user_agent_id"},
            "url": tables["newsletter_links"][click["link_id"]]["url"],
            "email": person["email"] if person else None,
            "campaign": tables["sending_queues"][click["queue_id"]]["newsletter_rendered_subject"],
        }

    def _done(self, result: R) -> R:
        if not self._postponed:
            self._commit()
        return result

    def _commit(self) -> None:
        with self._started().begin() as connection:
            self.site.flush(connection)

    def _started(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("simulator mailpoet is not started")
        return self._engine

    def _connect(self) -> Engine:
        if self._server is not None:
            engine = create_engine(_url(self._server), poolclass=NullPool, connect_args={"ssl_disabled": True})
            event.listen(engine, "connect", _in_utc)
            return engine
        folder = self.options.folder
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="syncline-mailpoet-")
            folder = Path(self._temporary.name)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "mailpoet.db"
        return create_engine(URL.create(_SQLITE, database=str(self._file)), poolclass=NullPool)


def _url(server: Mapping[str, str]) -> URL:
    return URL.create(
        "mysql+pymysql",
        server["user"],
        server["password"],
        server["host"],
        database=server["name"],
        query={"charset": "utf8mb4"},
    )


def _in_utc(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
