"""The connection between the launching commands of the machines while their ranks run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launch.connection import Connection, LostError
from launch.notices import say

BEAT_SECONDS = 5.0
NOTICE_SECONDS = 15.0
REPEAT_SECONDS = 45.0
LOST_SECONDS = 150.0


@dataclass(frozen=True)
class Assignment:
    """What a node needs to start its ranks.

    Attributes:
        port: OneFlow's port on node 0.
        first_local_rank: LOCAL_RANK of the node's first rank.
    """

    port: int
    first_local_rank: int = 0


@dataclass
class _Peer:
    connection: Connection
    heard: float = field(default_factory=time.monotonic)
    next_notice: float = field(default_factory=lambda: NOTICE_SECONDS)  # of silence before a line says so


class MachineLink:
    """Exchanges messages with the other nodes, heartbeats among them; does nothing where there are none.

    A cable that is cut closes no connection. A node that is silent is named after 15 seconds and counts as lost after
    ``patience``; OneFlow's own connections wait for hours.

    Attributes:
        assignment: what ``launch.rendezvous`` decided for this node.
    """

    def __init__(
        self, node: int, assignment: Assignment, peers: Mapping[int, Connection], patience: float = LOST_SECONDS
    ) -> None:
        self.assignment = assignment
        self._node = node
        self._peers = {number: _Peer(connection) for number, connection in peers.items()}
        self._patience = patience
        self._last_beat = 0.0

    def send(self, kind: str, **details: Any) -> None:
        """Send a message of ``kind`` to all other nodes."""
        for peer in self._peers.values():
            peer.connection.send(node=self._node, kind=kind, **details)

    def receive(self) -> list[dict[str, Any]]:
        """Return new messages with ``node``, ``kind`` and details; call this every few seconds or more often.

        Kind "lost" means that the node is unreachable; ``silent`` is then the seconds without a heartbeat, 0 where the
        connection was closed.
        """
        self._beat()
        received = []
        for number, peer in list(self._peers.items()):
            messages = self._hear(number, peer)
            for message in messages:
                for other in self._peers.values() if self._node == 0 else ():
                    if other is not peer:
                        other.connection.send(**message)
            received += messages
        return received

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat > min(BEAT_SECONDS, self._patience / 4):
            self._last_beat = time.monotonic()
            self.send("alive")

    def _hear(self, number: int, peer: _Peer) -> list[dict[str, Any]]:
        """Return the messages of a peer without its heartbeats; a lost peer is forgotten."""
        lost = {"node": number, "kind": "lost", "silent": 0}
        try:
            messages = peer.connection.read()
        except LostError:
            messages = [lost]
        now = time.monotonic()
        silent = now - peer.heard
        if messages:
            peer.heard = now
            if peer.next_notice > NOTICE_SECONDS and messages != [lost]:
                say(f"node {number} is back after {silent:.0f} s")
            peer.next_notice = NOTICE_SECONDS
        elif silent > self._patience:
            lost["silent"] = round(silent)
            messages = [lost]
        elif silent > peer.next_notice:
            peer.next_notice = silent + REPEAT_SECONDS
            say(f"no sign of node {number} for {silent:.0f} s; the run ends after {self._patience:.0f} s without one")
        if lost in messages:
            del self._peers[number]
            peer.connection.drop() if lost["silent"] else peer.connection.close()
        return [message for message in messages if message["kind"] != "alive"]

    def close(self) -> None:
        """Close all connections after the sent messages have arrived."""
        while self._peers:
            self._peers.popitem()[1].connection.close()
