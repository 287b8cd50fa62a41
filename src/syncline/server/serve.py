"""`syncline serve`: bind, receive until told to stop, finish what is open."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from syncline.errors import ConfigError, ConnectorError
from syncline.host import Host
from syncline.server.receiver import Receiver
from syncline.server.writer import Writer

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_AT_A_TIME: Final = 1000  # open connections; beyond that uvicorn answers 503
_GRACE: Final = 30  # seconds for open requests to finish in


def serve(host: Host, address: str, port: int, *, ready: Callable[[Sequence[str]], None]) -> None:
    """Receive webhooks until SIGTERM or SIGINT; then finish open requests, and write what was given.

    `ready` is told the URL of each connection once they are reachable. Nothing logs in anywhere. ConfigError when no
    connection takes webhooks, when the address cannot be used, or the extra `serve` is not installed.
    """
    uvicorn, make_app, protocol = _libraries()
    names = host.receiving_names()
    if not names:
        raise ConfigError(
            "no connection takes webhooks: `syncline plugins` lists which kinds can `receive`. Those of CRMs that no "
            "sync writes to are not needed"
        )
    settings = host.config.server
    with (
        _bound(address, port) as bound,
        Writer(host.database, host.now) as writer,
        _receiving(host, names, writer) as by_name,
    ):
        app = make_app(by_name, writer, settings)
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
        here = settings.public_url or _url(bound)
        ready([f"{here}/hooks/{name}" for name in names])
        with _signals_end_it():
            uvicorn.Server(config).run(sockets=[bound])


def _libraries() -> tuple[Any, Callable[..., FastAPI], type[Any]]:
    """They are heavy, and an extra: who does not receive does not need them."""
    try:
        import uvicorn

        from syncline.server.app import make_app
        from syncline.server.protocol import Impatient
    except ImportError as error:
        raise ConfigError(
            f"receiving webhooks needs the library {error.name}, which is not installed: pip install 'syncline[serve]'"
        ) from error
    return uvicorn, make_app, Impatient


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


@contextlib.contextmanager
def _signals_end_it() -> Iterator[None]:
    """uvicorn stops gracefully at a signal, then raises it once more: that one is ignored, and we exit with 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
