"""How the launching commands of several machines find each other, compare settings and end together.

Node 0 listens at ``--master_port`` of its address in ``--node_ips``; the others connect to it, and it passes on what
one node has to say to all. OneFlow's own connections between ranks are another matter: they use ports chosen freely.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from common.errors import UserError

_SAY_AFTER = 3.0  # seconds of waiting for others before a line says so
_HELLO_SECONDS = 10.0
_FAREWELL_SECONDS = 1.0
_LONGEST_MESSAGE = 1 << 20
# A machine that loses its power or its network says no goodbye; the kernel then asks after it this often.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
# What may differ: a machine's own number, and where it finds and puts things.
_OF_ONE_NODE = ("node_rank", "log_dir", "models_root", "model_load_dir", "pretrained", "num_workers", "report")


@dataclass(frozen=True)
class Place:
    """What a node needs to know to start its ranks: OneFlow's port on node 0, and its first rank's LOCAL_RANK."""

    port: int
    first_local_rank: int = 0


class _LostError(Exception):
    """The other end of a connection is gone."""


@dataclass
class _Connection:
    """Messages, one JSON object a line, over a socket."""

    socket: socket.socket
    _pending: bytes = b""
    _ready: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # reading tells that it is gone
            self.socket.sendall((json.dumps(message) + "\n").encode())

    def read(self, seconds: float = 0) -> list[dict[str, Any]]:
        """Return what has come, after at most ``seconds``; raises _LostError when nothing more can come."""
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
        """Return the first message; raises _LostError when none came before ``deadline``."""
        while time.monotonic() < deadline:
            messages = self.read(deadline - time.monotonic())
            if messages:
                self._ready = messages[1:]
                return messages[0]
        raise _LostError

    def close(self) -> None:
        """Close once the other end has read everything, or soon."""
        with contextlib.suppress(OSError, _LostError):
            self.socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _FAREWELL_SECONDS
            while time.monotonic() < deadline:
                self.read(deadline - time.monotonic())
        self.socket.close()


class NodeLine:
    """A node's line to the others; without others nothing comes and nothing goes.

    Attributes:
        place: what ``meet`` has settled for this node.
    """

    def __init__(self, node: int, place: Place, peers: Mapping[int, _Connection]) -> None:
        self.place = place
        self._node = node
        self._peers = dict(peers)

    def tell(self, kind: str, **details: Any) -> None:
        """Send a message of ``kind`` to all other nodes."""
        for peer in self._peers.values():
            peer.send(node=self._node, kind=kind, **details)

    def listen(self) -> list[dict[str, Any]]:
        """Return the messages that have come: ``node``, ``kind``, details; kind "lost" when a node is gone."""
        news = []
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
            news += messages
        return news

    def close(self) -> None:
        """Leave, after what was told has arrived."""
        while self._peers:
            self._peers.popitem()[1].close()


def meet(config: Mapping[str, Any], ranks: int) -> NodeLine:
    """Wait for the other nodes of ``config``, each with ``ranks`` ranks, and return the line to them.

    Raises:
        UserError: a node did not come in ``rank_timeout`` seconds, has other settings, or shares its machine with some
            of the others only.
    """
    if config["num_nodes"] == 1:
        return NodeLine(0, Place(config["master_port"] or free_port()), {})
    settings = json.loads(json.dumps({"ranks per node": ranks, **_settings_of_all(config)}))
    deadline = time.monotonic() + config["rank_timeout"]
    return (_receive if config["node_rank"] == 0 else _join)(config, settings, deadline)


def _settings_of_all(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k not in _OF_ONE_NODE and not k.endswith("dataset_dir")}


def _receive(config: Mapping[str, Any], settings: dict[str, Any], deadline: float) -> NodeLine:
    address = (config["node_ips"][0], config["master_port"])
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        server = socket.create_server(address, family=family)
    except OSError as error:
        raise UserError(
            f"node 0 cannot listen at {_text(config)} ({error.strerror}); the first of --node_ips must be an address "
            "of the machine with --node_rank 0, and --master_port free there"
        ) from error
    peers: dict[int, _Connection] = {}
    addresses = {0: _own_address(family, address)}
    try:
        with server:
            missing = set(range(1, config["num_nodes"]))
            while missing:
                _wait_for(
                    lambda: select.select([server], [], [], 0.5)[0],
                    deadline,
                    f"node(s) {', '.join(map(str, sorted(missing)))} to come to {_text(config)}",
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
        peer.send(place=asdict(Place(port, firsts[number])))
    return NodeLine(0, Place(port, firsts[0]), peers)


def _greet(connection: _Connection, peers: dict[int, _Connection], settings: dict[str, Any]) -> int | None:
    """Take a newcomer into ``peers`` and return its number; None for somebody who is no node of this kind."""
    try:
        hello = connection.wait(time.monotonic() + _HELLO_SECONDS)
        number, theirs = hello["node"], dict(hello["settings"])
    except (_LostError, KeyError, TypeError, ValueError):
        connection.close()
        return None
    if number in peers:
        connection.send(refused=f"there is a node {number} already; every machine needs its own --node_rank")
        connection.close()
        return None
    peers[number] = connection
    for key in {**settings, **theirs}:
        if settings.get(key) != theirs.get(key):
            raise UserError(
                f"node {number} has {key}={theirs.get(key)!r}, node 0 {key}={settings.get(key)!r}; "
                "all nodes need the same settings"
            )
    return number


def _join(config: Mapping[str, Any], settings: dict[str, Any], deadline: float) -> NodeLine:
    address = (config["node_ips"][0], config["master_port"])

    def connect() -> socket.socket | None:
        try:
            return socket.create_connection(address, timeout=5)
        except OSError:
            time.sleep(0.2)
            return None

    node = config["node_rank"]
    connection = _Connection(_wait_for(connect, deadline, f"node 0 to listen at {_text(config)}"))
    connection.socket.settimeout(None)
    connection.send(node=node, settings=settings)
    try:
        answer = connection.wait(deadline + _HELLO_SECONDS)
    except _LostError:
        raise UserError(f"node 0 at {_text(config)} has ended; its own output says why") from None
    if "refused" in answer:
        raise UserError(answer["refused"])
    return NodeLine(node, Place(**answer["place"]), {0: connection})


def _wait_for(attempt: Callable[[], Any], deadline: float, what: str) -> Any:
    """Return the first true result of ``attempt``; a line tells users who wait."""
    start, said = time.monotonic(), False
    while True:
        result = attempt()
        if result:
            return result
        now = time.monotonic()
        if now > deadline:
            raise UserError(f"waited in vain for {what} (--rank_timeout); were all nodes started, is the port open?")
        if not said and now > start + _SAY_AFTER:
            print(f"waiting for {what}", file=sys.stderr, flush=True)
            said = True


def _first_local_ranks(addresses: Mapping[int, str], ranks: int) -> list[int]:
    """Return each node's first LOCAL_RANK.

    To OneFlow a machine is an address, as node 0 sees it: it counts the ranks of one address from 0, whichever node
    they are of, and a rank that is told another number hangs at its first tensor.
    """
    ordered = [addresses[node] for node in range(len(addresses))]
    nodes_each, rest = divmod(len(ordered), len(set(ordered)))
    if rest or any(address != ordered[i - i % nodes_each] for i, address in enumerate(ordered)):
        raise UserError(
            f"the nodes came from {', '.join(ordered)}: every machine must have the same number of them, one after "
            "the other; give each machine one node and more --device_num_per_node"
        )
    return [i % nodes_each * ranks for i in range(len(ordered))]


def _own_address(family: int, address: tuple[str, int]) -> str:
    """Return the address that connections from this machine to ``address`` come from."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return probe.getsockname()[0]


def _text(config: Mapping[str, Any]) -> str:
    return f"{config['node_ips'][0]}:{config['master_port']}"


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
