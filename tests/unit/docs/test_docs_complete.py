"""What there is, is documented: commands, hooks, the contract, errors, the report, rooms and tables."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel

from syncline import errors
from syncline.cli import main
from syncline.host.plugins import Plugins
from syncline.model import Limits
from syncline.sdk import (
    Connector,
    Context,
    CreatesTasks,
    KeepsSegments,
    Polls,
    Prepares,
    Receives,
    Simulator,
    SimulatorOptions,
    Sink,
    Source,
    WebhookRequest,
    hookspecs,
)
from syncline.store import schema
from syncline.sync.report import Report
from syncline.testing.contract import SinkContract, SourceContract
from syncline.testing.simulator import Fault, FaultKind, VendorSimulator

ROOT = Path(__file__).parents[3]


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """`runs`, and `runs show` below it."""
    for name, command in group.commands.items():
        yield f"{before}{name}", command
        yield from _commands(command, f"{before}{name} ") if hasattr(command, "commands") else ()


COMMANDS: dict[str, Any] = dict(_commands(typer.main.get_command(main.app)))
EVERYWHERE = {"--config", "--help"}
WORDS_FOR = {"expiry": "`expire_sessions()`", "quota": "`over_quota()`"}
EXIT_CODES = [value for name, value in vars(main).items() if name.startswith("EXIT_")]
PROTOCOLS = (Connector, Source, Sink, Polls, Receives, CreatesTasks, KeepsSegments, Prepares)


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def rows(text: str) -> dict[str, str]:
    """First cell → the whole row, for every table; the code in the cell stands without its backticks."""
    found = (line for line in text.splitlines() if line.startswith("| "))
    return {line.split("|")[1].strip().replace("`", ""): line for line in found}


def section(text: str, heading: str) -> str:
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


OPERATING, CONTRACT, JSON, ARCHITECTURE = map(
    page, ("docs/operating.md", "docs/contract.md", "docs/json.md", "docs/architecture.md")
)


# Commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    documented = {_command(key): row for key, row in rows(OPERATING).items() if key.startswith("syncline ")}
    there = {option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")}
    row = documented[name]
    assert there - EVERYWHERE <= set(re.findall(r"--[\w-]+", row)) <= there
    assert name.split()[0] in page("CHANGELOG.md")


def _command(key: str) -> str:
    """`syncline runs show ID` → `runs show`."""
    words = key.split()[1:]
    return " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]


def test_no_documented_command_is_made_up() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    used = {word for path in pages for word in re.findall(r"`syncline ([a-z][\w-]*)", path.read_text("utf-8"))}
    assert used <= set(COMMANDS)


@pytest.mark.parametrize("option", ["--config", "--verbose", "--version", "--log-format", "`-c`", "`-v`"])
def test_options_of_every_command_are_documented(option: str) -> None:
    assert option in OPERATING


@pytest.mark.parametrize("code", [0, *EXIT_CODES])
def test_every_exit_code_is_documented(code: int) -> None:
    assert str(code) in rows(OPERATING)
    assert str(code) in rows(page("README.md"))


def test_every_status_of_a_run_is_documented() -> None:
    table = section(OPERATING, "## Exit codes and statuses")
    for status in get_args(Report.model_fields["status"].annotation):
        assert f"`{status}`" in table
        assert f"`{status}`" in rows(JSON.partition("\n## ")[0])["status"]
        code = Report(status=status).exit_code
        assert f"`{status}`" in rows(table)[str(code)]


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_every_fault_is_documented(kind: str) -> None:
    assert kind in rows(OPERATING)


# The connector contract


def test_every_hook_is_documented() -> None:
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, "syncline_spec")}
    assert hooks
    assert hooks <= set(rows(CONTRACT))


def _methods() -> Iterator[str]:
    for kind in PROTOCOLS:
        for name, value in vars(kind).items():
            if inspect.isfunction(value) and not name.startswith("_"):
                given = list(inspect.signature(value).parameters)[1:]
                yield f"{name}({', '.join(given)})"


@pytest.mark.parametrize("signature", sorted(set(_methods())))
def test_every_method_of_the_contract_is_documented(signature: str) -> None:
    assert signature in rows(CONTRACT)


def test_what_the_host_gives_is_documented() -> None:
    assert set(Context.__dataclass_fields__) <= set(rows(CONTRACT))


def test_what_a_webhook_request_holds_is_documented() -> None:
    text = section(CONTRACT, "## Webhooks")
    assert all(f"`{name}`" in text for name in WebhookRequest.__dataclass_fields__)


def test_every_limit_is_documented_and_none_is_made_up() -> None:
    cells = section(CONTRACT, "## The methods").partition("| of `limits` |")[2]
    named = {name.strip("` ") for key in rows(cells) for name in key.split(",") if not name.startswith("-")}
    assert named == set(Limits.__dataclass_fields__)


def test_every_field_of_a_fault_is_documented_and_none_is_made_up() -> None:
    cells = section(CONTRACT, "## Simulators").partition("### The fault language\n")[2].partition("\n| give |")[0]
    named = {name.strip() for key in rows(cells) for name in key.split(",")}
    assert named - {"field", "---"} == set(Fault.__dataclass_fields__)


def test_what_a_vendors_simulator_may_say_in_its_own_words_is_documented() -> None:
    for name in ("too_many", "over_quota", "expire_sessions", "trouble_with"):
        assert callable(getattr(VendorSimulator, name))
        assert f"{name}(" in section(CONTRACT, "## Simulators")


def test_every_clause_has_a_faulty_connector() -> None:
    """docs/contract.md says where they are: each clause is named where they are held against the kit."""
    path = re.search(r"`(tests/contract/test_\w+\.py)`", CONTRACT)
    assert path is not None
    clauses = {name for kit in (SourceContract, SinkContract) for name in dir(kit) if name.startswith("test_")}
    assert {clause for clause in clauses if f'"{clause}"' not in page(path[1])} == set()


@pytest.mark.parametrize("option", ["cassette", "cassette_folder", "--record-cassettes", "--update-formats"])
def test_what_the_pytest_plugin_brings_is_documented(option: str) -> None:
    assert f"`{option}`" in section(CONTRACT, "## The contract kit")


@pytest.mark.parametrize("name", ["record", "drift"])
def test_recordings_are_explained(name: str) -> None:
    assert {"record": "make record VENDOR=", "drift": "syncline drift "}[name] in page("docs/recordings.md")


@pytest.mark.parametrize("name", get_args(FaultKind))
def test_every_fault_is_named_in_the_fault_language(name: str) -> None:
    """Those that a simulator has to put into its vendor's words are told apart from the others."""
    assert f"`{name}`" in CONTRACT or f"`{name}(" in CONTRACT or WORDS_FOR.get(name, "") in CONTRACT


