"""How fast webhooks are answered, and whether exactly the true ones are stored.

    .venv/bin/python benchmarks/webhooks.py [--count 10000] [--per-second 300] [--store sqlite:///state.db] [--pulling]

A server in a process of its own, on loopback. A third of the webhooks repeat an earlier one, all are shuffled, and one
in a hundred is tampered with. They are sent at a fixed pace whether or not earlier ones are answered (an open loop),
and each wait counts from the moment the webhook was due, so that a server that stalls cannot hide it. With `--pulling`,
`pull` runs all the while in a third process and settles what came in, as a schedule would.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
CONNECTIONS = 64
TARGET_MS = 100


def host(folder: Path) -> Any:
    """The host of the configuration in `folder`; its only connector is the one in memory."""
    from syncline.config import load_all
    from syncline.host import Host
    from syncline.host.plugins import Plugins
    from syncline.host.wiring import kinds, rooms
    from syncline.testing.memory import MemoryWorld, memory_plugin

    plugins = Plugins()
    plugins.register(memory_plugin(MemoryWorld()), name="memory")
    loaded = load_all(folder / "connectors.yaml", env={}, kinds=kinds(plugins), rooms=rooms())
    return Host(loaded, plugins, folder=folder, clock=lambda: NOW)


def run_server(folder: Path) -> None:
    from syncline.server import serve

    with host(folder) as opened:
        serve(opened, "127.0.0.1", 0, ready=lambda urls: print(*urls, flush=True))


def run_pulls(folder: Path) -> None:
    """Pull again and again, until told to stop."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    pulls = longest = 0.0
    while not stopped:
        began = time.perf_counter()
        with host(folder) as opened:
            opened.pull()
        pulls, longest = pulls + 1, max(longest, time.perf_counter() - began)
    print(f"{pulls:.0f} pulls meanwhile, the longest took {longest:.2f} s")


# What is sent


def fact(number: int) -> dict[str, Any]:
    at = NOW - timedelta(hours=1) + timedelta(milliseconds=number)
    email = f"p{number % 977}@bench.example"
    return {"key": f"fact-{number}", "type": "email_open", "at": at.isoformat(), "email": email, "profile": {}}


def sendings(folder: Path, path: str, count: int, chance: random.Random) -> tuple[list[tuple[bytes, bool]], int]:
    """(request, whether it is true) of each, shuffled; and how many different true ones there are."""
    with host(folder) as opened:
        sign = opened.connector("shop").signed
    tampered, repeated = count // 100, count // 3
    true = [json.dumps([fact(number)]).encode() for number in range(count - tampered - repeated)]
    found = [(request(path, b, sign(b, NOW)), True) for b in [*true, *(chance.choice(true) for _ in range(repeated))]]
    changed = ((body, body.replace(b"bench.example", b"elsewhere.example")) for body in chance.sample(true, tampered))
    found += [(request(path, forged, sign(body, NOW)), False) for body, forged in changed]
    chance.shuffle(found)
    return found, len(true)


def request(path: str, body: bytes, signed: dict[str, str]) -> bytes:
    headers = {"Host": "bench", "Content-Type": "application/json", "Content-Length": str(len(body)), **signed}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


# Sending


