"""Installed connectors are found one package at a time, and a broken one is named."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path
from types import ModuleType

import pytest

from syncline.errors import ConfigError, ContractError
from syncline.host.plugins import GROUP, Plugins
from syncline.sdk import Polls, Sink, Source

HEAD = """
from syncline.sdk import ConnectorConfig, Sink, Source, hookimpl
from syncline.model import Account, Limits

class Config(ConnectorConfig):
    pass

class Good(Source[Config]):
    kind = "{kind}"
    config_model = Config
    streams = ("all",)
    def check(self): return Account("1", "one", {{}})
    def read(self, stream, cursor): yield from ()
    def normalize(self, raw): return []
"""
GOOD = HEAD + "\n@hookimpl\ndef connectors(): return [Good]\n"

Install = Callable[..., list[EntryPoint]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lay out a distribution as pip would: a module, and metadata with one entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))

    hidden: dict[str, ModuleType | None] = {}

    def lay_out(kind: str, code: str, *, package: str = "", entry: str = "") -> list[EntryPoint]:
        package = package or f"syncline-{kind}"
        module = package.replace("-", "_")
        installed = sys.modules.pop(module, None)  # somebody may really have a package of this name
        hidden.setdefault(module, installed)
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{module}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[syncline]\n{entry or kind} = {module}\n")
        importlib.invalidate_caches()
        found = [d for d in distributions(path=[str(tmp_path)]) if d.name == package]
        return list(found[0].entry_points)

    yield lay_out
    for name, installed in hidden.items():
        sys.modules.pop(name, None)
        if installed is not None:
            sys.modules[name] = installed


def test_installed_connectors_are_found_by_kind(install: Install) -> None:
    found = install("acme", GOOD.format(kind="acme"))
    plugins = Plugins.load(["acme"], found=found)
    connector = plugins.connector("acme")
    assert issubclass(connector, Source)
    assert issubclass(connector, Polls)
    assert [(r.kind, r.package, r.version, r.role, r.capabilities) for r in plugins.rows()] == [
        ("acme", "syncline-acme", "1.2", "source", ("read",))
    ]
    assert not plugins.broken


def test_our_own_packages_load_without_a_complaint() -> None:
    """Whatever else is installed beside them."""
    ours = {f"syncline-{folder.name}" for folder in (Path(__file__).parents[3] / "plugins").iterdir()}
    found = [entry for entry in entry_points(group=GROUP) if entry.dist and entry.dist.name in ours]
    plugins = Plugins.load(found=found)
    assert len(plugins.kinds) >= len(ours)
    assert not plugins.broken


def test_an_unknown_kind_lists_the_known_and_what_to_install(install: Install) -> None:
    plugins = Plugins.load(found=install("acme", GOOD.format(kind="acme")))
    with pytest.raises(ConfigError, match=r"'acne'; did you mean 'acme'\? Known: acme.*pip install syncline-acne"):
        plugins.connector("acne")


BROKEN = {
    "import error": ("import no_such_module_at_all", r"ModuleNotFoundError: .*no_such_module_at_all"),
    "syntax error": ("def broken(:", "SyntaxError"),
    "raises anything": ("raise LookupError('whatever')", "LookupError: whatever"),
    "misspelt hook": (HEAD + "\n@hookimpl\ndef conectors(): return [Good]", "'conectors'; did you mean 'connectors'"),
    "unknown argument": (HEAD + "\n@hookimpl\ndef connectors(host): return [Good]", r"connectors.*\n.*\n.*'host'"),
    "hook raises": (HEAD + "\n@hookimpl\ndef connectors(): raise OSError('gone')", "OSError: gone"),
    "not a connector": (HEAD + "\n@hookimpl\ndef connectors(): return [Config]", "neither a Source nor a Sink"),
    "an instance": (HEAD + "\n@hookimpl\ndef connectors(): return ['Good']", "'Good' is neither a Source nor a Sink"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_nobody_configured_is_a_warning(
    install: Install, caplog: pytest.LogCaptureFixture, code: str, said: str
) -> None:
    found = [*install("acme", code.format(kind="acme")), *install("fine", GOOD.format(kind="fine"))]
    with caplog.at_level(logging.WARNING, "syncline.plugins"):
        plugins = Plugins.load(["fine"], found=found)
    assert plugins.kinds == ("fine",)
    [broken] = plugins.broken
    assert (broken.name, broken.package, broken.version) == ("acme", "syncline-acme", "1.2")
    assert "plugin 'acme' (package syncline-acme 1.2) cannot be used" in caplog.text
    assert "acme" not in [name for name, _ in plugins.manager.list_name_plugin()]


@pytest.mark.parametrize(("code", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_that_is_configured_is_an_error_with_its_name(install: Install, code: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)plugin 'acme' \(package syncline-acme 1\.2\) .*{said}") as caught:
        Plugins.load(["acme"], found=install("acme", code.format(kind="acme")))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("package", "entry"),
    [("other-name", "acme"), ("syncline-acme", "main"), ("other-name", "main")],
    ids=["by its entry point", "by its package", "by the kind in its module"],
)
def test_a_broken_plugin_is_recognised_as_the_configured_one(install: Install, package: str, entry: str) -> None:
    code = (HEAD + "\n@hookimpl\ndef conectors(): return [Good]").format(kind="acme")
    with pytest.raises(ConfigError, match=package):
        Plugins.load(["acme"], found=install("acme", code, package=package, entry=entry))


def test_an_unknown_kind_names_the_broken_plugins_too(install: Install) -> None:
    plugins = Plugins.load(found=install("acme", "import no_such_module_at_all"))
    with pytest.raises(ConfigError, match=r"(?s)pip install syncline-crm\n.*'acme' .*no_such_module_at_all"):
        plugins.connector("crm")


def test_two_packages_with_the_same_kind_are_both_named(install: Install) -> None:
    found = [
        *install("acme", GOOD.format(kind="acme")),
        *install("acme", GOOD.format(kind="acme"), package="other-acme"),
    ]
    with pytest.raises(ConfigError, match=r"'acme': syncline-acme 1\.2 and other-acme 1\.2; uninstall one|"
                       r"'acme': other-acme 1\.2 and syncline-acme 1\.2; uninstall one"):  # fmt: skip
        Plugins.load(found=found)


class Bare(Source):  # type: ignore[type-arg]
    kind = "Bare Thing"
    streams = "all"


class BareSink(Sink):  # type: ignore[type-arg]
    kind = "bare"


@pytest.mark.parametrize(
    ("connector", "said"),
    [
        (Bare, ["`kind` is 'Bare Thing'", "`config_model`", "`check`", "`normalize`", "has `read`", "`streams`"]),
        (BareSink, ["`config_model`", "`changes`", "`describe`", "`upsert`", "`limits`"]),
    ],
    ids=["source", "sink"],
)
def test_everything_missing_is_said_at_once(connector: type, said: list[str]) -> None:
    class Plugin:
        pass

    from syncline.sdk import hookimpl

    plugin = Plugin()
    Plugin.connectors = hookimpl(lambda self: [connector])  # type: ignore[attr-defined]
    with pytest.raises(ContractError) as caught:
        Plugins().register(plugin, name="bare")
    assert not [part for part in said if part not in str(caught.value)]


SIMULATED = GOOD + "\n@hookimpl\ndef simulators(): {simulators}\n"


def test_simulators_are_asked_for_only_when_wanted(install: Install) -> None:
    code = SIMULATED.replace("{simulators}", "import no_werkzeug_here")
    plugins = Plugins.load(["acme"], found=install("acme", code.format(kind="acme")))
    assert plugins.connector("acme").kind == "acme"
    assert plugins.simulators() == {}
    assert "no_werkzeug_here" in str(plugins.broken[0])


def test_simulators_come_by_kind(install: Install) -> None:
    code = SIMULATED.replace("{simulators}", "return {{'acme': print}}")
    plugins = Plugins.load(found=install("acme", code.format(kind="acme")))
    assert plugins.simulators() == {"acme": print}


def test_a_simulator_that_cannot_be_called_is_refused(install: Install) -> None:
    code = SIMULATED.replace("{simulators}", "return {{'acme': 3}}")
    plugins = Plugins.load(found=install("acme", code.format(kind="acme")))
    assert plugins.simulators() == {}
    assert "give a function" in str(plugins.broken[0])
