"""`syncline serve`: bind, receive, run what is due, until told to stop; then finish what is open."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from syncline.errors import ConfigError, ConnectorError
from syncline.host import Host
from syncline.host.schedule import in_words
from syncline.host.scheduler import Scheduler
from syncline.host.stopping import end_at_once, signals
from syncline.server.receiver import Receiver
from syncline.server.writer import Writer

if TYPE_CHECKING:
    from fastapi import FastAPI

    from syncline.server.metrics import ServerMetrics

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_AT_A_TIME: Final = 1000  # open connections; beyond that uvicorn answers 503
_GRACE: Final = 30  # seconds for open requests to finish in
_RUN_GRACE: Final = 150.0  # seconds for the batch under way: a call may take 120 of them


def serve(
    host: Host,
    address: str,
    port: int,
    *,
    ready: Callable[[Sequence[str]], None],
    scheduled: Host | None = None,
    webhooks: bool = True,
) -> None:
    """Receive webhooks and run what is due until SIGTERM or SIGINT; then finish what is open, and write what was given.

    `scheduled` runs the syncs that have a schedule. It is a host of its own: a connector is never used by a run and by
    the receiver at once. A run that is under way ends after its batch; a second signal ends everything at once.

    `ready` is told the URL of each connection, and the next time of each sync, once they are reachable. Nothing logs
    in anywhere before a sync is due. ConfigError when there is nothing to do, when the address cannot be used, or the
    extra `serve` is not installed.
    """
    uvicorn, make_app, metrics_of, protocol = _libraries()
    names = host.receiving_names() if webhooks else []
    if not names and not (scheduled and scheduled.timetable):
        raise ConfigError(_NOTHING_TO_DO)
    settings = host.config.server
    server: Any = None

    def end() -> None:
        for asked in filter(None, (host, scheduled)):
            asked.stop.ask()
        if server is not None:
            server.should_exit = True

    with (
        signals(end, end_at_once) as handle,
        _bound(address, port) as bound,
        Writer(host.database, host.now) as writer,
        _receiving(host, names, writer) as by_name,
        _running(scheduled),
    ):
        app = make_app(by_name, writer, settings, metrics=metrics_of(host, names))
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # it would show addresses, and with them secrets
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            limit_concurrency=_AT_A_TIME,
            timeout_graceful_shutdown=_GRACE,
        )
        server = uvicorn.Server(config)
        server.handle_exit, server.should_exit = handle, host.stop.asked
        here = settings.public_url or _url(bound)
        ready([*(f"{here}/hooks/{name}" for name in names), *_next_times(scheduled)])
        server.run(sockets=[bound])


def _libraries() -> tuple[Any, Callable[..., FastAPI], Callable[..., ServerMetrics], type[Any]]:
    """They are heavy, and an extra: who does not receive does not need them."""
    try:
        import uvicorn

        from syncline.server.app import make_app
        from syncline.server.metrics import metrics_of
        from syncline.server.protocol import Impatient
    except ImportError as error:
        raise ConfigError(
            f"`syncline serve` needs the library {error.name}, which is not installed: pip install 'syncline[serve]'"
        ) from error
    return uvicorn, make_app, metrics_of, Impatient


_NOTHING_TO_DO: Final = (
    "there is nothing to serve: no connection takes webhooks, and no sync has a schedule. `syncline plugins` lists "
    "which kinds can `receive` (those of CRMs that no sync writes to are not needed); `every: 15m` or `cron` of a sync "
    "is a schedule"
)


@contextlib.contextmanager
def _running(host: Host | None) -> Iterator[None]:
    """What is due is run inside. At the end the batch under way is waited for; one that takes too long is given up."""
    if host is None or not host.timetable:
        yield
        return
    scheduler = Scheduler(host)
    scheduler.start()
    try:
        yield
    finally:
        if not scheduler.finish(_RUN_GRACE):
            _log.warning("the batch under way took more than %d seconds; the next run takes it up", _RUN_GRACE)
            end_at_once()


def _next_times(host: Host | None) -> Iterator[str]:
    """A line for each sync that has a schedule."""
    for sync, times in (host.timetable if host else {}).items():
        yield f"{sync}: next run {in_words(times.after(datetime.now(UTC)))}"


@contextlib.contextmanager
def _bound(address: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        bound = socket.create_server((address, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {address}, port {port}: {error}. Choose others with --host and --port"
        ) from error
    with bound:
        yield bound


@contextlib.contextmanager
def _receiving(host: Host, names: Sequence[str], writer: Writer) -> Iterator[dict[str, Receiver | None]]:
    """Each connection's receiver. One that cannot be set up keeps no other from receiving."""
    found = {name: _receiver(host, name, writer) for name in names}
    try:
        yield found
    finally:
        for receiver in filter(None, found.values()):
            receiver.close()


def _receiver(host: Host, name: str, writer: Writer) -> Receiver | None:
    try:
        return Receiver(name, host.connector(name), writer)
    except ConnectorError as error:
        _log.warning("%s cannot receive webhooks, its vendor is put off until this is mended: %s", name, error)
        return None


def _url(bound: socket.socket) -> str:
    address, port = bound.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