def test_simulators_are_documented() -> None:
    options = set(inspect.signature(SimulatorOptions.__init__).parameters) - {"self"}
    members = {name for name in vars(Simulator) if not name.startswith("_")} | {"name"}
    assert all(f"`{word}`" in CONTRACT for word in options | members)


def test_every_clause_is_documented_and_none_is_made_up() -> None:
    clauses = {name for kit in (SourceContract, SinkContract) for name in dir(kit) if name.startswith("test_")}
    assert set(re.findall(r"\btest_\w+\b(?!\.py)", CONTRACT)) == clauses


def test_what_the_kits_ask_for_is_documented() -> None:
    kits = {name for kit in (SourceContract, SinkContract) for base in kit.__mro__[:-1] for name in vars(base)}
    asked = {name for name in kits if not name.startswith(("_", "test_"))}
    assert all(f"`{name}`" in CONTRACT or f"{name} = " in CONTRACT for name in asked), asked


def test_every_error_is_documented() -> None:
    names = {name for name in errors.__all__ if inspect.isclass(getattr(errors, name)) and name.endswith("Error")}
    assert names <= set(rows(CONTRACT))


@pytest.mark.parametrize("folder", [pytest.param(f, id=f.name) for f in sorted((ROOT / "plugins").iterdir())])
def test_every_setting_of_a_plugin_is_in_its_readme(folder: Path) -> None:
    plugins = Plugins.load()
    kinds = [row.kind for row in plugins.rows() if row.package == f"syncline-{folder.name}"]
    assert kinds
    text = (folder / "README.md").read_text("utf-8")
    settings = {name for kind in kinds for name in plugins.connector(kind).config_model.model_fields}
    assert {name for name in settings - {"plugin"} if f"`{name}`" not in text} == set()


