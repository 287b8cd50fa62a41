"""The Python API: load a connectors.yaml, then pull, plan, run, explain. The command line is a thin layer over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from syncline.config import Config, Loaded, load_all, read
from syncline.errors import ConfigError, did_you_mean
from syncline.host.lease import hold
from syncline.host.plugins import Plugins
from syncline.host.simulation import Simulation
from syncline.host.wiring import action_rules, classifiers, identity_rules, kinds, rooms, targets
from syncline.model import Account
from syncline.scoring.program import Program
from syncline.sdk import ConnectorConfig, Context, CreatesTasks, Http, Prepares, Sink, Source
from syncline.store.database import Database
from syncline.store.keep import Keep
from syncline.store.profiles import find
from syncline.store.runs import stored_scores
from syncline.store.schema import RAW_DONE, RAW_QUARANTINED
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
    everything but leases; a simulated configuration brings its own. Another number of simulated `people`, or another
    `seed`, is another world: it has a store of its own.
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
        if (people or simulated.people, seed or simulated.seed) != (simulated.people, simulated.seed):
            self._state = self._state / f"people-{people or simulated.people}-seed-{seed or simulated.seed}"
            self.store_url = f"sqlite:///{(self._state / 'state.db').resolve()}"
        else:
            self.store_url = _beside(self.config.store, folder)
        self.simulation = Simulation(
            plugins,
            self._state / "simulators",
            people=people or simulated.people,
            seed=seed or simulated.seed,
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
        """The time scores are for when nobody says otherwise: the simulated one if connections are simulated."""
        if self._clock is not None:
            return self._clock()
        if any(connection.simulated for connection in self.config.connections.values()):
            return self.config.simulation.clock
        return datetime.now(UTC)

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
        context = Context(name, Http(name), self.now, Keep(self.database, name), self.folder)
        connector: Source[Any] | Sink[Any] = kind(settings, context)
        return connector

    def _settings(self, name: str) -> ConnectorConfig:
        configured = self.config.connections[name]
        if not configured.simulated:
            settings = self.loaded.settings[name]
            if not isinstance(settings, ConnectorConfig):
                raise TypeError(f"{name}: settings of {configured.plugin} are no ConnectorConfig")
            return settings
        simulated = self.simulation.start(name, configured.plugin)
        model: type[ConnectorConfig] = self.plugins.connector(configured.plugin).config_model
        return model.model_validate({**simulated, **configured.settings})

    def sources(self, only: str | None = None) -> dict[str, Source[Any]]:
        """The connections that are read: every source, or the one named."""
        if only is not None and only not in self.config.connections:
            raise ConfigError(f"there is no connection {only!r}; there are: {', '.join(self.config.connections)}")
        names = [only] if only else list(self.config.connections)
        return {
            name: connector
            for name in names
            if issubclass(self.plugins.connector(self.config.connections[name].plugin), Source)
            and isinstance(connector := self.connector(name), Source)
        }

    def sinks(self) -> dict[str, Sink[Any]]:
        """The connections that syncs write to."""
        names = dict.fromkeys(sync.to for sync in self.config.syncs)
        return {name: connector for name in names if isinstance(connector := self.connector(name), Sink)}

    def targets(self, sync: str | None = None) -> list[Target]:
        names = [configured.name for configured in self.config.syncs]
        if sync is not None and sync not in names:
            raise ConfigError(f"there is no sync {sync!r}; {did_you_mean(sync, names)}")
        return targets(self.config, {name: sink.limits for name, sink in self.sinks().items()}, sync)

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

    # The commands

    def pull(self, source: str | None = None) -> Report:
        """Only read: raw records become events."""
        if source is not None and source not in (known := self.sources()):
            raise ConfigError(f"there is no source {source!r}; {did_you_mean(source, known)}")
        with hold(self.database, "run", _wall_clock) as renew:
            return Runner(self.setup(), self.now(), beat=renew).pull(source)

    def replay(self, source: str, *, everything: bool = False) -> Report:
        """Quarantined records again, or every raw record still kept: after a plugin or a table was mended."""
        if source not in self.sources():
            raise ConfigError(f"{source!r} is no source; there are: {', '.join(self.sources()) or 'none'}")
        statuses = (RAW_DONE, RAW_QUARANTINED) if everything else (RAW_QUARANTINED,)
        with hold(self.database, "run", _wall_clock) as renew:
            return Runner(self.setup(), self.now(), beat=renew).replay(source, statuses)

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
            raise ConfigError(
                f"there is no segment {segment!r}; there are: {', '.join(self.program.segments) or 'none'}"
            )
        return explain(self.database, self.program, self.person(person), as_of or self.now(), segment)

    def scores(self, name: str, namespace: str = "email") -> Iterator[tuple[str, Decimal, str | None]]:
        """(identifier, value, band) of everyone known in `namespace`, as the last run stored them."""
        if name not in self.program.scores:
            raise ConfigError(f"there is no score {name!r}; there are: {', '.join(self.program.scores) or 'none'}")
        with self.database.read() as connection:
            yield from stored_scores(connection, name, namespace)

    def check(self) -> dict[str, Account]:
        """Log in everywhere; the account behind each connection."""
        return {name: self.connector(name).check() for name in self.config.connections}

    def preflight(self) -> list[Target]:
        """Every mapping held against the CRM as it is now."""
        sinks = self.sinks()
        return [describe(target, sinks[target.connection], self.retry) for target in self.targets()]

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
            raise ConfigError(f"no sync writes to {name!r}; there are: {', '.join(sinks) or 'none'}")
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
