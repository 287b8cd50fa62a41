"""Connections that are simulated: whose time they live in, and how their settings are completed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from syncline.config import load_all
from syncline.errors import ConfigError
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds
from syncline.model import Account, Event, Page, RawRecord
from syncline.sdk import ConnectorConfig, SimulatorOptions, Source, hookimpl

DEFAULT = datetime(2026, 6, 1, 8, tzinfo=UTC)
LONG_AGO = datetime(1997, 9, 30, tzinfo=UTC)


class TillConfig(ConnectorConfig):
    address: str
    shop: str
    size: int = Field(ge=1)


class Till(Source[TillConfig]):
    kind = "till"
    config_model = TillConfig
    streams = ("sales",)

    def check(self) -> Account:
        return Account("till", self.config.shop)

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        yield Page((), cursor)

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        yield from ()


class TillSimulator:
    name = "till"
    settings: Mapping[str, Any] = {"plugin": "till", "address": "here", "shop": "simulated", "size": 3}

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def counters(self) -> Mapping[str, int]:
        return {}


class TillPlugin:
    @hookimpl
    def connectors(self) -> Sequence[type[Any]]:
        return [Till]

    @hookimpl
    def simulators(self) -> Mapping[str, Any]:
        return {"till": TillSimulator}


REAL = "  real: {plugin: till, address: there, shop: real, size: 1}\n"
SIMULATED = "  played: {plugin: till, simulated: true}\n"


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """A host for these connections, with another beginning of the file, and other options."""
    hosts = []

    def make(connections: str, top: str = "", env: Mapping[str, str] | None = None, **options: Any) -> Host:
        path = tmp_path / "connectors.yaml"
        path.write_text(f"version: 1\n{top}connections:\n{connections}", "utf-8")
        plugins = Plugins()
        plugins.register(TillPlugin(), name="till")
        loaded = load_all(path, env=env or {}, kinds=kinds(plugins))
        hosts.append(Host(loaded, plugins, folder=tmp_path, **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


def is_now(moment: datetime) -> bool:
    return abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def clock_of(host: Host, name: str) -> datetime:
    return host.connector(name).context.clock()


def test_where_all_is_simulated_the_simulated_present_holds(make_host: Callable[..., Host]) -> None:
    host = make_host(SIMULATED)
    assert host.now() == clock_of(host, "played") == DEFAULT


def test_a_simulated_connection_does_not_stop_the_clock_of_a_real_one(make_host: Callable[..., Host]) -> None:
    host = make_host(SIMULATED + REAL)
    assert is_now(host.now())
    assert is_now(clock_of(host, "real"))
    assert clock_of(host, "played") == DEFAULT
    simulator: Any = host.simulation.running["played"]
    assert simulator.options.clock == DEFAULT.isoformat()


def test_a_clock_that_is_written_down_holds_for_all(make_host: Callable[..., Host]) -> None:
    host = make_host(SIMULATED + REAL, f'simulation: {{clock: "{LONG_AGO.isoformat()}"}}\n')
    assert host.now() == clock_of(host, "real") == clock_of(host, "played") == LONG_AGO


def test_a_clock_left_over_from_a_trial_moves_nothing_real(make_host: Callable[..., Host]) -> None:
    host = make_host(REAL, f'simulation: {{clock: "{LONG_AGO.isoformat()}"}}\n')
    assert is_now(host.now())
    assert is_now(clock_of(host, "real"))


def test_a_clock_handed_in_holds_everywhere(make_host: Callable[..., Host]) -> None:
    host = make_host(SIMULATED + REAL, clock=lambda: LONG_AGO)
    assert host.now() == clock_of(host, "real") == clock_of(host, "played") == LONG_AGO


def test_the_file_comes_before_the_simulator_with_its_variables_filled_in(make_host: Callable[..., Host]) -> None:
    host = make_host('  played: {plugin: till, simulated: true, shop: "${SHOP}"}\n', env={"SHOP": "corner"})
    config = host.connector("played").config
    assert (config.address, config.shop, config.size) == ("here", "corner", 3)


def test_settings_that_do_not_go_with_the_simulators_are_told_with_their_line(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(SIMULATED)
    monkeypatch.setattr(TillSimulator, "settings", {"plugin": "till", "address": "here", "size": 0})
    with pytest.raises(ConfigError) as caught:
        host.connector("played")
    lines = str(caught.value).splitlines()
    assert [line.partition("connectors.yaml:")[2] for line in lines] == [
        "3: connections.played.shop: missing, but required",
        "3: connections.played.size: must be at least 1",
    ]
