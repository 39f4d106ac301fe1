"""Connects the launching commands of several machines: they compare settings, share news and end together.

A node is one launching command with its ranks, usually one per machine. Node 0 listens at ``--master_port`` of its
address in ``--node_ips``, the others connect to it, and it relays each node's messages to all others. OneFlow opens
separate connections between the ranks, on ports of its choice.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from common.errors import UserError
from launch.options import LaunchOptions

_NOTICE_SECONDS = 3.0  # of waiting for other nodes before a line says so
_HELLO_SECONDS = 10.0
_FAREWELL_SECONDS = 1.0
_LONGEST_MESSAGE = 1 << 20
# A machine that loses power or network closes no connection; TCP keepalive finds out.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
# Settings that may differ between nodes: the node's number, and its folders.
_PER_NODE = ("node_rank", "log_dir", "models_root", "model_load_dir", "pretrained", "num_workers", "report")


@dataclass(frozen=True)
class Assignment:
    """What a node needs to start its ranks.

    Attributes:
        port: OneFlow's port on node 0.
        first_local_rank: LOCAL_RANK of the node's first rank.
    """

    port: int
    first_local_rank: int = 0


class _LostError(Exception):
    """The peer closed the connection or cannot be reached."""


@dataclass
class _Connection:
    """Sends and receives messages over a socket, one JSON object per line."""

    socket: socket.socket
    _pending: bytes = b""
    _ready: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # the next read raises _LostError
            self.socket.sendall((json.dumps(message) + "\n").encode())

    def read(self, seconds: float = 0) -> list[dict[str, Any]]:
        """Return the messages received within ``seconds``; raises _LostError when the connection is lost."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        if not select.select([self.socket], [], [], max(0, seconds))[0]:
            return []
        try:
            data = self.socket.recv(1 << 16)
            *lines, self._pending = (self._pending + data).split(b"\n")
            messages = [dict(json.loads(line)) for line in lines]
        except (OSError, ValueError, TypeError) as error:
            raise _LostError from error
        if not messages and (not data or len(self._pending) > _LONGEST_MESSAGE):
            raise _LostError
        return messages

    def wait(self, deadline: float) -> dict[str, Any]:
        """Return the first message; raises _LostError when none arrives before ``deadline``."""
        while time.monotonic() < deadline:
            messages = self.read(deadline - time.monotonic())
            if messages:
                self._ready = messages[1:]
                return messages[0]
        raise _LostError

    def close(self) -> None:
        """Close after the peer has read everything, or after a second."""
        with contextlib.suppress(OSError, _LostError):
            self.socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _FAREWELL_SECONDS
            while time.monotonic() < deadline:
                self.read(deadline - time.monotonic())
        self.socket.close()


class MachineLink:
    """Exchanges messages with the other nodes; does nothing where there are none.

    Attributes:
        assignment: what ``rendezvous`` decided for this node.
    """

    def __init__(self, node: int, assignment: Assignment, peers: Mapping[int, _Connection]) -> None:
        self.assignment = assignment
        self._node = node
        self._peers = dict(peers)

    def send(self, kind: str, **details: Any) -> None:
        """Send a message of ``kind`` to all other nodes."""
        for peer in self._peers.values():
            peer.send(node=self._node, kind=kind, **details)

    def receive(self) -> list[dict[str, Any]]:
        """Return new messages with ``node``, ``kind`` and details; kind "lost" means that the node is unreachable."""
        received = []
        for number, peer in list(self._peers.items()):
            try:
                messages = peer.read()
            except _LostError:
                messages = [{"node": number, "kind": "lost"}]
                del self._peers[number]
                peer.close()
            for message in messages:
                for other in self._peers.values() if self._node == 0 else ():
                    if other is not peer:
                        other.send(**message)
            received += messages
        return received

    def close(self) -> None:
        """Close all connections after the sent messages have arrived."""
        while self._peers:
            self._peers.popitem()[1].close()


def rendezvous(config: Mapping[str, Any], ranks: int) -> MachineLink:
    """Wait for the other nodes of ``config``, each with ``ranks`` ranks, and return the link to them.

    Raises:
        UserError: a node does not connect within ``rank_timeout`` seconds, its settings differ, or the machines hold
            different numbers of nodes.
    """
    options = LaunchOptions.from_config(config)
    if options.num_nodes == 1:
        return MachineLink(0, Assignment(options.master_port or free_port()), {})
    settings = json.loads(json.dumps({"ranks per node": ranks, **_shared_settings(config)}))
    deadline = time.monotonic() + options.rank_timeout
    return (_accept_nodes if options.node_rank == 0 else _join)(options, settings, deadline)


def _shared_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k not in _PER_NODE and not k.endswith("dataset_dir")}


