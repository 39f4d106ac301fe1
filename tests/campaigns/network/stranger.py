"""Says harmless rubbish to a port until it is killed: ``python stranger.py ADDRESS PORT``."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

RUBBISH = (
    b"",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\x02\x00" + bytes(200),
    b"[" * 5000 + b"\n",
    b'{"version": 2, "node": 1, "nonce": "' + b"0" * 64 + b'"}\n{"proof": "' + b"0" * 64 + b'"}\n',
    b'{"node": 1, "settings": {}}\n',
    b"x" * 100_000,
)


def knock(address: tuple[str, int], number: int, held: list[socket.socket]) -> None:
    """Connect once; each third connection stays open, and those that are open get a byte now and then."""
    end = socket.create_connection(address, 2)
    end.settimeout(2)
    if number % 3:
        with end:
            end.sendall(RUBBISH[number % len(RUBBISH)] or os.urandom(3000))
            end.recv(100)
        return
    held.append(end)
    for each in held:
        each.sendall(b"{")
    if len(held) > 40:
        held.pop(0).close()


if __name__ == "__main__":
    connections: list[socket.socket] = []
    count = 0
    while True:
        with contextlib.suppress(OSError):
            knock((sys.argv[1], int(sys.argv[2])), count, connections)
        count += 1
        time.sleep(0.02)
