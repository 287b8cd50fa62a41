"""The base of every vendor's simulator: a server on loopback, durable state, call counters, and one fault language.

A vendor's simulator subclasses `VendorSimulator`, lists its routes and keeps its records in `Table`s. It answers as the
vendor's sheet says. What nobody could verify about a vendor is a switch, off by default.
"""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from syncline.errors import ConfigError, did_you_mean
from syncline.sdk import SimulatorOptions

__all__ = ["Fault", "FaultKind", "Table", "VendorSimulator"]

FaultKind = Literal[
    "drop_before",
    "drop_after",
    "status",
    "html",
    "truncated",
    "cut_off",
    "slow",
    "too_many",
    "expiry",
    "quota",
    "refuse",
    "lock",
]
Trouble = Literal["refuse", "lock"]
Handler = Callable[..., Response]

_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble. It strikes requests whose `METHOD path` matches `on`.

    `after` requests are let through first, then `times` are struck (None: for ever), each with `probability`.
    `drop_before` closes the connection unprocessed, `drop_after` processes the request and then closes it;
    `status` answers `status` with `body` and `headers`; `slow` waits for `seconds` first; `truncated` gives half the
    body as if it were all (a broken cache does), `cut_off` closes the connection in the middle of it.

    In the vendor's own words: `too_many` refuses for the rate (asking to wait `seconds`, if that is not 0), `expiry`
    ends every session before the request is looked at, `quota` refuses everything from the first strike until the
    simulated clock has moved by `seconds`. `refuse` and `lock` are about single records: those whose id, key or
    address matches `key` are refused for good, or are locked for now; `times` counts records.
    """

    kind: FaultKind
    on: str = "*"
    after: int = 0
    times: int | None = 1
    probability: float = 1.0
    status: int = 503
    body: Any = None
    headers: Mapping[str, str] | None = None
    seconds: float = 0.0
    key: str = "*"


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, int) and not isinstance(given, bool) and least <= given <= most


def _number(most: float) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= most


def _text(given: Any) -> bool:
    return isinstance(given, str)


def _texts(given: Any) -> bool:
    return given is None or (isinstance(given, Mapping) and all(_text(part) for pair in given.items() for part in pair))


_SAID: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "on": ("a text such as 'GET /contacts*'", _text),
    "key": ("a text such as '*@acme.example'", _text),
    "after": ("a number of requests", _whole(0, sys.maxsize)),
    "times": ("a number of requests, or null: for ever", lambda given: given is None or _whole(1, sys.maxsize)(given)),
    "probability": ("a number from 0 to 1", _number(1)),
    "status": ("an HTTP status, 200 to 599", _whole(200, 599)),
    "headers": ("a mapping of texts", _texts),
    "seconds": ("a number of seconds", _number(10**9)),
}
"""What a fault in a file may say, in words and as a question."""


def _fault(given: Any, vendor: str) -> Fault:
    """A fault as a file says it; ConfigError when it says something that is none."""
    known = [field.name for field in fields(Fault)]
    if not isinstance(given, Mapping) or "kind" not in given:
        raise ConfigError(
            f"{vendor}: a fault is a mapping with a kind, such as {{kind: status, status: 503}}; got {given!r}"
        )
    if given["kind"] not in get_args(FaultKind):
        raise ConfigError(
            f"{vendor}: there is no fault {given['kind']!r}; {did_you_mean(given['kind'], get_args(FaultKind))}"
        )
    for name in given:
        if name not in known:
            raise ConfigError(f"{vendor}: a fault has no {name!r}; {did_you_mean(str(name), known)}")
        wanted, right = _SAID.get(name, ("", lambda _: True))
        if not right(given[name]):
            raise ConfigError(f"{vendor}: {name} of the fault {given['kind']!r} is {wanted}; got {given[name]!r}")
    return Fault(**given)


class Table(MutableMapping[str, dict[str, Any]]):
    """Records by id, in memory; `save` marks one for the next commit. Iterates in insertion order."""

    def __init__(self, name: str, journal: _Journal) -> None:
        self._name = name
        self._journal = journal
        self._rows: dict[str, dict[str, Any]] = journal.load(name)

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def __setitem__(self, key: str, row: dict[str, Any]) -> None:
        self._rows[key] = row
        self._journal.put(self._name, key, row)

    def save(self, key: str) -> None:
        """Say that a row was changed in place."""
        self._journal.put(self._name, key, self._rows[key])

    def __delitem__(self, key: str) -> None:
        del self._rows[key]
        self._journal.put(self._name, key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class _Journal:
    """Write-behind persistence of all tables in one SQLite file; nothing at all when there is no file."""

    def __init__(self, path: Path | None) -> None:
        self._pending: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._database: sqlite3.Connection | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS row"
                " (seq INTEGER PRIMARY KEY, name TEXT, key TEXT, body TEXT, UNIQUE (name, key))"
            )

    def load(self, name: str) -> dict[str, dict[str, Any]]:
        if self._database is None:
            return {}
        rows = self._database.execute("SELECT key, body FROM row WHERE name = ? ORDER BY seq", (name,))
        return {key: json.loads(body) for key, body in rows}

    def put(self, name: str, key: str, row: dict[str, Any] | None) -> None:
        if self._database is not None:
            self._pending[name, key] = row

    def commit(self) -> None:
        if self._database is None or not self._pending:
            return
        gone = [pair for pair, row in self._pending.items() if row is None]
        kept = [(name, key, json.dumps(row)) for (name, key), row in self._pending.items() if row is not None]
        with self._database:
            self._database.executemany("DELETE FROM row WHERE name = ? AND key = ?", gone)
            self._database.executemany(
                "INSERT INTO row (name, key, body) VALUES (?, ?, ?)"
                " ON CONFLICT (name, key) DO UPDATE SET body = excluded.body",
                kept,
            )
        self._pending.clear()

    def close(self) -> None:
        self.commit()
        if self._database is not None:
            self._database.close()


class _DroppedError(ConnectionError):
    """The connection is to be closed without an answer; werkzeug hands it to `connection_dropped`."""


class VendorSimulator:
    """A WSGI application with a server around it.

    A subclass sets `name` and `routes` ((methods, path rule, method name) triples), overrides `seed` to fill empty
    tables and `settings`. Requests are handled one at a time under a lock, so a handler reads and writes freely;
    `in_flight` counts those that wait for it.
    """

    name: ClassVar[str]
    routes: ClassVar[Sequence[tuple[str, str, str]]]

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self.options = options or SimulatorOptions()
        self.random = random.Random(self.options.seed)  # noqa: S311  # seeded on purpose: the same people every time
        self.faults = [_fault(given, self.name) for given in self.options.faults.get("faults", [])]
        self.in_flight = 0
        self._line = ""
        self._chance = random.Random(self.options.seed)  # noqa: S311  # its own, so that faults do not shift the seeding
        self._fixed = datetime.fromisoformat(self.options.clock).astimezone(UTC) if self.options.clock else None
        folder = self.options.folder
        self._journal = _Journal(folder / f"{self.name}.db" if folder else None)
        self._tables: dict[str, Table] = {}
        self._counters: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._flight_lock = threading.Lock()
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._map = Map(
            [Rule(rule, endpoint=method, methods=verbs.split()) for verbs, rule, method in self.routes],
            merge_slashes=False,
            strict_slashes=False,
        )
        meta = self.table("_meta")
        if "seeded" not in meta:
            self.seed()
            meta["seeded"] = {"people": self.options.people, "seed": self.options.seed}
            self._journal.commit()

    # What a vendor overrides

    def seed(self) -> None:
        """Fill the empty tables from `self.random`."""

    @property
    def settings(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def before(self, request: Request) -> Response | None:
        """Runs ahead of every route: authentication, quotas. An answer here ends the request."""
        return None

    def after(self, request: Request, response: Response) -> Response:
        """Runs behind every route: headers every answer carries."""
        return response

    def not_found(self, request: Request, error: HTTPException) -> Response:
        return Response(error.description or "", status=error.code or 404)

    def too_many(self, retry_after: float | None) -> Response:
        """How this vendor says that there were too many calls."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:.0f}"}
        return Response("Too Many Requests", status=429, headers=headers)

    def over_quota(self) -> Response:
        """How this vendor says that the day's calls are used up."""
        return self.too_many(None)

    def expire_sessions(self) -> None:
        """Whatever a log-in gave is no longer valid; a vendor without sessions has nothing to do."""

    # What a vendor uses

    @property
    def faults(self) -> list[Fault]:
        """The troubles in force. Set anew, they count from zero; the first one that matches strikes."""
        return self._faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        self._faults = list(faults)
        self._quota_ends: datetime | None = None
        self._struck: Counter[int] = Counter()
        self._seen: Counter[int] = Counter()

    def table(self, name: str) -> Table:
        """The records kept under this name; the same ones every time it is asked for."""
        if name not in self._tables:
            self._tables[name] = Table(name, self._journal)
        return self._tables[name]

    def now(self) -> datetime:
        """The simulated time: the fixed clock if one is set (`advance` moves it), else the real one."""
        return self._fixed or datetime.now(UTC)

    def advance(self, by: timedelta) -> None:
        self._fixed = self.now() + by

    def trouble_with(self, *names: str) -> Trouble | None:
        """The trouble a fault wants for the record that goes by these names: its id, our key, its address.

        A handler asks once for each record it is about to write, and answers for it as the vendor would.
        """
        for number, fault in enumerate(self.faults):
            if fault.kind not in ("refuse", "lock") or not self._concerns(fault):
                continue
            if any(fnmatchcase(name, fault.key) for name in names if name) and self._spend(number, fault):
                return "refuse" if fault.kind == "refuse" else "lock"
        return None

    def count(self, name: str, by: int = 1) -> None:
        self._counters[name] += by

    def counters(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._counters)

    def reset_counters(self) -> None:
        with self._lock:
            self._counters.clear()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError(f"simulator {self.name} is not started")
        return f"http://127.0.0.1:{self._server.server_port}"

    # Serving

    def start(self) -> None:
        self._stopping.clear()
        self._server = make_server("127.0.0.1", self.options.port, self, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        with self._lock:
            self._journal.close()

    def __enter__(self) -> VendorSimulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        request.get_data(cache=True)
        with self._flight_lock:
            self.in_flight += 1
        try:
            with self._lock:
                self._line = f"{request.method} {request.path}"
                fault = self._strike()
                self.count("calls")
            if fault and fault.kind == "slow":
                self._stopping.wait(fault.seconds)  # outside the lock: others are served meanwhile
            with self._lock:
                self._line = f"{request.method} {request.path}"
                response = self._answer(request, fault)
                self._journal.commit()
        finally:
            with self._flight_lock:
                self.in_flight -= 1
        return response(environ, start_response)

    def _answer(self, request: Request, fault: Fault | None) -> Response:
        if fault and fault.kind == "drop_before":
            raise _DroppedError
        if fault and fault.kind == "status":
            return self._faulty(fault)
        if fault and fault.kind == "html":
            return Response(_HTML, status=fault.status, content_type="text/html")
        if fault and fault.kind == "too_many":
            return self.too_many(fault.seconds or None)
        if self._quota_ends is not None and self.now() < self._quota_ends:
            return self.over_quota()
        if fault and fault.kind == "expiry":
            self.expire_sessions()
        response = self.before(request) or self._route(request)
        response = self.after(request, response)
        if fault and fault.kind == "drop_after":
            self._journal.commit()
            raise _DroppedError
        if fault and fault.kind in ("truncated", "cut_off"):
            body = response.get_data()
            response.set_data(body[: len(body) // 2])
            if fault.kind == "cut_off":
                response.headers["Content-Length"] = str(len(body))
        return response

    def _faulty(self, fault: Fault) -> Response:
        plain = fault.body is None or isinstance(fault.body, str)
        body = fault.body if plain else json.dumps(fault.body)
        kind = "text/plain" if plain else "application/json"
        return Response(body, status=fault.status, content_type=kind, headers=dict(fault.headers or {}))

    def _route(self, request: Request) -> Response:
        try:
            endpoint, arguments = self._map.bind_to_environ(request.environ).match()
        except HTTPException as error:
            return self.not_found(request, error)
        handler: Handler = getattr(self, endpoint)
        try:
            return handler(request, **arguments)
        except HTTPException as error:  # a handler may `abort`
            return Response.force_type(error.get_response(request.environ))

    def _strike(self) -> Fault | None:
        for number, fault in enumerate(self.faults):
            if fault.kind in ("refuse", "lock") or not self._concerns(fault) or not self._spend(number, fault):
                continue
            if fault.kind == "quota":
                self._quota_ends = self.now() + timedelta(seconds=fault.seconds)
            return fault
        return None

    def _concerns(self, fault: Fault) -> bool:
        return fnmatchcase(self._line, fault.on if " " in fault.on else f"* {fault.on}")

    def _spend(self, number: int, fault: Fault) -> bool:
        """Whether this fault strikes now; counted if it does."""
        self._seen[number] += 1
        if self._seen[number] <= fault.after:
            return False
        if fault.times is not None and self._struck[number] >= fault.times:
            return False
        if self._chance.random() >= fault.probability:
            return False
        self._struck[number] += 1
        return True


class _QuietHandler(WSGIRequestHandler):
    """Logs to the logger only, without query strings, dates answers by the simulated time, closes without an answer.

    Every answer closes its connection (werkzeug sees to that).
    """

    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, which readers of changes go by."""
        app: Any = self.server.app  # the simulator, as werkzeug's server keeps it
        return format_datetime(app.now().replace(microsecond=0), usegmt=True)

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        plain = [a.partition("?")[0] if isinstance(a, str) else a for a in args]
        logging.getLogger("syncline.simulator").debug(message, *plain)
