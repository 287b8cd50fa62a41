"""The Python API: load a connectors.yaml, then pull, plan, run, explain. The command line is a thin layer over it."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import BaseModel, SecretStr
from sqlalchemy import select

from syncline.config import Config, Loaded, load_all, read
from syncline.config import settings as configured_settings
from syncline.errors import ConfigError, StoreError, did_you_mean
from syncline.host.lease import hold
from syncline.host.notify import Notify, by_apprise
from syncline.host.plugins import Plugins
from syncline.host.recount import Recount, recount
from syncline.host.schedule import Due, Times, answer, look, timetable
from syncline.host.simulation import Simulation
from syncline.host.status import Status, status
from syncline.host.watch import Watch, overdue
from syncline.host.wiring import action_rules, classifiers, consent_rules, identity_rules, kinds, rooms, targets
from syncline.model import Account, RemoteRef, microseconds
from syncline.scoring.program import Program
from syncline.sdk import ConnectorConfig, Context, CreatesTasks, Http, Prepares, Sink, Source, capabilities
from syncline.store import descriptions, pauses, rollouts
from syncline.store.crm import forget
from syncline.store.database import Database
from syncline.store.decisions import Case, Choice
from syncline.store.keep import Keep
from syncline.store.pauses import Pause
from syncline.store.profiles import find
from syncline.store.runs import stored_scores
from syncline.store.schema import RAW_DONE, RAW_QUARANTINED, identifier
from syncline.sync.budget import Budget
from syncline.sync.course import Setup
from syncline.sync.explain import Explanation, explain
from syncline.sync.fields import takes_over
from syncline.sync.guards import Allowance
from syncline.sync.needs import Needs
from syncline.sync.preflight import findings, inspect
from syncline.sync.progress import NoProgress, Progress
from syncline.sync.queue import Question, Waiting, decide_field, decide_record, waiting
from syncline.sync.report import Report
from syncline.sync.retry import Retry, retrying
from syncline.sync.rollout import refuse_idle_go_ahead
from syncline.sync.run import Runner
from syncline.sync.stop import Stop
from syncline.sync.target import Target, needed_fields
from syncline.sync.undo import Undo, recorded

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
        notify: Notify | None = None,
    ) -> None:
        self.loaded = loaded
        self._notify = notify
        self.config: Config = loaded.config
        self.plugins = plugins
        self.folder = folder
        self.progress = progress or NoProgress()
        self.stop = Stop()
        self.retry = retry or retrying(slowed=10, sleep=self.stop.pause)
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
        self._budgets: dict[str, Budget] = {}

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
        for budget in self._budgets.values():
            with contextlib.suppress(StoreError):  # a store that is gone has nothing to give back to
                budget.close()
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
        clock = self._clock_of(name)
        http = Http(name, allowance=self.budget(name).take)
        context = Context(name, http, clock, Keep(self.database, name), self.folder)
        connector: Source[Any] | Sink[Any] = kind(settings, context)
        return connector

    def budget(self, name: str) -> Budget:
        """The calls that a connection may make a day."""
        if name not in self._budgets:
            configured = self.config.connections[name].budget
            per_day = configured.calls_per_day if configured else None
            self._budgets[name] = Budget(self.database, name, per_day, self._clock_of(name))
        return self._budgets[name]

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

    def targets(self, only: str | Collection[str] | None = None) -> list[Target]:
        """Where syncs write to: all of them, the one named, or several."""
        names = [configured.name for configured in self.config.syncs]
        syncs = [only] if isinstance(only, str) else only
        for sync in syncs or ():
            if sync not in names:
                raise ConfigError(f"there is no sync {sync!r}; {did_you_mean(sync, names)}")
        limits = {name: sink.limits for name, sink in self.sinks().items()}
        bands = {name: [band.name for band in model.bands] for name, model in self.loaded.models.items()}
        return targets(self.config, limits, None if syncs is None else set(syncs), bands=bands)

    def setup(self, sync: str | Collection[str] | None = None) -> Setup:
        return Setup(
            syncs=",".join([sync] if isinstance(sync, str) else sorted(sync)) if sync else None,
            database=self.database,
            program=self.program,
            clock=self.now,
            sources=self.sources(),
            sinks=self.sinks(),
            targets=self.targets(sync),
            rules=action_rules(self.config),
            classifiers=classifiers(self.config),
            consent=consent_rules(self.config),
            identity=identity_rules(self.config),
            retry=self.retry,
            progress=self.progress,
            raw_retention=self.config.raw_retention,
            budgets={name: self.budget(name) for name in self.config.connections},
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
        with self._watched("pull") as watch, self._alone() as beat:
            runner = Runner(setup, self.now(), beat=beat)
            watch.begins(runner.report)
            return runner.pull(source)

    def replay(self, source: str, *, everything: bool = False) -> Report:
        """Quarantined records again, or every raw record still kept: after a plugin or a table was mended."""
        setup = self._reading(source)
        statuses = (RAW_DONE, RAW_QUARANTINED) if everything else (RAW_QUARANTINED,)
        with self._watched("replay") as watch, hold(self.database, "run", _wall_clock) as renew:
            runner = Runner(setup, self.now(), beat=renew)
            watch.begins(runner.report)
            return runner.replay(source, statuses)

    def plan(
        self,
        *,
        sync: str | None = None,
        person: str | None = None,
        as_of: datetime | None = None,
        go_ahead: bool = False,
    ) -> Report:
        """What `run` would write now, record by record; nothing is written to a CRM.

        With `go_ahead`, what it would write in the next stage of a first run.
        """
        allowance = Allowance(go_ahead=go_ahead, one=person is not None, command=_command(sync, person))
        with self._watched("plan", sync) as watch, self._alone() as beat:
            setup = self._asked(sync, allowance)
            runner = Runner(setup, as_of or self.now(), beat=beat, allowance=allowance)
            watch.begins(runner.report)
            return runner.plan(people=self._people(person))

    def run(
        self,
        *,
        sync: str | None = None,
        person: str | None = None,
        people: Sequence[int] | None = None,
        as_of: datetime | None = None,
        allow: Mapping[str, int | None] | None = None,
        go_ahead: bool = False,
    ) -> Report:
        """Pull, score, plan and write; for one person, or for these. BusyError while another run is active.

        A person may `allow` more of something than the guard for this once (None: any number of it), and `go_ahead`
        with the next stage of a first run. No schedule does.
        """
        whole = person is None and people is None
        allowance = Allowance(allow or {}, go_ahead, person is not None, _command(sync, person))
        with self._watched("run", sync, whole=whole) as watch, self._alone() as beat:
            only = people if person is None else self._people(person)
            setup = self._asked(sync, allowance)
            runner = Runner(setup, as_of or self.now(), beat=beat, allowance=allowance)
            watch.begins(runner.report)
            return runner.run(people=only)

    def _asked(self, sync: str | None, allowance: Allowance) -> Setup:
        """The setup of a run somebody asks for. ConfigError when they go ahead where nothing waits for it."""
        setup = self.setup(sync)
        if allowance.go_ahead:
            refuse_idle_go_ahead(self.database, setup.targets)
        return setup

    def run_due(self) -> Report | None:
        """Run all syncs that are due, together; None when none is. BusyError while another run is active.

        What is due is looked up while nobody else can run: so no time is run twice, however many look at the clock.
        """
        with self._watched("run") as watch, self._alone() as beat:
            due = self.due()
            if not due.times:
                return None
            every = all(sync.name in due.times for sync in self.config.syncs)
            runner = Runner(self.setup(None if every else due.times), self.now(), beat=beat)
            late = overdue(self.database, self.timetable, _wall_clock())
            watch.begins(runner.report, due.times, late)
            return answer(self.database, due, runner.run_id, runner.run)

    def waiting(self) -> Waiting:
        """What waits for a person to decide, in all connections."""
        with self.database.read() as connection:
            return waiting(connection, self.config.connections)

    def decide_field(self, case: Case, choice: Choice, value: str | None = None, *, alike: bool = False) -> list[Case]:
        """Note a decision on a field, `alike` on all such fields; what it was for. The next run writes."""
        if choice == "value":
            self._refuse_value(case)
        with hold(self.database, "run", _wall_clock), self.database.write() as connection:
            found = waiting(connection, [case.connection])
            return decide_field(connection, found, case, choice, value, microseconds(self.now()), alike=alike)

    def _refuse_value(self, case: Case) -> None:
        mappings = [sync.fields.get(case.field) for sync in self.config.syncs if sync.to == case.connection]
        mapped = next((mapping for mapping in mappings if mapping is not None), None)
        if mapped is None or takes_over(mapped.origin, mapped.policy or "ours") is None:
            origin = "no mapping any more" if mapped is None else mapped.origin
            raise ConfigError(
                f"{case.field} comes from {origin}, which nobody can set by hand: decide with --ours or --theirs"
            )

    def decide_record(self, question: Question, ref: RemoteRef | None) -> None:
        """A person is this record; None: none of the candidates. The next run goes by it."""
        with hold(self.database, "run", _wall_clock), self.database.write() as connection:
            decide_record(connection, question, ref, microseconds(self.now()))

    def undo(self, run_id: str, *, plan: bool = False) -> Report:
        """Restore what a run overwrote where it is still as it wrote it; with `plan`, only say what that would be."""
        with self._watched("undo") as watch, self._alone() as beat:
            with self.database.read() as connection:
                names = recorded(connection, run_id)
            setup = self.setup()
            kept = [target for target in setup.targets if target.connection in names]
            work = Undo(replace(setup, targets=kept), run_id, self.now(), beat=beat)
            watch.begins(work.report)
            return work.plan() if plan else work.run()

    def pause(self, name: str, reason: str) -> None:
        """Write nothing to a CRM until `resume`."""
        self._written_to(name)
        with self.database.write() as connection:
            pauses.pause(connection, Pause(name, "asked", reason, microseconds(self.now())))

    def resume(self, name: str) -> bool:
        """End a pause, a source's too; whether there was one."""
        if name not in self.config.connections:
            raise ConfigError(f"there is no connection {name!r}; {did_you_mean(name, self.config.connections)}")
        with self.database.write() as connection:
            return pauses.lift(connection, name)

    def _written_to(self, name: str) -> None:
        known = {sync.to for sync in self.config.syncs}
        if name not in known:
            raise ConfigError(f"no sync writes to {name!r}; {did_you_mean(name, known)}")

    def due(self) -> Due:
        """What the clock says of every sync that has a schedule."""
        return look(self.database, self.timetable, _wall_clock())

    @cached_property
    def timetable(self) -> dict[str, Times]:
        """Sync → its times, for those that have a schedule."""
        return timetable(self.config)

    def _watched(self, command: str, sync: str | None = None, *, whole: bool = True) -> Watch:
        """What happens inside is logged and traced as this command, and counted and told afterwards."""
        return Watch(
            command,
            lambda: self.database,
            self.config,
            self._connectors,
            clock=self.now,
            notify=lambda: self.notify,
            sync=sync,
            whole=whole,
        )

    @cached_property
    def notify(self) -> Notify | None:
        """Tells people; None when `alerts` names nobody. ConfigError when one of its addresses cannot be used."""
        if self._notify is not None:
            return self._notify
        given, problems = self.loaded.document.resolve(("alerts",))
        if problems:  # whoever uses only some connections is not asked for these variables before
            raise self.loaded.document.error(problems)
        addresses = [SecretStr(address) for address in (given or {}).get("to", ())]
        return by_apprise(addresses) if addresses else None

    @contextmanager
    def _alone(self) -> Iterator[Callable[[], None]]:
        """Be the only run on this store. Call what it yields between two batches: it ends a run that is to stop."""
        with hold(self.database, "run", _wall_clock) as renew:

            def beat() -> None:
                renew()
                self.stop.check()

            yield beat

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
        rules = consent_rules(self.config)
        return explain(self.database, self.program, self.person(person), as_of or self.now(), segment, rules)

    def status(self) -> Status:
        """How everything stands: what ran and runs, what waits, who is needed. Nothing is connected for this."""
        with self.database.read() as connection:
            return status(connection, self.config, self.timetable, self.now(), _wall_clock())

    def recount(
        self, run_id: str, *, connection: str | None = None, outcome: str | None = None, limit: int | None = None
    ) -> Recount:
        """One run (`latest`: the newest) with what became of its rows; those of one CRM, or with one outcome."""
        with self.database.read() as opened:
            return recount(opened, run_id, name=connection, outcome=outcome, limit=limit)

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
        self._written_to(name)
        with hold(self.database, "run", _wall_clock), self.database.write() as connection:
            forget(connection, name)
            descriptions.forget(connection, name)
            rollouts.forget(connection, name)

    def check(self) -> dict[str, Account]:
        """Log in everywhere; the account behind each connection."""
        return {name: self.account(name) for name in self.config.connections}

    def account(self, name: str) -> Account:
        """Log in with one connection; the account behind it."""
        if name not in self.config.connections:
            raise ConfigError(f"there is no connection {name!r}; {did_you_mean(name, self.config.connections)}")
        return self.connector(name).check()

    def preflight(self, only: str | None = None) -> dict[str, str | None]:
        """Every mapping, or those to one CRM, and what tasks and lists need there → why it is parked; None: it is fine.

        Nothing is written, there or here.
        """
        found: dict[str, str | None] = {}
        setup = self.setup()
        for target in setup.targets:
            if only in (None, target.connection):
                checked = inspect(target, setup.sinks[target.connection], self.retry, self.database)
                found |= findings(checked)
                tasks = any(rule.connection == target.connection for rule in setup.rules)
                found |= Needs(setup).everything(checked, tasks=tasks)
        return found

    def accept(self, mapping: str) -> None:
        """Take a mapped field (`Lead.Lead_Score__c`) as it is now; ConfigError if nothing is known of it."""
        object_name, _, field = mapping.partition(".")
        names = {target.connection for target in self.targets()}
        with self.database.write() as connection:
            taken = [name for name in names if descriptions.take_as_it_is(connection, name, object_name, field)]
            known = [
                f"{there}.{item}"
                for name in names
                for there, described in descriptions.descriptions(connection, name).items()
                for item in described.mappings
                if there
            ]
        if not taken:
            raise ConfigError(f"--accept: no run has seen a mapping {mapping!r}; {did_you_mean(mapping, known)}")

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


def _command(sync: str | None, person: str | None) -> str:
    """How this run is asked for on the command line."""
    words = ["syncline", "run", *(("--sync", sync) if sync else ()), *(("--person", person) if person else ())]
    return shlex.join(words)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _beside(store: str, folder: Path) -> str:
    """A relative SQLite path counts from the configuration's folder, wherever the command was typed."""
    prefix = "sqlite:///"
    if not store.startswith(prefix):
        return store
    return f"{prefix}{(folder / store.removeprefix(prefix)).resolve()}"
