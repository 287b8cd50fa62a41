"""The short form of `make reliability`: the same functions, small sizes, one test a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # the suite is a folder beside the package, not part of it

from reliability.lines import Line, Promise  # noqa: E402  # found only now
from reliability.suite import lines  # noqa: E402

SEED = int(os.environ.get("SYNCLINE_RELIABILITY_SEED", "20260601"))


@pytest.fixture
def hold(tmp_path: Path) -> Callable[..., list[Line]]:
    """Check a promise in its small size; every line of it must hold."""

    def check(promise: Promise, crm: str, store: str = "sqlite", **knobs: int) -> list[Line]:
        found = lines(promise, crm, store, {**promise.SMALL, **knobs}, SEED, tmp_path)
        assert found
        for line in found:
            where = f"{line.promise} for {line.sink} on {line.store}, seed {SEED}:"
            assert line.holds, "\n".join((where, *line.trouble))
        return found

    return check
