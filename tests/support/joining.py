"""A node that speaks with the meeting port by hand, to say what a real one would not."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from launch.gate import PROTOCOL
from launch.join_token import new_nonce, prove
from launch.program_version import program_version


def connect(port: int, address: str = "127.0.0.1", source: str = "127.0.0.1", seconds: float = 20) -> socket.socket:
    """Return a connection from ``source`` to the port, which may not listen yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((address, port), 5, (source, 0))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def say(end: socket.socket, **message: Any) -> None:
    end.sendall((json.dumps(message) + "\n").encode())


def hear(end: socket.socket) -> dict[str, Any]:
    """Return the next message; an empty one where the other side has closed."""
    line = b""
    while not line.endswith(b"\n"):
        byte = end.recv(1)
        if not byte:
            return {}
        line += byte
    return json.loads(line)


def hear_end(end: socket.socket) -> bytes:
    """Return what the other side sends before it closes."""
    said = b""
    try:
        while data := end.recv(4096):
            said += data
    except ConnectionResetError:  # it closed before it had read everything
        pass
    return said


def greet(end: socket.socket, node: int, token: bytes) -> dict[str, Any]:
    """Prove to know ``token`` and return the answer."""
    own = new_nonce()
    say(end, version=PROTOCOL, node=node, nonce=own)
    theirs = hear(end)["nonce"]
    say(end, proof=prove(token, "joining", PROTOCOL, node, own, theirs))
    return hear(end)


def shared(settings: dict[str, Any], ranks: int = 1) -> dict[str, Any]:
    """Return what a node sends of its settings."""
    own = ("node_rank", "models_root", "join_token")
    return {"ranks per node": ranks, **program_version(), **{k: v for k, v in settings.items() if k not in own}}