class Client:
    """A few connections that stay open, each used by one webhook at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def send(self, message: bytes) -> int:
        """The status that was answered."""
        async with self._room:
            while self._idle:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # the server hung up meanwhile
                    return await self._asked(*self._idle.pop(), message)
            return await self._asked(*await asyncio.open_connection("127.0.0.1", self._port), message)

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> int:
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        await reader.readexactly(length)
        self._idle.append((reader, writer))
        return int(head[9:12])


async def send_all(port: int, messages: list[bytes], pace: float) -> list[tuple[int, float]]:
    """Status and milliseconds of each."""
    client = Client(port)
    answers: list[tuple[int, float]] = [(0, 0.0)] * len(messages)
    began = time.perf_counter() + 0.2

    async def one(number: int, message: bytes) -> None:
        due = began + number / pace
        await asyncio.sleep(max(0, due - time.perf_counter()))
        status = await client.send(message)
        answers[number] = (status, (time.perf_counter() - due) * 1000)

    tasks = set()
    for number, message in enumerate(messages):
        tasks.add(asyncio.create_task(one(number, message)))
        if number % 100 == 99:  # no more timers than needed: they would slow the clock that paces them
            await asyncio.sleep(max(0, began + (number - 200) / pace - time.perf_counter()))
    await asyncio.gather(*tasks)
    return answers


@contextlib.contextmanager
def process(folder: Path, role: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--role", role, "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)


def measure(folder: Path, count: int, pace: float, seed: int, pulling: bool) -> bool:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(process(folder, "server"))
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        port, path = int(url.split(":")[2].partition("/")[0]), "/" + url.split("/", 3)[3]
        found, different = sendings(folder, path, count, random.Random(seed))
        puller = stack.enter_context(process(folder, "puller")) if pulling else None
        used = os.times()
        answers = asyncio.run(send_all(port, [message for message, _ in found], pace))
        mine = os.times()
        print(
            f"the sender used {(mine.user + mine.system - used.user - used.system) / count * pace:.0%} of a processor"
        )
        if puller is not None:
            puller.send_signal(signal.SIGTERM)
            print((puller.communicate()[0] or "no pull ended").strip())
    if not pulling:
        used = os.times()
        each = (used.children_user + used.children_system) / count * 1000
        print(f"the server used {each:.2f} ms of a processor a webhook, its start included")
    assert server.returncode == 0, f"the server ended with {server.returncode}"
    return report(folder, found, different, answers)


def report(folder: Path, found: list[tuple[bytes, bool]], different: int, answers: list[tuple[int, float]]) -> bool:
    waits = sorted(wait for _, wait in answers)
    p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    statuses = Counter(
        ("true" if true else "tampered", status) for (_, true), (status, _) in zip(found, answers, strict=True)
    )
    with host(folder) as opened:
        source = opened.pull().sources["shop"]
        with opened.database.read() as connection:
            from sqlalchemy import func, select

            from syncline.store import schema

            stored = connection.execute(select(func.count()).select_from(schema.event)).scalar_one()
            strangers = select(func.count()).where(schema.identifier.c.value.like("%elsewhere%"))
            slipped = connection.execute(strangers).scalar_one()
    print("answers: " + ", ".join(f"{n:,} x {status} to {kind} ones" for (kind, status), n in statuses.items()))
    print(f"events stored {stored:,} of {different:,}, from tampered ones {slipped}; the report says: {source.webhook}")
    print(f"waits in ms: p50 {p50:.1f}, p99 {p99:.1f}, max {waits[-1]:.1f} (promised: p99 under {TARGET_MS})")
    right = set(statuses) == {("true", 200), ("tampered", 403)} and stored == different and not slipped
    print("exactly the true ones" if right else "NOT exactly the true ones")
    return right and p99 < TARGET_MS


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--per-second", type=float, default=300)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--store", default="sqlite:///state.db")
    arguments.add_argument("--pulling", action="store_true", help="settle what comes in at the same time")
    arguments.add_argument("--role", choices=["server", "puller"], help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.role:
        {"server": run_server, "puller": run_pulls}[chosen.role](chosen.folder)
        return
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as name:
        folder = Path(name)
        connections = {"shop": {"plugin": "memory-source"}}
        config = {"version": 1, "store": chosen.store, "connections": connections}
        (folder / "connectors.yaml").write_text(json.dumps(config), "utf-8")
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(
            f"{chosen.count:,} webhooks at {chosen.per_second:.0f}/s, {os.cpu_count()} processors, load {load}, "
            f"seed {chosen.seed}, {chosen.store.partition(':')[0]}"
        )
        if not measure(folder, chosen.count, chosen.per_second, chosen.seed, chosen.pulling):
            sys.exit(1)


if __name__ == "__main__":
    main()