# The report


def _keys(annotation: Any, path: str) -> Iterator[str]:
    """Every key below a type, as docs/json.md writes it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            key = f"{path}.{name}".lstrip(".")
            yield key
            yield from _keys(field.annotation, key)
    elif origin is dict:
        inner = arguments[1]
        if not (inspect.isclass(inner) and issubclass(inner, BaseModel)):
            yield f"{path}.NAME"
        yield from _keys(inner, f"{path}.NAME")
    elif origin is list:
        yield from _keys(arguments[0], f"{path}[]")
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _keys(argument, path)


def test_every_key_of_the_report_is_documented_and_none_is_made_up() -> None:
    table = JSON.partition("\n## ")[0]
    assert set(rows(table)) - {"key"} == set(_keys(Report, ""))


def test_every_word_a_change_may_be_is_documented() -> None:
    change = Report.model_fields["sinks"].annotation.__args__[1].model_fields["changes"].annotation.__args__[0]
    operation = change.model_fields["operation"].annotation
    assert get_origin(operation) is Literal
    assert all(f"`{word}`" in rows(JSON)["sinks.NAME.changes[].operation"] for word in get_args(operation))


def test_every_key_of_an_explanation_is_documented(make_world: Callable[..., Any]) -> None:
    text = section(JSON, "## `syncline explain --json`")
    host = make_world(people=20).host()
    host.prepare("crm")
    host.run()
    address = next(iter(host.scores("interesse")))[0]
    found = host.explain(address, segment="lead_caldo").to_json()
    score = found["scores"]["interesse"]
    below = [score, score["contributions"][0], *found["crm"][:1], found["why"]]
    events = [event for line in score["contributions"] for event in line["events"]]
    named = set(rows(text)) | set(re.findall(r"`(\w+)`", text)) | {key.rpartition(".")[2] for key in rows(text)}
    assert set(found) <= set(rows(text))
    assert {key for part in (*below, *events) for key in part} <= named


# How it is built


def _allowed() -> dict[str, set[str]]:
    """The table that tests/architecture holds against the code."""
    path = ROOT / "tests" / "architecture" / "test_imports.py"
    spec = importlib.util.spec_from_file_location("architecture_of_docs", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    # its dataclasses look themselves up
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.sys.modules, spec.name, made)  # type: ignore[attr-defined]
        spec.loader.exec_module(made)
    return dict(made.ALLOWED)


def _documented(room: str) -> set[str]:
    cell = rows(section(ARCHITECTURE, "## Rooms"))[room].split("|")[3]
    others = re.findall(r"those of `(\w+)`", cell)
    own = set(re.findall(r"`(\w+)`", re.sub(r"those of `\w+`", "", cell)))
    return own.union(*(_documented(other) for other in others))


def test_rooms_may_import_what_the_page_says() -> None:
    allowed = _allowed()
    assert {room: _documented(room) for room in allowed} == allowed


def test_every_table_of_the_store_is_documented() -> None:
    text = section(ARCHITECTURE, "## The state database")
    named = {name for key in rows(text) for name in key.split(", ")}
    assert named - {"table"} == set(schema.metadata.tables)
