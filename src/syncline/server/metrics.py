"""Metrics for Prometheus. What runs do is read from the store at every scrape, so it is the same whichever process ran
them; only webhooks are counted where they are received."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from syncline.config import Config
from syncline.host import Host
from syncline.host.lease import LEASE_TIME
from syncline.host.sums import BUCKETS
from syncline.model import microseconds
from syncline.store import alerts, books, totals
from syncline.store.books import Books
from syncline.store.database import Database
from syncline.store.totals import Totals

__all__ = ["CONTENT_TYPE", "ServerMetrics", "StoreCollector", "exposition", "metrics_of"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside each, for which nobody has asked

_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1) // _MICROSECOND
_SECOND: Final = timedelta(seconds=1) // _MICROSECOND

# name → labels, and what it says. Counters come from sums the store keeps, under the key that is named first.
_COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...], str]]] = {
    "runs": ("syncline_runs", ("status",), "Runs that have ended, by how."),
    "records": (
        "syncline_records",
        ("connection", "outcome"),
        "Raw records read from a source, by what became of them.",
    ),
    "writes": (
        "syncline_writes",
        ("connection", "operation", "outcome"),
        "Rows of runs' plans, by what became of them.",
    ),
    "calls": ("syncline_calls", ("connection", "purpose", "status"), "Calls to vendors; status 0: no answer."),
    "retries": ("syncline_retries", ("connection",), "Calls that were tried again."),
    "waited_seconds": (
        "syncline_waited_seconds",
        ("connection",),
        "Seconds waited: for the pace, because the vendor asked, or before another try.",
    ),
}
_WAITING: Final[Mapping[str, tuple[str, str]]] = {
    "conflicts": ("syncline_conflicts", "People who wait for a decision: several records could be theirs."),
    "undecided": ("syncline_undecided_fields", "Fields both sides changed that wait for a decision."),
    "dead_letters": ("syncline_dead_letters", "Writes a CRM refused that are tried again on every run."),
    "quarantined": ("syncline_quarantined_records", "Raw records that could not become events."),
    "unread": ("syncline_unread_webhooks", "Webhooks that the plugin cannot read."),
    "inbox": ("syncline_inbox_records", "Raw records that wait for the next run."),
    "unanswered": ("syncline_open_writes", "Writes planned or sent whose outcome is not known."),
}


class StoreCollector(Collector):
    """Everything the store knows, for the connections and syncs that are configured."""

    def __init__(self, database: Database, config: Config, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._config = config
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry would otherwise read the whole store to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        now_us = microseconds(self._clock())
        with self._database.read() as connection:
            sums, known = totals.load(connection), alerts.known(connection)
            found = books.read(connection, now_us // _DAY)
        yield from _sums(sums)
        yield _durations(sums)
        yield from self._successes(sums)
        yield from self._waiting(found)
        yield from self._connections(found, now_us)
        yield _gauge(
            "syncline_lease_renewed_timestamp_seconds",
            "When the active run last gave a sign of life.",
            "lease",
            {held.name: held.expires_us / _SECOND - LEASE_TIME.total_seconds() for held in found.leases},
        )
        troubles: dict[str, float] = {}
        for item in known:
            troubles[item.trouble.kind] = troubles.get(item.trouble.kind, 0) + 1
        yield _gauge("syncline_troubles", "Troubles that have begun and are not over.", "kind", troubles)

    def _successes(self, sums: Totals) -> Iterator[Metric]:
        what = "When this last went through to its end."
        for label, names in (("sync", [s.name for s in self._config.syncs]), ("connection", self._config.connections)):
            times = {name: at_us / _SECOND for name in names if (at_us := sums.latest.get((label, name)))}
            yield _gauge(f"syncline_{label}_last_success_timestamp_seconds", what, label, times)

    def _waiting(self, found: Books) -> Iterator[Metric]:
        for field, (name, what) in _WAITING.items():
            none = books.Waiting()
            waits = {c: getattr(found.waiting.get(c, none), field) for c in self._config.connections}
            yield _gauge(name, what, "connection", waits)

    def _connections(self, found: Books, now_us: int) -> Iterator[Metric]:
        paused = GaugeMetricFamily(
            "syncline_paused", "1 while nothing is written to this CRM.", labels=["connection", "kind"]
        )
        for name, pause in found.pauses.items():
            if pause.until_us is None or pause.until_us > now_us:
                paused.add_metric([name, pause.kind], 1)
        yield paused
        budgets = {name: c.budget.calls_per_day for name, c in self._config.connections.items() if c.budget}
        yield _gauge("syncline_budget_calls", "Calls a day that the budget allows.", "connection", budgets)
        for field in ("calls", "write_calls", "credits"):
            used = {name: getattr(day, field) for name, day in found.used.items()}
            yield _gauge(
                f"syncline_budget_used_{field}", f"Of today's (UTC) {field.replace('_', ' ')}.", "connection", used
            )


def _sums(sums: Totals) -> Iterator[Metric]:
    for key, (name, labels, what) in _COUNTERS.items():
        family = CounterMetricFamily(name, what, labels=labels)
        for (first, *values), amount in sums.sums.items():
            if first == key:
                family.add_metric(values, amount)
        yield family


def _durations(sums: Totals) -> Metric:
    """Buckets are kept each by itself; here each holds those below it, too."""
    family = HistogramMetricFamily("syncline_run_duration_seconds", "How long runs took.")
    tops = [*map(str, BUCKETS), "+Inf"]
    total, buckets = 0.0, []
    for top in tops:
        total += sums.sums.get(("run_seconds_up_to", top), 0)
        buckets.append((top, total))
    family.add_metric([], buckets, sum_value=sums.sums.get(("run_seconds",), 0))
    return family


def _gauge(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


class ServerMetrics:
    """What the store knows, and the webhooks this process receives. `names` are the connections it receives for."""

    def __init__(
        self, store: Collector, names: Iterable[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(store)
        self._monotonic = monotonic
        self._answered = Counter(
            "syncline_webhooks", "Webhooks answered by this process.", ["connection", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "syncline_webhook_duration_seconds",
            "From a webhook's arrival to its answer.",
            ["connection"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self._waiting = Gauge(
            "syncline_webhooks_in_progress", "Webhooks not answered yet.", ["connection"], registry=self.registry
        )
        for name in names:
            self._seconds.labels(name)
            self._waiting.labels(name)

    def arrives(self, name: str) -> Callable[[int], None]:
        """A webhook has come; call what this returns with the status it is answered with."""
        began = self._monotonic()
        self._waiting.labels(name).inc()

        def answered(status: int) -> None:
            self._waiting.labels(name).dec()
            self._seconds.labels(name).observe(self._monotonic() - began)
            self._answered.labels(name, str(status)).inc()

        return answered

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus. StoreError when the store cannot be read."""
        return generate_latest(self.registry)


def metrics_of(host: Host, names: Iterable[str]) -> ServerMetrics:
    """Of a server that receives for these connections."""
    return ServerMetrics(StoreCollector(host.database, host.config, host.now), names)


def exposition(host: Host) -> bytes:
    """What the store knows, in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(host.database, host.config, host.now))
    return generate_latest(registry)
