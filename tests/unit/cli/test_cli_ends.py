"""How the program ends when something ends it: each as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from syncline.cli import main
from syncline.errors import StoreError

def load(*_, **__):
    raise {error}

main.Host.load = load
main.main()
"""


def ends(error: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`syncline run` in which this happens."""
    command = [sys.executable, "-c", PROGRAM.format(error=error), "run"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_an_interruption_is_one_line(tmp_path: Path) -> None:
    said = ends("KeyboardInterrupt", tmp_path)
    assert (said.returncode, said.stdout) == (130, "")
    assert said.stderr == "interrupted; what was done so far is recorded, the next run goes on from there\n"


def test_a_store_that_cannot_go_on_is_a_sentence(tmp_path: Path) -> None:
    said = ends("StoreError('the store is full')", tmp_path)
    assert (said.returncode, said.stdout, said.stderr) == (2, "", "the store is full\n")


def test_what_nobody_expected_is_our_bug_with_its_traceback(tmp_path: Path) -> None:
    said = ends("ZeroDivisionError('by zero')", tmp_path)
    assert (said.returncode, said.stdout) == (70, "")
    assert "this is a bug of syncline" in said.stderr
    assert "Traceback" in said.stderr
    assert "ZeroDivisionError: by zero" in said.stderr
