"""A door in front of the real server: it lets everybody through until it is told to shut, or to say it is full."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from typing import Any, Literal


def packet(code: int, words: str) -> bytes:
    """An error as a MariaDB or MySQL server says it before anybody has logged in."""
    body = b"\xff" + code.to_bytes(2, "little") + words.encode()
    return len(body).to_bytes(3, "little") + b"\x00" + body


class Gate(socketserver.ThreadingTCPServer):
    """Listens on loopback; `says` is what it does with a new connection, `turned_away` how many it did that to."""

    daemon_threads = True

    def __init__(self, port: int = 3306) -> None:
        super().__init__(("127.0.0.1", 0), _Visitor)
        self.behind = ("127.0.0.1", port)
        self.says: Literal["come in", "nothing"] | bytes = "come in"
        self.turned_away = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Visitor(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        gate: Any = self.server
        if gate.says == "come in":
            with socket.create_connection(gate.behind) as server:
                _join(self.request, server)
            return
        gate.turned_away += 1
        if isinstance(gate.says, bytes):
            self.request.sendall(gate.says)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side has nothing more to say."""
    while True:
        readable, _, _ = select.select([one, other], [], [])
        for end in readable:
            data = end.recv(65_536)
            if not data:
                return
            (other if end is one else one).sendall(data)
