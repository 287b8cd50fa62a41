"""How fast the path is beside the bare work it consists of, and in how much memory.

    .venv/bin/python benchmarks/throughput.py [--people 100000] [--events 2000000]

Prints events/s of every stage beside the same work done barely, in the same process order and on the same files, as
ratios: machines differ and are shared, ratios travel. The peak is the resident set of the process that does the stage.
Each stage runs in a process of its own, as separate commands would.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
COLUMNS = ["id", "at", "email", "type", "url", "page", "content", "seconds", "session"]

CONFIG = """
version: 1
simulation: {people: 1}
connections:
  web:
    plugin: files
    path: "events.csv"
    columns:
      type: {column: type}
      at: at
      id: [id]
      identifiers: {email: email}
      properties: {url: url, page_type: page, content_type: content, duration_s: seconds, session_id: session}
  crm: {plugin: salesforce, simulated: true}
scores:
  interesse: {model: comportamentale}
segments:
  lead_caldo: {all: [page_visit, {page_visit: {page_type: demo}}]}
syncs:
  - name: leads
    to: crm
    object: Lead
    match: Syncline_Key__c
    when_missing: create
    first_run: whole
    guard: {creates: null, tasks: null, overwrites: null}
    fields:
      Lead_Score__c: {from: score.interesse, owner: ours}
      Lead_Band__c: {from: score.interesse.band, owner: ours}
      Email: {from: person.email, owner: shared, policy: only_if_empty}
      LastName: {from: person.last_name, owner: shared, policy: only_if_empty, default: "(unknown)"}
      Company: {from: person.company, owner: shared, policy: only_if_empty, default: "(unknown)"}
"""


def write_events(path: Path, people: int, events: int) -> None:
    """Visits, downloads and videos of `people` over 90 days, in order of time."""
    chance = random.Random(1)
    start = NOW - timedelta(days=90)
    step = timedelta(days=90) / events
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(events):
            person = chance.randrange(people)
            at = (start + step * number).strftime("%Y-%m-%dT%H:%M:%SZ")
            draw = chance.random()
            mail = f"person{person}@bench.example"
            if draw < 0.9:
                page = "pricing" if draw < 0.05 else "demo" if draw < 0.08 else "blog"
                seconds, session = chance.randrange(120), f"s{number // 4}"
                row = [number, at, mail, "page_visit", f"/{page}/{number % 9}", page, "", seconds, session]
            elif draw < 0.95:
                row = [number, at, mail, "content_download", "/paper.pdf", "", "whitepaper", "", ""]
            else:
                row = [number, at, mail, "video_view", "/video/1", "", "", chance.randrange(300), ""]
            writer.writerow(row)


# The bare work


def bare_parse(folder: Path) -> None:
    with (folder / "events.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            json.dumps(row)


def bare_insert(folder: Path) -> None:
    """The rows into one SQLite table with the same durability and page size as ours, nothing asked of them."""
    database = sqlite3.connect(folder / "bare.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE event (id TEXT PRIMARY KEY, person TEXT, at TEXT, type TEXT, properties TEXT)")
    with (folder / "events.csv").open(encoding="utf-8", newline="") as file:
        page = []
        for row in csv.DictReader(file):
            page.append((row["id"], row["email"], row["at"], row["type"], json.dumps(row)))
            if len(page) == 5000:
                with database:
                    database.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", page)
                page.clear()
        with database:
            database.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", page)


def bare_scan(folder: Path) -> None:
    """Read the same log into Arrow and take one weighted sum a person: what any scoring must at least do."""
    import duckdb
    import pyarrow

    database = sqlite3.connect(folder / ".syncline" / "state.db")
    rows = database.execute("SELECT person_id, type, t_us FROM event")
    batches = []
    while page := rows.fetchmany(100_000):
        batches.append(pyarrow.record_batch([list(column) for column in zip(*page, strict=True)], ["who", "type", "t"]))
    log = pyarrow.Table.from_batches(batches)  # noqa: F841  # DuckDB finds it by name
    duckdb.sql(
        "SELECT who, sum(CASE type WHEN 'page_visit' THEN 10 WHEN 'content_download' THEN 25 ELSE 5 END)"
        " FROM log GROUP BY who"
    ).fetchall()


# The path


def pull(folder: Path) -> None:
    from syncline import Host

    with Host.load(folder / "connectors.yaml", env={}, clock=lambda: NOW) as host:
        report = host.pull("web")
        source = report.sources["web"]
        assert source.read == source.stored + source.duplicate + source.quarantined, "counts must add up"


def score(folder: Path) -> None:
    from syncline import Host
    from syncline.engine.embedded import assess_all

    with Host.load(folder / "connectors.yaml", env={}, clock=lambda: NOW) as host:
        for _ in assess_all(host.program, host.database, NOW):
            pass


def plan(folder: Path) -> None:
    from syncline import Host

    with Host.load(folder / "connectors.yaml", env={}, clock=lambda: NOW) as host:
        host.prepare("crm")
        report = host.plan()
        print(json.dumps({"people": report.people, "planned_calls": report.sinks["crm"].planned_calls}))


STAGES: dict[str, Callable[[Path], None]] = {
    "bare parse": bare_parse,
    "bare insert": bare_insert,
    "pull": pull,
    "bare scan": bare_scan,
    "score": score,
    "plan": plan,
}
BESIDE = {
    "bare insert": ("bare parse",),
    "pull": ("bare parse", "bare insert"),
    "score": ("bare scan",),
    "plan": ("score",),
}
"""Stage → those it is told as multiples of."""


def measure(stage: str, folder: Path) -> tuple[float, float, float, dict[str, Any]]:
    """Wall and CPU seconds and peak MiB of a stage in its own process."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S603
    *said, figures = done.stdout.decode().splitlines()
    wall, cpu, peak = json.loads(figures)
    return wall, cpu, peak, json.loads(said[0]) if said else {}


def run_stage(stage: str, folder: Path) -> None:
    os.chdir(folder)
    started, cpu = time.perf_counter(), time.process_time()
    STAGES[stage](folder)
    wall = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([wall, time.process_time() - cpu, peak]))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--people", type=int, default=100_000)
    arguments.add_argument("--events", type=int, default=2_000_000)
    arguments.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.stage:
        run_stage(chosen.stage, chosen.folder)
        return
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as name:
        folder = Path(name)
        (folder / "connectors.yaml").write_text(CONFIG, "utf-8")
        write_events(folder / "events.csv", chosen.people, chosen.events)
        print(f"{chosen.people:,} people, {chosen.events:,} events, {os.cpu_count()} processors")
        print(f"{'stage':<12} {'wall s':>8} {'cpu s':>8} {'events/s':>10} {'peak MiB':>9}  beside the bare work")
        walls: dict[str, float] = {}
        for stage in STAGES:
            wall, cpu, peak, said = measure(stage, folder)
            walls[stage] = wall
            notes = [f"{wall / walls[other]:.1f} x {other}" for other in BESIDE.get(stage, ())]
            notes += [f"{key} {value:,}" for key, value in said.items()]
            figures = f"{wall:>8.1f} {cpu:>8.1f} {chosen.events / wall:>10,.0f} {peak:>9,.0f}"
            print(f"{stage:<12} {figures}  {', '.join(notes)}")
            if peak > 1536:
                sys.exit(f"{stage}: {peak:,.0f} MiB is over the promised 1.5 GiB")


if __name__ == "__main__":
    main()
