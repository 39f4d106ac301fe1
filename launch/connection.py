"""A socket that carries messages: JSON objects, one per line, of limited length."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from typing import Any

_FAREWELL_SECONDS = 1.0
_SEND_SECONDS = 10.0  # a peer that takes nothing for so long has gone


class LostError(Exception):
    """The peer closed the connection, cannot be reached, or sends something other than messages."""


class Connection:
    """Sends and receives messages over a socket.

    Attributes:
        limit: the longest message that is accepted, in bytes.
    """

    def __init__(self, connected: socket.socket, limit: int) -> None:
        connected.settimeout(_SEND_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.limit = limit
        self._socket = connected
        self._pending = b""
        self._ready: list[dict[str, Any]] = []

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Send a message; if the connection is lost, the next ``read`` says so."""
        with contextlib.suppress(OSError):
            self._socket.sendall((json.dumps(message) + "\n").encode())

    def read(self, seconds: float = 0) -> list[dict[str, Any]]:
        """Return the messages received within ``seconds``.

        Raises:
            LostError: the connection is lost, or holds something other than messages of at most ``limit`` bytes.
        """
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        if not select.select([self._socket], [], [], max(0, seconds))[0]:
            return []
        try:
            data = self._socket.recv(min(self.limit, 1 << 16))
            *lines, self._pending = (self._pending + data).split(b"\n")
            messages = [_message(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            raise LostError from error
        if not messages and (not data or len(self._pending) > self.limit):
            raise LostError
        return messages

    def wait(self, deadline: float) -> dict[str, Any]:
        """Return the first message.

        Raises:
            LostError: none arrives before ``deadline``, or the connection is lost.
        """
        while True:
            messages = self.read(deadline - time.monotonic())
            if messages:
                self._ready = messages[1:]
                return messages[0]
            if time.monotonic() >= deadline:
                raise LostError

    def end_sending(self) -> None:
        """Tell the peer that nothing more will be sent; what it sends can still be read."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        """Close at once."""
        self._socket.close()

    def close(self) -> None:
        """Close after the peer has read everything, or after a second."""
        with contextlib.suppress(OSError, LostError):
            self.end_sending()
            deadline = time.monotonic() + _FAREWELL_SECONDS
            while time.monotonic() < deadline:
                self.read(deadline - time.monotonic())
        self.drop()


def _message(line: bytes) -> dict[str, Any]:
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message
