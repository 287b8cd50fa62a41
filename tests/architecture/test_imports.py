"""Imports go one way, the pure rooms stay pure, and the core knows no vendor."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "syncline"
PLUGINS = ROOT / "plugins"

PURE = {"events", "people", "scoring", "segments", "actions"}

# room → the rooms it may import from. `syncline` is the package's own __init__.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "sdk": {"errors", "model"},
    "config": {"errors", "model"},
    "events": {"errors", "model"},
    "people": {"errors", "model"},
    "scoring": {"errors", "model"},
    "segments": {"errors", "model", "scoring"},
    "actions": {"errors", "model", "scoring"},
    "store": {"errors", "model", "scoring", "segments"},
    "engine": {"errors", "model", "scoring", "store"},
    "sync": {"errors", "model", "sdk", *PURE, "store", "engine"},
    "host": {"errors", "model", "sdk", "config", *PURE, "store", "engine", "sync"},
    "server": {"errors", "model", "sdk", "config", *PURE, "store", "engine", "sync", "host"},
    "cli": {"errors", "model", "sdk", "config", *PURE, "store", "engine", "sync", "host", "server", "syncline"},
    "testing": {"errors", "model", "sdk"},
    "syncline": {"errors", "host"},
}

FOR_PLUGINS = {"errors", "model", "sdk"}
FOR_SIMULATORS = FOR_PLUGINS | {"testing"}

IMPURE_LIBRARIES = {
    "adbc_driver_manager", "adbc_driver_sqlite", "aiohttp", "duckdb", "http", "httpx", "os", "psycopg", "random",
    "requests", "socket", "sqlalchemy", "sqlite3", "subprocess", "time", "urllib3",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today"}

VENDORS = re.compile("mailchimp|mailpoet|unbounce|instapage|salesforce|hubspot|zoho", re.IGNORECASE)


@dataclass(frozen=True)
class Import:
    path: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(path, node.lineno, module) for module in _modules(path, node))


def _modules(path: Path, node: ast.ImportFrom) -> list[str]:
    assert not node.level, f"{path.relative_to(ROOT)}:{node.lineno}: import by the full name"
    if node.module == "syncline":  # `from syncline import store` imports a room
        return [f"syncline.{alias.name}" for alias in node.names]
    return [node.module or ""]


def room_of(module: str) -> str | None:
    """`syncline.store.schema` → `store`; None for what is not ours. A name from `syncline` itself is `syncline`."""
    first, _, rest = module.partition(".")
    if first != "syncline":
        return None
    name = rest.partition(".")[0]
    return name if name in ALLOWED else "syncline"


def modules_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def room_at(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return "syncline" if parts == ("__init__",) else parts[0]


def plugin_modules() -> list[Path]:
    return [path for folder in sorted(PLUGINS.glob("*/src")) for path in modules_in(folder)]


def test_every_room_is_in_the_table() -> None:
    rooms = {room_at(path) for path in modules_in(SOURCE)}
    assert rooms - set(ALLOWED) == set()


def test_the_table_has_no_circle() -> None:
    left = {room: set(allowed) for room, allowed in ALLOWED.items() if room not in ("syncline", "cli")}
    while left:
        free = {room for room, allowed in left.items() if not allowed & set(left)}
        assert free, f"in a circle: {sorted(left)}"
        left = {room: allowed for room, allowed in left.items() if room not in free}


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_only_what_lies_below_them(room: str) -> None:
    wrong = [
        str(found)
        for path in modules_in(SOURCE)
        if room_at(path) == room
        for found in imports_of(path)
        if (target := room_of(found.module)) is not None and target != room and target not in ALLOWED[room]
    ]
    assert not wrong, f"{room} may import {sorted(ALLOWED[room])}"


def test_the_core_imports_no_plugin() -> None:
    found = [str(found) for path in modules_in(SOURCE) for found in imports_of(path)]
    assert not [line for line in found if re.search(r"imports syncline_\w+", line)]


def test_plugins_import_only_the_contract() -> None:
    wrong = [
        str(found)
        for path in plugin_modules()
        for found in imports_of(path)
        if (target := room_of(found.module)) is not None
        and target not in (FOR_SIMULATORS if _is_simulator(path) else FOR_PLUGINS)
    ]
    assert not wrong, f"plugins may import {sorted(FOR_PLUGINS)}; their simulator.py also testing"


def _is_simulator(path: Path) -> bool:
    """`simulator.py`, `simulated….py`, and what lies in a folder `simulator`."""
    return path.stem.startswith("simulat") or path.parent.name == "simulator"


def test_plugins_do_not_import_each_other() -> None:
    wrong = []
    for path in plugin_modules():
        own = path.relative_to(PLUGINS).parts[2]
        tops = {found: found.module.partition(".")[0] for found in imports_of(path)}
        wrong += [str(found) for found, top in tops.items() if top.startswith("syncline_") and top != own]
    assert not wrong


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_know_neither_clock_nor_store_nor_network(room: str) -> None:
    wrong = []
    for path in modules_in(SOURCE / room):
        wrong += [str(f) for f in imports_of(path) if f.module.partition(".")[0] in IMPURE_LIBRARIES]
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} asks the clock: {ast.unparse(node)}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_CALLS
        ]
    assert not wrong


def test_public_modules_say_what_is_public() -> None:
    modules = [*modules_in(SOURCE), *plugin_modules()]
    silent = [str(path.relative_to(ROOT)) for path in modules if not _is_private(path) and not _says_all(path)]
    assert not silent, "no __all__"


def _is_private(path: Path) -> bool:
    return any(part.startswith("_") and part not in ("__init__.py",) for part in path.relative_to(ROOT).parts)


def _says_all(path: Path) -> bool:
    """Whether `__all__` is there, or there is nothing to say: a docstring and dunder names."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if any("__all__" in _assigned(node) for node in body):
        return True
    return all(isinstance(n, ast.Expr) or any(name.startswith("__") for name in _assigned(n)) for n in body)


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_the_core_knows_no_vendor() -> None:
    texts = (p for p in sorted(SOURCE.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if VENDORS.search(line) or VENDORS.search(path.name)
    ]
    assert not named, "a vendor's name belongs into its plugin"


# The rules themselves


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import syncline.store.schema", ["store"]),
        ("from syncline.host import Host", ["host"]),
        ("from syncline import testing, __version__", ["testing", "syncline"]),
        ("def f():\n    from syncline.sdk.http import Http", ["sdk"]),
        ("if TYPE_CHECKING:\n    import syncline.cli", ["cli"]),
        ("import syncline_acme, requests", [None, None]),
    ],
)
def test_no_import_escapes_the_walk(tmp_path: Path, code: str, found: list[str | None]) -> None:
    path = tmp_path / "module.py"
    path.write_text(code)
    assert [room_of(one.module) for one in imports_of(path)] == found
