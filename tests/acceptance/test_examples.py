"""The examples on real data, by their own scripts: everyone is scored, written to the CRM, and the bands order.

The outcomes are not ours: what CDNOW's customers bought in the 39 weeks after 1997-09-30 (Fader and Hardie), and which
sessions of the Online Shoppers set ended in a purchase (Sakar and Kastro, CC BY 4.0).
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("example", "people", "columns"), [("cdnow", 2357, (2, 3)), ("online_shoppers", 12_324, (2,))])
def test_bands_order_by_what_happened_afterwards(
    example: str, people: int, columns: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tmp_path / example
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns(".syncline"))
    command = [sys.executable, str(folder / "lift.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, _, *bands = done.stdout.splitlines()
    created, calls = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:created|calls)", said))
    assert created == people
    assert calls == math.ceil(people / 200)
    rows = [line.split() for line in bands if line.split()[0] in ("high", "medium", "low")]
    assert len(rows) == 3
    for column in columns:
        outcomes = [float(row[column].rstrip("%")) for row in rows]
        assert all(first > second for first, second in pairwise(outcomes)), done.stdout
