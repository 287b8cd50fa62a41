"""Finds the installed connectors, one package at a time, and says in plain words which one is broken.

A package announces itself through the entry point group `syncline`. A broken one that nobody configured is a warning
and can be looked up in `Plugins.broken`; a configured one is a ConfigError.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal

import pluggy

from syncline.errors import ConfigError, ContractError, did_you_mean
from syncline.model import Limits
from syncline.sdk import Connector, ConnectorConfig, Simulator, SimulatorOptions, Sink, Source, capabilities, hookspecs

__all__ = ["GROUP", "BrokenPlugin", "PluginRow", "Plugins", "Role", "SimulatorFactory"]

GROUP: Final = "syncline"
Role = Literal["source", "sink", "source, sink"]
SimulatorFactory = Callable[[SimulatorOptions], Simulator]

_log = logging.getLogger("syncline.plugins")
_KIND: Final = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A package that was found and could not be used."""

    name: str
    package: str
    version: str
    error: Exception

    def __str__(self) -> str:
        reason = f"{type(self.error).__name__}: {self.error}"
        return f"plugin {self.name!r} (package {self.package} {self.version}) cannot be used: {reason}"


@dataclass(frozen=True, slots=True)
class PluginRow:
    """One connector, as `syncline plugins` lists it."""

    kind: str
    package: str
    version: str
    role: Role
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Package:
    """Where a plugin comes from. `name` is its entry point's."""

    name: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


class Plugins:
    """The connectors at hand, by kind."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("syncline")
        self.manager.add_hookspecs(hookspecs)
        self._connectors: dict[str, type[Connector[Any]]] = {}
        self._origin: dict[str, _Package] = {}
        self._packages: list[tuple[_Package, object]] = []
        self._broken: list[BrokenPlugin] = []
        self._simulators: dict[str, SimulatorFactory] | None = None

    @classmethod
    def load(cls, configured_kinds: Collection[str] = (), *, found: Iterable[EntryPoint] | None = None) -> Plugins:
        """Every installed plugin (or those in `found`).

        ConfigError when one that provides a configured kind is broken, or when two packages provide the same kind.
        """
        plugins = cls()
        entries = entry_points(group=GROUP) if found is None else found
        for entry in sorted(entries, key=lambda entry: (entry.name, entry.value)):
            plugins._load_one(entry, configured_kinds)
        return plugins

    def register(self, plugin: object, *, name: str, package: str = "", version: str = "0") -> None:
        """Add a plugin that is at hand (a module, or any object with hooks): what `load` does for an entry point.

        ContractError when its hooks or connectors are not what the contract says; it is then not registered.
        """
        origin = _Package(name, package or name, version)
        self._keep(plugin, origin, self._admit(plugin, origin))

    @property
    def broken(self) -> Sequence[BrokenPlugin]:
        """What was found and could not be used."""
        return tuple(self._broken)

    @property
    def kinds(self) -> Sequence[str]:
        return tuple(sorted(self._connectors))

    def connector(self, kind: str) -> type[Connector[Any]]:
        """The class of this kind; ConfigError lists the known kinds, nearest first, and what could be installed."""
        if kind in self._connectors:
            return self._connectors[kind]
        known = did_you_mean(kind, self._connectors) if self._connectors else "no plugin is installed"
        broken = "".join(f"\n{plugin}" for plugin in self._broken)
        raise ConfigError(
            f"no plugin provides {kind!r}; {known}. If it is a package of its own: pip install syncline-{kind}{broken}"
        )

    def rows(self) -> Sequence[PluginRow]:
        """Every connector, by kind."""
        return [
            PluginRow(kind, origin.package, origin.version, _role(connector), capabilities(connector))
            for kind, connector in sorted(self._connectors.items())
            for origin in [self._origin[kind]]
        ]

    def simulators(self) -> Mapping[str, SimulatorFactory]:
        """Kind → a function that makes its simulator. Asked for only here: simulators need more installed packages.

        A plugin whose simulators cannot be had is a warning, and is among `broken`.
        """
        if self._simulators is None:
            self._simulators = {}
            for origin, plugin in self._packages:
                try:
                    self._simulators.update(self._simulators_of(plugin))
                except Exception as error:  # noqa: BLE001  # a plugin may raise anything at all
                    self._note(BrokenPlugin(origin.name, origin.package, origin.version, error))
        return self._simulators

    def _load_one(self, entry: EntryPoint, configured_kinds: Collection[str]) -> None:
        origin = _Package(entry.name, *((entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")))
        plugin: object = None
        try:
            plugin = entry.load()
            connectors = self._admit(plugin, origin)
        except Exception as error:  # a plugin's import may raise anything at all
            broken = BrokenPlugin(origin.name, origin.package, origin.version, error)
            if not _provided_kinds(origin, plugin).isdisjoint(configured_kinds):
                raise ConfigError(f"{broken}. Repair it, or: pip uninstall {origin.package}") from error
            self._note(broken)
        else:
            self._keep(plugin, origin, connectors)

    def _admit(self, plugin: object, origin: _Package) -> list[type[Connector[Any]]]:
        """The connectors of a plugin that keeps the contract; another is not registered, and raises."""
        self.manager.register(plugin, name=f"{origin.name} of {origin.package}")
        try:
            self._refuse_unknown_hooks(plugin)
            connectors = [connector for answer in self._ask("connectors", plugin) for connector in answer]
            for connector in connectors:
                _check_contract(connector)
        except BaseException:
            self.manager.unregister(plugin)
            raise
        return connectors

    def _keep(self, plugin: object, origin: _Package, connectors: Iterable[type[Connector[Any]]]) -> None:
        for connector in connectors:
            if connector.kind in self._connectors:
                both = f"{self._origin[connector.kind]} and {origin}"
                raise ConfigError(f"two packages provide {connector.kind!r}: {both}; uninstall one of them")
            self._connectors[connector.kind] = connector
            self._origin[connector.kind] = origin
        self._packages.append((origin, plugin))
        self._simulators = None

    def _note(self, broken: BrokenPlugin) -> None:
        _log.warning("%s", broken)
        self._broken.append(broken)

    def _refuse_unknown_hooks(self, plugin: object) -> None:
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            callers = self.manager.get_hookcallers(plugin) or []
            unknown = next(caller.name for caller in callers if not caller.has_spec())
            known = did_you_mean(unknown, ["connectors", "simulators"])
            raise ContractError(f"there is no hook {unknown!r}; {known}") from error

    def _simulators_of(self, plugin: object) -> dict[str, SimulatorFactory]:
        made = {kind: factory for answer in self._ask("simulators", plugin) for kind, factory in answer.items()}
        for kind, factory in made.items():
            if not callable(factory):
                raise ContractError(f"the simulator of {kind!r} is {factory!r}; give a function of SimulatorOptions")
        return made

    def _ask(self, hook: str, plugin: object) -> list[Any]:
        """The answers of this one plugin, so that another's mistake is never taken for its."""
        others = [other for other in self.manager.get_plugins() if other is not plugin]
        return list(self.manager.subset_hook_caller(hook, others)())


