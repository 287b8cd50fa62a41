"""A small world in memory: a source of points, CRMs, and a configuration that is plain data and may be changed."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.exc import OperationalError

from syncline.config import Loaded, load_all
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms
from syncline.model import Field, Limits, RemoteRef, Value
from syncline.sdk import hookimpl
from syncline.store import crm, dead_letters, schema
from syncline.store.database import Database
from syncline.store.dead_letters import DeadLetter
from syncline.sync.report import Report, SinkReport
from syncline.sync.retry import retrying
from syncline.testing.memory import MemorySink, MemorySource, MemoryWorld, memory_plugin, person_fields

START = datetime(2026, 6, 1, 8, tzinfo=UTC)
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"
FIELDS = (*person_fields(), Field("Why", "text", max_length=255))


def configuration(store: str) -> dict[str, Any]:
    """Points add up to a score with a band `hot` from 80 on, re-armed below 70; the hot ones are a segment."""
    return {
        "version": 1,
        "store": store,
        "connections": {"shop": {"plugin": "memory-source"}, "crm": {"plugin": "memory-sink"}},
        "scores": {
            "interest": {
                "model": {
                    "model": "interest",
                    "version": 1,
                    "signals": {"points": {"sum": "points", "of": "custom"}},
                    "score": [{"name": "points", "add": "points", "says": {"en": "collected points"}}],
                    "bands": [{"name": "hot", "at_least": 80, "rearm_below": 70}],
                }
            }
        },
        "segments": {"hot": {"all": [{"score": "interest", "at_least": 80}]}},
        "actions": [
            {"name": "call", "when": {"enters": "interest.hot"}, "task": {"to": "crm", "text": "alert_en", "due": "2h"}}
        ],
        "syncs": [
            {
                "name": "leads",
                "to": "crm",
                "object": "Lead",
                "also": ["Contact"],
                "match": "Key",
                "when_missing": "create",
                "first_run": "whole",
                "fields": {
                    "Score": {"from": "score.interest", "owner": "ours"},
                    "Band": {"from": "score.interest.band", "owner": "ours"},
                    "Why": {"from": "score.interest.reason", "owner": "ours"},
                    "Hot": {"from": "segment.hot", "owner": "ours"},
                    "Email": {"from": "person.email", "owner": "shared", "policy": "only_if_empty"},
                    "LastName": {"from": "person.last_name", "owner": "shared", "policy": "only_if_empty"},
                },
                "segments": {"hot": "Hot leads"},
            }
        ],
    }


class _SecondPlugin:
    """Another CRM, of a kind of its own; and a newsletter, which is a source as well."""

    def __init__(self, world: MemoryWorld, limits: Limits) -> None:
        here = {"world": world, "limits": limits}
        self._sink = type("SecondSink", (MemorySink,), {"kind": "second-sink", **here})
        self._both = type("Newsletter", (MemorySource, MemorySink), {"kind": "second-newsletter", **here})

    @hookimpl
    def connectors(self) -> Sequence[type[Any]]:
        return [self._sink, self._both]


class Lab:
    """One configured folder. Every `run` and `plan` opens the host anew, as a new process would."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self.now = START
        self.data = configuration(store)
        self.limits = MemorySink.limits
        self.world = self._world()
        self.second = self._world()
        self._facts = 0
        self._loaded: dict[str, Loaded] = {}

    def _world(self) -> MemoryWorld:
        objects = {"Lead": FIELDS, "Contact": FIELDS}
        return MemoryWorld(objects=objects, segments=["Hot leads"], clock=lambda: self.now)

    @property
    def sync(self) -> dict[str, Any]:
        found: dict[str, Any] = self.data["syncs"][0]
        return found

    @property
    def fields(self) -> dict[str, Any]:
        found: dict[str, Any] = self.sync["fields"]
        return found

    def add_second_crm(self) -> None:
        """Everything also goes to the CRM `other`."""
        self.data["connections"]["other"] = {"plugin": "second-sink"}
        self.data["syncs"].append({**self.sync, "name": "others", "to": "other"})

    def host(self, **options: Any) -> Host:
        plugins = Plugins()
        plugins.register(memory_plugin(self.world, limits=self.limits), name="memory")
        plugins.register(_SecondPlugin(self.second, self.limits), name="second")
        loaded = self._load(kinds(plugins))
        options = {"clock": lambda: self.now, "retry": retrying(attempts=3, sleep=lambda _: None), **options}
        return Host(loaded, plugins, folder=self.folder, **options)

    def _load(self, known: Mapping[str, Any]) -> Loaded:
        text = json.dumps(self.data)
        if text not in self._loaded:
            path = self.folder / "connectors.yaml"
            path.write_text(text, "utf-8")
            self._loaded[text] = load_all(path, env={}, kinds=known, rooms=rooms())
        return self._loaded[text]

    @contextlib.contextmanager
    def store(self) -> Iterator[Connection]:
        """The store, to look into."""
        url = self.data["store"].replace(":///", f":///{self.folder}/")
        with contextlib.closing(Database(url)) as database, database.read() as connection:
            yield connection

    def run(self, **options: Any) -> Report:
        with self.host() as host:
            return host.run(**options)

    def plan(self, **options: Any) -> Report:
        with self.host() as host:
            return host.plan(**options)

    def sink(self, **options: Any) -> SinkReport:
        """What a run says of the CRM."""
        return self.run(**options).sinks["crm"]

    def later(self, hours: float = 1) -> None:
        self.now += timedelta(hours=hours)

    # What people do

    def points(self, email: str, points: float, **profile: str) -> None:
        """Somebody collects points, a minute ago."""
        self._facts += 1
        at = self.now - timedelta(minutes=1)
        self.world.happened(
            f"fact-{self._facts}", "custom", at, email=email, profile=profile, name="points", points=points
        )

    def says(
        self, email: str, type: str, *, hours: float = 0, world: MemoryWorld | None = None, **properties: Any
    ) -> None:
        """Something else happens that a source tells of, a minute ago or so many hours before that."""
        self._facts += 1
        at = self.now - timedelta(minutes=1, hours=hours)
        (world or self.world).happened(f"fact-{self._facts}", type, at, email=email, **properties)

    def crowd(self, count: int, points: float = 50) -> list[str]:
        """So many people with points; their addresses."""
        emails = [f"p{number:04d}@acme.example" for number in range(count)]
        for email in emails:
            self.points(email, points, last_name=f"Person {email[1:5]}")
        return emails

    # What the CRM holds

    def records(self, email: str, world: MemoryWorld | None = None) -> list[RemoteRef]:
        """Living records that show this address, in any letter case."""
        world = world or self.world
        return [
            ref
            for name in ("Lead", "Contact")
            for ref in world.refs(name)
            if str(world.get(ref).get("Email")).lower() == email
        ]

    def ref(self, email: str) -> RemoteRef:
        [found] = self.records(email)
        return found

    def held(self, email: str) -> Mapping[str, Value]:
        return self.world.get(self.ref(email))

    def holdings(self) -> list[tuple[Any, ...]]:
        """Everything the CRM holds, by address: records without our random keys, tasks and members."""
        whose = {ref: str(self.world.get(ref)["Email"]) for n in ("Lead", "Contact") for ref in self.world.refs(n)}
        own = ("Id", "Key")
        rows = [
            (
                whose[ref],
                ref.object,
                sorted((k, str(v)) for k, v in self.world.get(ref).items() if k not in own),
                sorted((t.subject, t.due) for t in self.world.tasks.values() if t.about == ref),
                ref in self.world.segments["Hot leads"],
            )
            for ref in whose
        ]
        return sorted(rows)

    # What the store holds

    def rows(self, table: str) -> list[Mapping[str, Any]]:
        with self.store() as connection:
            return [row._mapping for row in connection.execute(select(getattr(schema, table)))]

    def dead_letters(self) -> dict[str, DeadLetter]:
        with self.store() as connection:
            return {letter.key: letter for letter in dead_letters.dead_letters(connection)}

    def conflicts(self) -> list[crm.Conflict]:
        with self.store() as connection:
            return crm.conflicts(connection, "crm")

    def keys(self) -> dict[str, str]:
        """Address → our key, of everyone read so far."""
        with self.host() as host:
            host.pull()
        with self.store() as connection:
            both = select(schema.identifier.c.value, schema.person.c.key)
            found = connection.execute(both.join(schema.person, schema.person.c.id == schema.identifier.c.person_id))
            return {row.value: row.key for row in found}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab on SQLite."""
    return Lab(tmp_path, "sqlite:///state.db")


@pytest.fixture
def make_lab(tmp_path: Path) -> Callable[[str], Lab]:
    """A factory of labs on SQLite, in folders of their own."""

    def make(name: str) -> Lab:
        folder = tmp_path / name
        folder.mkdir()
        return Lab(folder, "sqlite:///state.db")

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def each_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A lab on either database."""
    if request.param == "sqlite":
        yield Lab(tmp_path, "sqlite:///state.db")
        return
    pytest.importorskip("psycopg", reason="PostgreSQL: psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    name = f"lab_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers on 127.0.0.1:5432 for the user postgres")
    try:
        yield Lab(tmp_path, f"{POSTGRES}?options=-csearch_path%3D{name}")
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        admin.dispose()
