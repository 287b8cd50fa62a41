"""The Python API: load a connectors.yaml, then pull, plan, run, explain. The command line is a thin layer over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import BaseModel
from sqlalchemy import select

from syncline.config import Config, Loaded, load_all, read
from syncline.config import settings as configured_settings
from syncline.errors import ConfigError, did_you_mean
from syncline.host.lease import hold
from syncline.host.plugins import Plugins
from syncline.host.simulation import Simulation
from syncline.host.wiring import action_rules, classifiers, identity_rules, kinds, rooms, targets
from syncline.model import Account
from syncline.scoring.program import Program
from syncline.sdk import ConnectorConfig, Context, CreatesTasks, Http, Prepares, Sink, Source, capabilities
from syncline.store.crm import forget
from syncline.store.database import Database
from syncline.store.keep import Keep
from syncline.store.profiles import find
from syncline.store.runs import stored_scores
from syncline.store.schema import RAW_DONE, RAW_QUARANTINED, identifier
from syncline.sync.explain import Explanation, explain
from syncline.sync.mirror import describe
from syncline.sync.progress import NoProgress, Progress
from syncline.sync.report import Report
from syncline.sync.retry import Retry, retrying
from syncline.sync.run import Runner, Setup
from syncline.sync.target import Target, needed_fields

__all__ = ["Host"]

_STATE: Final = ".syncline"


class Host:
    """One connectors.yaml with its plugins, store and connections. Close it, or use it as a context manager.

    `folder` is where relative paths of the configuration count from: that of the file. `clock` is the time used for
    everything but leases; else simulated connections live in the simulated present, and real ones in the real one.
    Another number of simulated `people`, or another `seed`, is another world: it has a store of its own.
    """

    def __init__(
        self,
        loaded: Loaded,
        plugins: Plugins,
        *,
        folder: Path,
        clock: Callable[[], datetime] | None = None,
        progress: Progress | None = None,
        retry: Retry | None = None,
        people: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.loaded = loaded
        self.config: Config = loaded.config
        self.plugins = plugins
        self.folder = folder
        self.progress = progress or NoProgress()
        self.retry = retry or retrying()
        simulated = self.config.simulation
        self._state = folder / _STATE
        people = simulated.people if people is None else people
        seed = simulated.seed if seed is None else seed
        self.another_world = (people, seed) != (simulated.people, simulated.seed)
        self.people, self.seed = people, seed
        if self.another_world:
            self._state = self._state / f"people-{people}-seed-{seed}"
            self.store_url = f"sqlite:///{(self._state / 'state.db').resolve()}"
        else:
            self.store_url = _beside(self.config.store, folder)
        self.simulation = Simulation(
            plugins,
            self._state / "simulators",
            people=people,
            seed=seed,
            clock=simulated.clock.isoformat(),
        )
        self._clock = clock
        self._connectors: dict[str, Source[Any] | Sink[Any]] = {}

    @classmethod
    def load(
        cls,
        path: str | Path = "connectors.yaml",
        *,
        env: Mapping[str, str] | None = None,
        only: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """ConfigError names every mistake with file and line, before anything is connected.

        `only` are the connections that will be used: the environment variables of others need not be set.
        """
        path = Path(path)
        env = os.environ if env is None else env
        document = read(path, env)
        configured = document.data.get("connections")
        entries = configured.values() if isinstance(configured, Mapping) else ()
        wanted = {str(entry.get("plugin")) for entry in entries if isinstance(entry, Mapping)}
        plugins = Plugins.load(wanted)
        loaded = load_all(path, env=env, kinds=kinds(plugins), rooms=rooms(), only=only)
        return cls(loaded, plugins, folder=path.parent, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.simulation.stop()
        if "database" in self.__dict__:
            self.database.close()

    # What a run is made of

    @cached_property
    def database(self) -> Database:
        """The store, created on first use."""
        return Database(self.store_url)

    def now(self) -> datetime:
        """The time scores are for when nobody says otherwise.

        The simulated one if every connection is simulated, or some are and the file gives `simulation` a clock.
        """
        simulated = [connection.simulated for connection in self.config.connections.values()]
        told = "clock" in self.config.simulation.model_fields_set
        return self._time(any(simulated) if told else bool(simulated) and all(simulated))

    def _time(self, simulated: bool) -> datetime:
        if self._clock is not None:
            return self._clock()
        return self.config.simulation.clock if simulated else datetime.now(UTC)

    def _clock_of(self, name: str) -> Callable[[], datetime]:
        """A simulated vendor and its connector live in the same time, whatever the others live in."""
        return partial(self._time, simulated=True) if self.config.connections[name].simulated else self.now

    @cached_property
    def program(self) -> Program:
        return Program(self.loaded.models, self.loaded.segments)

    def connector(self, name: str) -> Source[Any] | Sink[Any]:
        """The connection `name`, connected on first use; its simulator started if it has one."""
        if name not in self._connectors:
            self._connectors[name] = self._connect(name)
        return self._connectors[name]

    def _connect(self, name: str) -> Source[Any] | Sink[Any]:
        configured = self.config.connections[name]
        kind: type[Any] = self.plugins.connector(configured.plugin)
        settings = self._settings(name)
        context = Context(name, Http(name), self._clock_of(name), Keep(self.database, name), self.folder)
        connector: Source[Any] | Sink[Any] = kind(settings, context)
        return connector

    def _settings(self, name: str) -> ConnectorConfig:
        configured = self.config.connections[name]
        settings = self._simulated(name) if configured.simulated else self.loaded.settings[name]
        if not isinstance(settings, ConnectorConfig):
            raise TypeError(f"{name}: settings of {configured.plugin} are no ConnectorConfig")
        return settings

    def _simulated(self, name: str) -> BaseModel:
        """What the file says, and what the simulator brings where it is silent. Loading has looked at its secrets."""
        plugin = self.config.connections[name].plugin
        given = self.simulation.start(name, plugin)
        return configured_settings(
            self.loaded.document, name, kinds(self.plugins)[plugin], given=given, allow_literal_secrets=True
        )

    def source_names(self) -> list[str]:
        """The connections that are read. Nothing is connected for this."""
        return [
            name
            for name, configured in self.config.connections.items()
            if issubclass(self.plugins.connector(configured.plugin), Source)
        ]

    def receiving_names(self) -> list[str]:
        """The connections that take webhooks: sources, and CRMs that syncs write to. Nothing is connected for this."""
        read = {*self.source_names(), *(sync.to for sync in self.config.syncs)}
        return [
            name
            for name, configured in self.config.connections.items()
            if name in read and "receive" in capabilities(self.plugins.connector(configured.plugin))
        ]

    def sources(self, only: str | None = None) -> dict[str, Source[Any]]:
        """The connections that are read: every source, or the one named."""
        known = self.source_names()
        if only is not None and only not in known:
            raise ConfigError(f"there is no source {only!r}; {did_you_mean(only, known)}")
        names = known if only is None else [only]
        return {name: connector for name in names if isinstance(connector := self.connector(name), Source)}

    def sinks(self) -> dict[str, Sink[Any]]:
        """The connections that syncs write to."""
        names = dict.fromkeys(sync.to for sync in self.config.syncs)
        return {name: connector for name in names if isinstance(connector := self.connector(name), Sink)}

    def targets(self, sync: str | None = None) -> list[Target]:
        names = [configured.name for configured in self.config.syncs]
        if sync is not None and sync not in names:
            raise ConfigError(f"there is no sync {sync!r}; {did_you_mean(sync, names)}")
        limits = {name: sink.limits for name, sink in self.sinks().items()}
        bands = {name: [band.name for band in model.bands] for name, model in self.loaded.models.items()}
        return targets(self.config, limits, sync, bands=bands)

    def setup(self, sync: str | None = None) -> Setup:
        return Setup(
            database=self.database,
            program=self.program,
            clock=self.now,
            sources=self.sources(),
            sinks=self.sinks(),
            targets=self.targets(sync),
            rules=action_rules(self.config),
            classifiers=classifiers(self.config),
            identity=identity_rules(self.config),
            retry=self.retry,
            progress=self.progress,
            raw_retention=self.config.raw_retention,
        )

    def _reading(self, source: str | None) -> Setup:
        """What reading takes: no CRM is connected, so that its credentials need not be there."""
        return Setup(
            database=self.database,
            program=self.program,
            clock=self.now,
            sources=self.sources(source),
            classifiers=classifiers(self.config),
            identity=identity_rules(self.config),
            retry=self.retry,
            progress=self.progress,
            raw_retention=self.config.raw_retention,
        )

    # The commands

    def pull(self, source: str | None = None) -> Report:
        """Only read: raw records become events."""
        setup = self._reading(source)
        with hold(self.database, "run", _wall_clock) as renew:
            return Runner(setup, self.now(), beat=renew).pull(source)

    def replay(self, source: str, *, everything: bool = False) -> Report:
        """Quarantined records again, or every raw record still kept: after a plugin or a table was mended."""
        setup = self._reading(source)
        statuses = (RAW_DONE, RAW_QUARANTINED) if everything else (RAW_QUARANTINED,)
        with hold(self.database, "run", _wall_clock) as renew:
            return Runner(setup, self.now(), beat=renew).replay(source, statuses)

    def plan(self, *, sync: str | None = None, person: str | None = None, as_of: datetime | None = None) -> Report:
        """What `run` would write now, record by record; nothing is written to a CRM."""
        with hold(self.database, "run", _wall_clock) as renew:
            return Runner(self.setup(sync), as_of or self.now(), beat=renew).plan(people=self._people(person))

    def run(self, *, sync: str | None = None, person: str | None = None, as_of: datetime | None = None) -> Report:
        """Pull, score, plan and write. BusyError while another run is active."""
        with hold(self.database, "run", _wall_clock) as renew:
            return Runner(self.setup(sync), as_of or self.now(), beat=renew).run(people=self._people(person))

    def _people(self, person: str | None) -> list[int] | None:
        return None if person is None else [self.person(person)]

    def person(self, word: str) -> int:
        """The person with this key, e-mail address or other identifier; ConfigError if we know nobody by it."""
        with self.database.read() as connection:
            found = find(connection, word)
        if found is None:
            raise ConfigError(
                f"nobody is known as {word!r}; give an e-mail address, a vendor's id, or our key as the CRM shows it. "
                "`syncline pull` reads new people"
            )
        return found

    def explain(self, person: str, *, segment: str | None = None, as_of: datetime | None = None) -> Explanation:
        """Score by score, line by line, why a person has it; and why they are in a segment, or not."""
        if segment is not None and segment not in self.program.segments:
            raise ConfigError(f"there is no segment {segment!r}; {did_you_mean(segment, self.program.segments)}")
        return explain(self.database, self.program, self.person(person), as_of or self.now(), segment)

    def scores(self, name: str, namespace: str = "email") -> Iterator[tuple[str, Decimal, str | None]]:
        """(identifier, value, band) of everyone known in `namespace`, as the last run stored them."""
        if name not in self.program.scores:
            raise ConfigError(f"there is no score {name!r}; {did_you_mean(name, self.program.scores)}")
        with self.database.read() as connection:
            known = set(connection.scalars(select(identifier.c.namespace).distinct()))
            if known and namespace not in known:
                raise ConfigError(f"nobody is known by {namespace!r}; {did_you_mean(namespace, known)}")
            yield from stored_scores(connection, name, namespace)

    def reset(self, name: str) -> None:
        """Forget all we know of a CRM's records; people, events and scores stay. The next run matches anew."""
        if name not in {sync.to for sync in self.config.syncs}:
            raise ConfigError(f"no sync writes to {name!r}; {did_you_mean(name, {s.to for s in self.config.syncs})}")
        with hold(self.database, "run", _wall_clock), self.database.write() as connection:
            forget(connection, name)

    def check(self) -> dict[str, Account]:
        """Log in everywhere; the account behind each connection."""
        return {name: self.account(name) for name in self.config.connections}

    def account(self, name: str) -> Account:
        """Log in with one connection; the account behind it."""
        if name not in self.config.connections:
            raise ConfigError(f"there is no connection {name!r}; {did_you_mean(name, self.config.connections)}")
        return self.connector(name).check()

    def preflight(self, only: str | None = None) -> list[Target]:
        """Every mapping, or those to one CRM, held against the CRM as it is now."""
        sinks = self.sinks()
        targets = [target for target in self.targets() if only in (None, target.connection)]
        return [describe(target, sinks[target.connection], self.retry) for target in targets]

    def missing(self, name: str) -> Sequence[str]:
        """What `prepare` would create in this CRM."""
        sink, needed, segments = self._preparation(name)
        return sink.missing(needed, segments)

    def prepare(self, name: str) -> Sequence[str]:
        """Create in this CRM what the syncs need."""
        sink, needed, segments = self._preparation(name)
        return sink.prepare(needed, segments)

    def _preparation(self, name: str) -> tuple[Prepares, list[Any], list[str]]:
        sinks = self.sinks()
        if name not in sinks:
            raise ConfigError(f"no sync writes to {name!r}; {did_you_mean(name, sinks)}")
        sink = sinks[name]
        if not isinstance(sink, Prepares):
            raise ConfigError(f"{name}: this connector cannot prepare its CRM; create the fields there by hand")
        target = next(target for target in self.targets() if target.connection == name)
        needed = needed_fields(target)
        if isinstance(sink, CreatesTasks) and any(rule.connection == name for rule in action_rules(self.config)):
            needed += sink.task_fields
        return sink, needed, list(target.segments.values())


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _beside(store: str, folder: Path) -> str:
    """A relative SQLite path counts from the configuration's folder, wherever the command was typed."""
    prefix = "sqlite:///"
    if not store.startswith(prefix):
        return store
    return f"{prefix}{(folder / store.removeprefix(prefix)).resolve()}"
