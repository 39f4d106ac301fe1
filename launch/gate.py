"""The meeting port of the first node: admits the nodes that know the run's secret, and turns away all else.

Nothing that a stranger sends ends the meeting, delays a node, or is printed: connections are served side by side, each
has ten seconds and 64 KB until it has proved itself, and only a few may wait.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import UserError
from launch.connection import Connection, LostError
from launch.join_token import is_proof, new_nonce, prove
from launch.notices import say

PROTOCOL = 2  # of the messages between nodes
GREETING_SECONDS = 10.0
LONGEST_GREETING, LONGEST_MESSAGE = 1 << 16, 1 << 20
_PLACES = 16  # for connections from one of the nodes' addresses, and as many for all others together
_LEAVING_SECONDS = 2.0
_LINES = 10
_NONCE = re.compile(r"[0-9a-f]{64}")

OTHER_TOKEN = "other token"
OTHER_VERSION = "other version"
TAKEN = "taken"


@dataclass
class _Guest:
    """A connection that is not a node yet.

    Attributes:
        connection: its messages.
        source: the address that it comes from.
        deadline: when it is closed.
        node: the node that it says it is.
        nonces: the random numbers of both sides, once they are exchanged.
        proved: whether it knows the secret.
        leaving: whether it has its refusal, and only has to read it.
    """

    connection: Connection
    source: str
    deadline: float = field(default_factory=lambda: time.monotonic() + GREETING_SECONDS)
    node: int = 0
    nonces: tuple[str, str] | None = None
    proved: bool = False
    leaving: bool = False


class Gate:
    """Waits for the other nodes of a run.

    Attributes:
        peers: the connections of the nodes that were admitted, by number.
        addresses: where they come from.
    """

    def __init__(
        self, server: socket.socket, token: bytes, nodes: int, settings: Mapping[str, Any], known: Collection[str]
    ) -> None:
        """Serve the listening socket ``server``; connections from ``known`` addresses have places of their own."""
        self.peers: dict[int, Connection] = {}
        self.addresses: dict[int, str] = {}
        self._server = server
        self._token = token
        self._nodes = nodes
        self._settings = dict(settings)
        self._known = known
        self._guests: list[_Guest] = []
        self._dropped = 0

    @property
    def missing(self) -> list[int]:
        """The nodes that have not come yet."""
        return [node for node in range(1, self._nodes) if node not in self.peers]

    def serve(self, seconds: float) -> None:
        """Serve the port for up to ``seconds``.

        Raises:
            UserError: a node that knows the secret has other settings.
        """
        waiting = [self._server, *(guest.connection for guest in self._guests), *self.peers.values()]
        ready = set(select.select(waiting, [], [], seconds)[0])
        for guest in list(self._guests):
            if guest.connection in ready:
                self._hear(guest)
        self._watch_peers(ready)
        for guest in list(self._guests):
            if time.monotonic() > guest.deadline:
                self._drop(guest, f"it did not say in {GREETING_SECONDS:.0f} s what a node says")
        if self._server in ready:
            self._accept()

    def close(self) -> None:
        """Drop all connections that are not nodes."""
        for guest in list(self._guests):
            self._guests.remove(guest)
            guest.connection.drop()
        if self._dropped > _LINES:
            say(f"{self._dropped} connections to the port were dropped")

    def _accept(self) -> None:
        try:
            connected, source = self._server.accept()
        except OSError:  # it has gone again, or there are too many open files
            time.sleep(0.05)
            return
        guest = _Guest(Connection(connected, LONGEST_GREETING), source[0])
        group = [each for each in self._guests if self._place(each) == self._place(guest)]
        if len(group) >= _PLACES:
            self._drop(group[0], "too many others came after it")
        self._guests.append(guest)

    def _place(self, guest: _Guest) -> str:
        return guest.source if guest.source in self._known else ""

    def _hear(self, guest: _Guest) -> None:
        try:
            for message in guest.connection.read():
                if not guest.leaving and guest in self._guests:
                    self._answer(guest, message)
        except LostError:
            self._drop(guest, "it is not a node of this program, or has ended")

    def _answer(self, guest: _Guest, message: dict[str, Any]) -> None:
        if guest.nonces is None:
            self._take_hello(guest, message)
        elif not guest.proved:
            self._take_proof(guest, message)
        else:
            self._take_settings(guest, message)

    def _take_hello(self, guest: _Guest, hello: dict[str, Any]) -> None:
        version, node, nonce = hello.get("version"), hello.get("node"), hello.get("nonce")
        if version != PROTOCOL and isinstance(node, int):
            text = "node 0 runs another version of this program; install the same one on all machines"
            self._refuse(guest, OTHER_VERSION, "it runs another version of this program", text)
        elif type(node) is int and 0 < node < self._nodes and isinstance(nonce, str) and _NONCE.fullmatch(nonce):
            guest.node, guest.nonces = node, (nonce, new_nonce())
            guest.connection.send(nonce=guest.nonces[1])
        else:
            raise LostError

    def _take_proof(self, guest: _Guest, message: dict[str, Any]) -> None:
        facts = PROTOCOL, guest.node, *guest.nonces
        if not is_proof(message.get("proof"), self._token, "joining", *facts):
            self._refuse(guest, OTHER_TOKEN, "it does not know the secret of this run (--join_token)")
        elif guest.node in self.peers:
            self._refuse(guest, TAKEN, f"node {guest.node} is connected already")
        else:
            guest.proved = True
            guest.connection.limit = LONGEST_MESSAGE
            guest.connection.send(proof=prove(self._token, "first", *facts))

    def _take_settings(self, guest: _Guest, message: dict[str, Any]) -> None:
        theirs = message.get("settings")
        if not isinstance(theirs, dict):
            raise LostError
        if guest.node in self.peers:
            self._refuse(guest, TAKEN, f"node {guest.node} is connected already")
            return
        self._guests.remove(guest)
        self.peers[guest.node] = guest.connection
        self.addresses[guest.node] = guest.source
        differing = [k for k in {**self._settings, **theirs} if self._settings.get(k) != theirs.get(k)]
        if differing:
            ours = ", ".join(f"{key}={self._settings.get(key)!r}" for key in differing)
            found = ", ".join(f"{key}={theirs.get(key)!r}" for key in differing)
            raise UserError(f"node {guest.node} has {found}, node 0 {ours}; give all nodes the same settings")

    def _refuse(self, guest: _Guest, code: str, reason: str, text: str | None = None) -> None:
        """Say it here, then tell a guest why it is turned away, and leave it some time to read that."""
        self._say(guest, reason)
        guest.leaving, guest.deadline = True, time.monotonic() + _LEAVING_SECONDS
        guest.connection.send(code=code, refused=text or code)
        guest.connection.end_sending()

    def _watch_peers(self, ready: Iterable[object]) -> None:
        for node, peer in list(self.peers.items()):
            try:
                if peer in ready:
                    peer.read()
            except LostError:
                peer.drop()
                del self.peers[node], self.addresses[node]
                say(f"node {node} has ended before the start; waiting for it")

    def _drop(self, guest: _Guest, reason: str) -> None:
        self._guests.remove(guest)
        guest.connection.drop()
        if not guest.leaving:
            self._say(guest, reason)

    def _say(self, guest: _Guest, reason: str) -> None:
        self._dropped += 1
        if self._dropped <= _LINES:
            say(f"a connection from {guest.source} was dropped: {reason}")
        elif self._dropped == _LINES + 1:
            say("other connections that are dropped are counted only")
