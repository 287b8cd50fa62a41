"""The code in README.md and docs/ is run, and its configurations are loaded, exactly as they stand there."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from syncline.config import load_all
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.scaffold import write_package
from syncline.host.wiring import kinds, rooms
from syncline.sdk import hookimpl
from syncline.testing.contract import SinkContract, SourceContract

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE_PAGE = ROOT / "docs" / "write-a-source.md"
SINK_PAGE = ROOT / "docs" / "write-a-sink.md"
ENV = {"MAILCHIMP_API_KEY": "0123456789abcdef-us1", "SF_CLIENT_ID": "app", "SF_CLIENT_SECRET": "made up"}
IMPORTED = (SourceContract, SinkContract)
MOST_CLAUSES = {"TestShop": 33, "TestAcmeCrm": 44}
"""Clauses that are neither exempt nor skipped."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def with_blocks(language: str) -> list[Any]:
    return [pytest.param(page, id=name_of(page)) for page in PAGES if blocks(page, language)]


def module(name: str, code: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(code, name, "exec", dont_inherit=True), made.__dict__)  # noqa: S102  # that is what the test is about
    return made


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plugin of README.md, importable as it says."""
    [code] = [code for code in blocks(PAGES[0], "python") if "class AcmeSource" in code]
    made = module("syncline_acme", code)
    monkeypatch.setitem(sys.modules, "syncline_acme", made)
    return made


@pytest.fixture
def acme_crm() -> ModuleType:
    """The sink of docs/write-a-sink.md, every section of it, without its contract test."""
    *code, contract_test = blocks(SINK_PAGE, "python")
    assert "SinkContract" in contract_test
    return module("syncline_acme_crm", "\n".join(code))


@pytest.fixture
def shop_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `syncline new source shop` writes, importable; docs/write-a-source.md builds on its simulator."""
    write_package("source", "shop", tmp_path / "syncline-shop")
    monkeypatch.syspath_prepend(tmp_path / "syncline-shop" / "src")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "syncline_shop"]:
        del sys.modules[name]


@pytest.mark.parametrize("page", with_blocks("python"))
def test_python_blocks_run(
    page: Path,
    make_world: Callable[..., Any],
    shop_package: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One after the other, in a folder with a connectors.yaml; the contract tests among them pass."""
    monkeypatch.chdir(make_world(people=20).folder)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = module("page", "\n".join(blocks(page, "python")))
    cases = [case for case in vars(made).values() if isinstance(case, type) and issubclass(case, IMPORTED)]
    held = [case for case in cases if case not in IMPORTED]
    assert {base for case in held for base in case.__bases__} == set(cases) - set(held), "a kit is shown and not used"
    assert bool(held) is (page in (SOURCE_PAGE, SINK_PAGE))
    for case in held:
        assert passed(case) >= MOST_CLAUSES[case.__name__]


def test_the_readmes_package_installs_with_its_test_and_a_sink_beside_it() -> None:
    """setuptools packs every module of a folder that it is not told about, or refuses when there are several."""
    [text] = [block for block in indented(PAGES[0]) if "[project.entry-points.syncline]" in block]
    assert tomllib.loads(text)["tool"]["setuptools"]["py-modules"] == ["syncline_acme"]


def indented(page: Path) -> list[str]:
    """Blocks by indentation, without it."""
    found = re.findall(r"(?:^(?: {4}.*)?\n)+", page.read_text("utf-8"), re.MULTILINE)
    return [dedent(block) for block in found if block.strip()]


def passed(case: type[Any]) -> int:
    """Run every clause of a contract test; how many there were, without those that skipped themselves."""
    count = 0
    for clause in (name for name in dir(case) if name.startswith("test_")):
        test = case()
        test.setup_method()
        try:
            getattr(test, clause)()
        except pytest.skip.Exception:
            continue
        finally:
            getattr(test, "teardown_method", lambda: None)()
        count += 1
    return count


@pytest.mark.parametrize("page", with_blocks("yaml\n# connectors.yaml"))
def test_configurations_load(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "yaml"):
        if text.startswith("# connectors.yaml"):
            (tmp_path / "connectors.yaml").write_text(text, "utf-8")
            secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "0123456789abcdef-us1")
            with Host.load(tmp_path / "connectors.yaml", env=secrets) as host:
                assert host.config.connections


def test_the_readmes_configuration_is_a_whole_one_and_writes_no_secret_down() -> None:
    [text] = blocks(PAGES[0], "yaml")
    assert "\nsyncs:" in text
    assert "\nactions:" in text
    used = set(re.findall(r"\$\{(\w+)\}", text))
    assert used == set(ENV)
    assert all(f"`{name}`" in PAGES[0].read_text("utf-8") for name in used)


@pytest.mark.parametrize("sink", ["AcmeSink", "AcmeCrm"])
def test_the_documented_source_and_sink_run_the_whole_path(
    sink: str, acme: ModuleType, acme_crm: ModuleType, tmp_path: Path
) -> None:
    """Two pricing visits and an open are read, a record nobody understands waits, two people are written.

    The first sink of the page is enough for that, as it says; and so is the last.
    """
    visit = {"at": 1780000000, "who": "ada@x.example", "did": "visited", "page": "/prezzi"}
    facts = [visit, {**visit, "at": 1780000090}, {**visit, "who": "bo@x.example", "did": "opened"}]
    facts.append({**visit, "did": "sneezed"})
    events = tmp_path / "events.json"
    events.write_text(json.dumps([{**fact, "id": number} for number, fact in enumerate(facts)]))
    empty = {"version": 0, "contacts": {}, "tasks": {}, "lists": {}, "fields": {}}
    (tmp_path / "crm.json").write_text(json.dumps(empty))
    plugin = module("plugin", "")
    plugin.connectors = hookimpl(lambda: [vars(acme_crm)[sink]])  # type: ignore[attr-defined]  # its hook
    with documented_host(acme, plugin, tmp_path) as host:
        report = host.run()
    with documented_host(acme, plugin, tmp_path) as host:
        again = host.run()
    source, written = report.sources["visits"], report.sinks["crm"]
    assert (report.status, source.read, source.stored, source.quarantined) == ("done", 4, 3, 1)
    assert (written.created, written.rejected) == (2, 0)
    assert (again.sinks["crm"].unchanged, again.sinks["crm"].created, again.sinks["crm"].updated) == (2, 0, 0)


def documented_host(acme: object, acme_crm: object, folder: Path) -> Host:
    plugins = Plugins()
    plugins.register(acme, name="acme")
    plugins.register(acme_crm, name="acme-crm")
    config = {
        "version": 1,
        "connections": {
            "visits": {"plugin": "acme", "file": str(folder / "events.json")},
            "crm": {"plugin": "acme-crm", "file": str(folder / "crm.json")},
        },
        "classify": {"page_type": {"pricing": ["*/prezzi*"]}},
        "scores": {"interest": {"model": "comportamentale"}},
        "syncs": [
            {
                "name": "contacts",
                "to": "crm",
                "object": "Contact",
                "match": "Ref",
                "when_missing": "create",
                "first_run": "whole",
                "fields": {
                    "Score": {"from": "score.interest", "owner": "ours"},
                    "Email": {"from": "person.email", "owner": "shared", "policy": "only_if_empty"},
                },
            }
        ],
    }
    path = folder / "connectors.yaml"
    path.write_text(json.dumps(config), "utf-8")
    return Host(load_all(path, env={}, kinds=kinds(plugins), rooms=rooms()), plugins, folder=folder)