def _accept_nodes(options: LaunchOptions, settings: dict[str, Any], deadline: float) -> MachineLink:
    address = options.address
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        server = socket.create_server(address, family=family)
    except OSError as error:
        raise UserError(
            f"node 0 cannot listen at {_format_address(options)} ({error.strerror}); make the first of --node_ips an "
            "address of the machine with --node_rank 0, and --master_port a free port there"
        ) from error
    peers: dict[int, _Connection] = {}
    addresses = {0: _own_address(family, address)}
    try:
        with server:
            missing = set(range(1, options.num_nodes))
            while missing:
                _wait_for(
                    lambda: select.select([server], [], [], 0.5)[0],
                    deadline,
                    f"{_format_nodes(missing)} to connect to {_format_address(options)}",
                )
                connection, source = server.accept()
                number = _greet(_Connection(connection), peers, settings)
                if number is not None:
                    addresses[number] = source[0]
                    missing.discard(number)
        firsts = _first_local_ranks(addresses, settings["ranks per node"])
    except UserError as error:
        for peer in peers.values():
            peer.send(refused=str(error))
            peer.close()
        raise
    port = free_port()
    for number, peer in peers.items():
        peer.send(assignment=asdict(Assignment(port, firsts[number])))
    return MachineLink(0, Assignment(port, firsts[0]), peers)


def _greet(connection: _Connection, peers: dict[int, _Connection], settings: dict[str, Any]) -> int | None:
    """Add a new connection to ``peers`` and return its node; None where the peer is not a node or is refused."""
    try:
        hello = connection.wait(time.monotonic() + _HELLO_SECONDS)
        number, theirs = hello["node"], dict(hello["settings"])
    except (_LostError, KeyError, TypeError, ValueError):
        connection.close()
        return None
    if number in peers:
        connection.send(refused=f"node {number} is connected already; give each machine a different --node_rank")
        connection.close()
        return None
    peers[number] = connection
    for key in {**settings, **theirs}:
        if settings.get(key) != theirs.get(key):
            raise UserError(
                f"node {number} has {key}={theirs.get(key)!r}, node 0 {key}={settings.get(key)!r}; "
                "give all nodes the same settings"
            )
    return number


def _join(options: LaunchOptions, settings: dict[str, Any], deadline: float) -> MachineLink:
    address = options.address

    def connect() -> socket.socket | None:
        try:
            return socket.create_connection(address, timeout=5)
        except OSError:
            time.sleep(0.2)
            return None

    node = options.node_rank
    connection = _Connection(_wait_for(connect, deadline, f"node 0 to listen at {_format_address(options)}"))
    connection.socket.settimeout(None)
    connection.send(node=node, settings=settings)
    try:
        answer = connection.wait(deadline + _HELLO_SECONDS)
    except _LostError:
        raise UserError(f"node 0 at {_format_address(options)} has ended; see its output for the reason") from None
    if "refused" in answer:
        raise UserError(answer["refused"])
    return MachineLink(node, Assignment(**answer["assignment"]), {0: connection})


def _wait_for(attempt: Callable[[], Any], deadline: float, what: str) -> Any:
    """Return the first true result of ``attempt``; after some seconds, print what is being waited for."""
    start, said = time.monotonic(), False
    while True:
        result = attempt()
        if result:
            return result
        now = time.monotonic()
        if now > deadline:
            raise UserError(
                f"timed out waiting for {what} (--rank_timeout); start the command on every node and open the port"
            )
        if not said and now > start + _NOTICE_SECONDS:
            print(f"waiting for {what}", file=sys.stderr, flush=True)
            said = True


def _first_local_ranks(addresses: Mapping[int, str], ranks: int) -> list[int]:
    """Return each node's first LOCAL_RANK.

    OneFlow identifies a machine by its address as node 0 sees it and numbers the ranks of one address from 0, across
    nodes. A rank with any other LOCAL_RANK hangs at its first tensor.
    """
    ordered = [addresses[node] for node in range(len(addresses))]
    nodes_each, rest = divmod(len(ordered), len(set(ordered)))
    if rest or any(address != ordered[i - i % nodes_each] for i, address in enumerate(ordered)):
        raise UserError(
            f"the nodes connected from {', '.join(ordered)}: every machine must run the same number of nodes, with "
            "consecutive numbers; start one node per machine with more --device_num_per_node"
        )
    return [i % nodes_each * ranks for i in range(len(ordered))]


def _own_address(family: int, address: tuple[str, int]) -> str:
    """Return the address that connections from this machine to ``address`` come from."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return probe.getsockname()[0]


def _format_nodes(nodes: Collection[int]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, sorted(nodes)))}"


def _format_address(options: LaunchOptions) -> str:
    return "{}:{}".format(*options.address)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