def _provided_kinds(origin: _Package, plugin: object) -> set[str]:
    """What a broken plugin would have provided; its names are what there is to go by."""
    package = origin.package.replace("_", "-").lower()
    return {origin.name, package.removeprefix("syncline-"), *_declared_kinds(plugin)}


def _declared_kinds(plugin: object) -> set[str]:
    """The kinds of the connector classes a broken plugin has imported or defined."""
    values = list(vars(plugin).values()) if hasattr(plugin, "__dict__") else []
    kinds = {getattr(value, "kind", None) for value in values if inspect.isclass(value)}
    return {kind for kind in kinds if isinstance(kind, str)}


def _role(connector: type[Connector[Any]]) -> Role:
    if issubclass(connector, Source) and issubclass(connector, Sink):
        return "source, sink"
    return "source" if issubclass(connector, Source) else "sink"


def _check_contract(connector: object) -> None:
    """ContractError with everything that is missing, for a class the host could not use."""
    if not inspect.isclass(connector) or not issubclass(connector, Source | Sink):
        raise ContractError(f"{connector!r} is neither a Source nor a Sink; `connectors` returns such classes")
    if missing := list(_missing(connector)):
        raise ContractError(f"{connector.__name__}: " + "; ".join(missing))


def _missing(connector: type[Source[Any]] | type[Sink[Any]]) -> Iterable[str]:
    kind = getattr(connector, "kind", None)
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        yield f"`kind` is {kind!r}; give lower-case letters, digits, - and _"
    model = getattr(connector, "config_model", None)
    if not inspect.isclass(model) or not issubclass(model, ConnectorConfig):
        yield "`config_model` is not set to a subclass of ConnectorConfig"
    for name in sorted(connector.__abstractmethods__):
        yield f"`{name}` is not implemented"
    if issubclass(connector, Source):
        yield from _missing_of_source(connector)
    if issubclass(connector, Sink):
        yield from _missing_of_sink(connector)


def _missing_of_source(connector: type[Source[Any]]) -> Iterable[str]:
    if not {"read", "receive"} & set(capabilities(connector)):
        yield "a source has `read`, `receive`, or both"
    streams = getattr(connector, "streams", None)
    if not streams or isinstance(streams, str):
        yield "`streams` does not list what the source offers"


def _missing_of_sink(connector: type[Sink[Any]]) -> Iterable[str]:
    if not isinstance(getattr(connector, "limits", None), Limits):
        yield "`limits` is not set"
