"""What the acceptance tests share."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest


def _install(project: Path, target: Path) -> None:
    """What `pip install --no-deps --target` leaves behind: the package, and metadata with its entry points."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())
    about = declared["project"]
    for package in declared["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(project / package, target / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = target / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in about["dependencies"])
    )
    groups = about["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in entries.items()) for group, entries in groups]
    (metadata / "entry_points.txt").write_text("".join(lines))


@pytest.fixture(scope="session")
def install() -> Callable[[Path, Path], None]:
    """Installs a project into a folder that is put on PYTHONPATH."""
    return _install
