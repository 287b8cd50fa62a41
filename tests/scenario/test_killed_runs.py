"""A run killed anywhere, then run again: nobody lost, nobody doubled, and the CRM as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from syncline.host import Host
from syncline.testing.population import simulated_now

PEOPLE = 60
OWN_IDS = {"Id", "Syncline_Key__c", "SystemModstamp", "CreatedDate", "LastModifiedDate", "attributes", "Name"}

RUN = """
import sys, os
from datetime import datetime
from syncline.host import Host
clock = datetime.fromisoformat(sys.argv[2])
with Host.load(sys.argv[1], clock=lambda: clock) as host:
    print("ready", flush=True)
    sys.exit(host.run().exit_code)
"""


@dataclass(frozen=True)
class Kill:
    """When to strike: `after` seconds into the run, or at the `call`-th call to the CRM, answered or not."""

    after: float | None = None
    call: int | None = None
    answered: bool = False

    def __str__(self) -> str:
        if self.after is not None:
            return f"{self.after:.3f} s into the run"
        return f"at call {self.call} to the CRM, {'processed' if self.answered else 'not processed'}"


def kills(count: int, seed: int) -> list[Kill]:
    chance = random.Random(seed)
    by_time = [Kill(after=chance.uniform(0, 3)) for _ in range(count // 2)]
    by_call = [Kill(call=chance.randint(1, 14), answered=chance.random() < 0.6) for _ in range(count - count // 2)]
    return by_time + by_call


def run_process(vendors: Any, kill: Kill | None = None) -> int:
    """One run in a process of its own, killed when `kill` says; its exit code, -9 for a killed one."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(vendors.folder / "connectors.yaml"), simulated_now().isoformat()],
        env={**os.environ, **vendors.env},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    if kill is not None and kill.after is not None:
        timer = threading.Timer(kill.after, process.send_signal, [signal.SIGKILL])
        timer.start()
    restore = _strike_at_call(vendors.crm, process, kill) if kill and kill.call else None
    code = process.wait()
    process.stdout.close()
    if restore is not None:
        restore()
    return code


def _strike_at_call(crm: Any, process: subprocess.Popen[bytes], kill: Kill) -> Callable[[], None]:
    """Kill the client inside the vendor: before a call is processed, or after, so that the answer is never read."""
    route, seen = crm._route, Counter[str]()

    def struck(request: Any) -> Any:
        seen["calls"] += 1
        hit = seen["calls"] == kill.call
        if hit and not kill.answered:
            process.kill()
            process.wait()
        response = route(request)
        if hit and kill.answered:
            process.kill()
            process.wait()
        return response

    crm._route = struck

    def restore() -> None:
        crm._route = route

    return restore


def prepared(vendors: Any) -> Any:
    with Host.load(vendors.folder / "connectors.yaml", env=vendors.env, clock=simulated_now) as host:
        host.prepare("crm")
    return vendors


def holdings(crm: Any) -> dict[str, list[Any]]:
    """What the CRM holds, without the ids and times that differ from one world to the next."""
    whose = {}
    for name in ("Lead", "Contact"):
        for row in crm.rows(name):
            whose[row["Id"]] = (name, str(row.get("Email")).lower(), bool(row.get("IsConverted")))
    rows: dict[str, list[Any]] = {}
    for name in ("Lead", "Contact"):
        kept = [{k: v for k, v in row.items() if k not in OWN_IDS and not k.endswith("Id")} for row in crm.rows(name)]
        rows[name] = sorted(str(sorted(row.items(), key=str)) for row in kept)
    rows["Task"] = sorted(
        (whose[t["WhoId"]], t["Subject"], t["Description"], t["ActivityDate"]) for t in crm.rows("Task")
    )
    members = [m.get("LeadId") or m.get("ContactId") for m in crm.rows("CampaignMember")]
    rows["CampaignMember"] = sorted(whose[record] for record in members)
    return rows


@pytest.mark.soak
def test_a_killed_run_loses_nothing_and_doubles_nothing(
    vendors: Callable[..., Any], pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("--seed")
    undisturbed = prepared(vendors("undisturbed", people=PEOPLE))
    assert run_process(undisturbed) == 0
    expected = holdings(undisturbed.crm)
    assert expected["Task"]
    assert expected["CampaignMember"]
    struck = 0
    for number, kill in enumerate(kills(pytestconfig.getoption("--kills"), seed)):
        world = prepared(vendors(f"killed-{number}", people=PEOPLE))
        struck += run_process(world, kill) == -signal.SIGKILL
        assert run_process(world) == 0, kill
        found = holdings(world.crm)
        for name, rows in expected.items():
            assert found[name] == rows, f"{name} after a kill {kill} (seed {seed})"
        keys = [
            r["Syncline_Key__c"]
            for n in ("Lead", "Contact", "Task")
            for r in world.crm.rows(n)
            if r.get("Syncline_Key__c")
        ]
        assert len(keys) == len(set(keys)), kill
        world.stop()
    assert struck, "no kill struck a running process"
