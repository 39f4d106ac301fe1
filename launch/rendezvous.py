"""Connects the launching commands of several machines: they compare settings, share news and end together.

A node is one launching command with its ranks, usually one per machine. Node 0 listens at ``--master_port`` of its
address in ``--node_ips``, the others connect to it and prove that they know the run's secret, and it relays each node's
messages to all others. OneFlow opens separate connections between the ranks, on ports of its choice.

The messages until the ranks start, from a joining node (>) and from node 0 (<)::

    > {"version": 2, "node": 1, "nonce": ...}
    < {"nonce": ...}                              or {"code": ..., "refused": ...}
    > {"proof": ...}
    < {"proof": ...}                              or {"code": ..., "refused": ...}
    > {"settings": {...}}
    < {"waiting": [2, 3]}                         every few seconds
    < {"assignment": {...}}                       or {"refused": ...}
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.errors import UserError
from launch.addresses import first_local_ranks, free_port, own_address
from launch.connection import Connection, LostError
from launch.gate import GREETING_SECONDS, LONGEST_MESSAGE, OTHER_TOKEN, OTHER_VERSION, PROTOCOL, TAKEN, Gate
from launch.join_token import create_token, is_proof, new_nonce, prove, read_token, token_file, token_place
from launch.machine_link import LOST_SECONDS, Assignment, MachineLink
from launch.notices import say
from launch.options import LaunchOptions
from launch.program_version import program_version

_NOTICE_SECONDS = 3.0  # of waiting for other nodes before a line says so
_REPEAT_SECONDS = 50.0  # before it is said again
_BEAT_SECONDS = 2.0
_SHORTEST_PATIENCE = 10.0  # as a busy machine may keep a launching command waiting
_RETRY_SECONDS = 60.0  # of connections that are closed, or of waiting for the secret, before a node gives up
# Settings that may differ between nodes: the node's number, and its folders.
_PER_NODE = (
    "node_rank",
    "log_dir",
    "models_root",
    "model_load_dir",
    "pretrained",
    "num_workers",
    "report",
    "join_token",
)


def rendezvous(config: Mapping[str, Any], ranks: int) -> MachineLink:
    """Wait for the other nodes of ``config``, each with ``ranks`` ranks, and return the link to them.

    Raises:
        UserError: a node does not connect within ``rank_timeout`` seconds, its secret or its settings differ, or the
            machines hold different numbers of nodes.
    """
    options = LaunchOptions.from_config(config)
    if options.num_nodes == 1:
        return MachineLink(0, Assignment(options.master_port or free_port()), {})
    settings = json.loads(json.dumps({"ranks per node": ranks, **program_version(), **_shared_settings(config)}))
    node = _FirstNode if options.node_rank == 0 else _JoiningNode
    return node(options, settings, token_file(config)).meet()


def _shared_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k not in _PER_NODE and not k.endswith("dataset_dir")}


class _Patience:
    """Says what is being waited for, now and then, and when the wait is over."""

    def __init__(self, seconds: float) -> None:
        self._start = time.monotonic()
        self._seconds = seconds
        self._next_line = self._start + _NOTICE_SECONDS
        self._said = False

    def check(self, what: str) -> None:
        """Print that ``what`` is waited for if it is time to.

        Raises:
            UserError: the time is over.
        """
        now = time.monotonic()
        if now > self._start + self._seconds:
            raise UserError(
                f"timed out waiting for {what} (--rank_timeout); start the command on every node and open the port"
            )
        if now > self._next_line:
            more = f" ({now - self._start:.0f} s so far, {self._seconds:g} s at most)" if self._said else ""
            say(f"waiting for {what}{more}")
            self._next_line, self._said = now + _REPEAT_SECONDS, True


class _FirstNode:
    """Node 0, which listens."""

    def __init__(self, options: LaunchOptions, settings: dict[str, Any], file: Path) -> None:
        self._options = options
        self._settings = settings
        create_token(file)
        self._token = read_token(file)
        if self._token is None:
            raise UserError(f"{file}, which holds the secret of the run, has disappeared; start again")

    def meet(self) -> MachineLink:
        """Wait for all nodes, tell each its place, and return the link to them."""
        with self._listening() as (server, own):
            gate = Gate(server, self._token, self._options.num_nodes, self._settings, self._known_addresses())
            try:
                self._wait(gate)
                addresses = {0: own, **gate.addresses}
                firsts = first_local_ranks(addresses, self._settings["ranks per node"])
            except UserError as error:
                for peer in gate.peers.values():
                    peer.send(refused=str(error))
                    peer.close()
                raise
            finally:
                gate.close()
        port = free_port()
        for number, peer in gate.peers.items():
            peer.send(assignment=asdict(Assignment(port, firsts[number])))
        return MachineLink(0, Assignment(port, firsts[0]), gate.peers, _patience(self._options))

    @contextmanager
    def _listening(self) -> Iterator[tuple[socket.socket, str]]:
        """Yield the listening socket, and the address that connections from this machine to it come from."""
        address = self._options.address
        try:
            family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
            server = socket.create_server(address, family=family)
        except OSError as error:
            raise UserError(
                f"node 0 cannot listen at {_format_address(self._options)} ({error.strerror}); make the first of "
                "--node_ips an address of the machine with --node_rank 0, and --master_port a free port there"
            ) from error
        with server:
            server.settimeout(1)  # a connection may have gone before it is accepted
            yield server, own_address(family, address)

    def _known_addresses(self) -> set[str]:
        known = set()
        for name in self._options.node_ips:
            with suppress(OSError):
                known |= {found[4][0] for found in socket.getaddrinfo(name, None)}
        return known

    def _wait(self, gate: Gate) -> None:
        patience = _Patience(self._options.rank_timeout)
        beat = time.monotonic()
        while gate.missing:
            gate.serve(0.5)
            if gate.missing:
                patience.check(f"{_format_nodes(gate.missing)} to connect to {_format_address(self._options)}")
            if time.monotonic() > beat + _BEAT_SECONDS:
                beat = time.monotonic()
                for peer in gate.peers.values():
                    peer.send(waiting=gate.missing)


class _JoiningNode:
    """A node that connects to node 0."""

    def __init__(self, options: LaunchOptions, settings: dict[str, Any], file: Path) -> None:
        self._options = options
        self._settings = settings
        self._file = file
        self._where = f"node 0 at {_format_address(options)}"
        self._patience = _Patience(options.rank_timeout)

    def meet(self) -> MachineLink:
        """Join the run, wait for its start, and return the link to node 0."""
        connection = self._join()
        connection.send(settings=self._settings)
        try:
            while True:
                answer = connection.wait(time.monotonic() + _patience(self._options))
                if "waiting" not in answer:
                    break
                self._patience.check(f"{_format_nodes(answer['waiting'])} to connect to {self._where}")
        except LostError:
            raise UserError(f"{self._where} has ended; see its output for the reason") from None
        if "refused" in answer:
            raise UserError(answer["refused"])
        node = self._options.node_rank
        return MachineLink(node, Assignment(**answer["assignment"]), {0: connection}, _patience(self._options))

    def _join(self) -> Connection:
        """Return a connection to a node 0 that has proved itself, and to which this node has."""
        answered = token = None
        while True:
            with suppress(OSError):
                connected = socket.create_connection(self._options.address, timeout=5)
                connection = Connection(connected, LONGEST_MESSAGE)
                # Node 0 writes the file before it listens, but other machines may see it some seconds later.
                token = token or read_token(self._file)
                if token is not None and self._greet(connection, token):
                    return connection
                connection.drop()
                answered = answered or time.monotonic()
                if time.monotonic() > answered + min(_RETRY_SECONDS, self._options.rank_timeout):
                    raise UserError(self._failed(token))
            self._patience.check(f"{self._where.replace(' at ', ' to listen at ')}")
            time.sleep(0.2 if answered is None else 1)

    def _failed(self, token: bytes | None) -> str:
        if token is None:
            return (
                f"{self._where} listens, and {self._file} with the secret of the run is not here; copy it from node 0 "
                "and name it by --join_token, or put --models_root on a disk that all machines share"
            )
        return (
            f"{self._where} closes each connection without an answer; another program or another version of this one "
            "listens there, or the network between is broken"
        )

    def _greet(self, connection: Connection, token: bytes) -> bool:
        """Return whether the other side is node 0 of this run; False where it does not answer as one.

        Raises:
            UserError: it refused this node, or does not know the secret.
        """
        node, own = self._options.node_rank, new_nonce()
        deadline = time.monotonic() + GREETING_SECONDS
        connection.send(version=PROTOCOL, node=node, nonce=own)
        try:
            answer = connection.wait(deadline)
            if "refused" not in answer:
                facts = PROTOCOL, node, own, str(answer["nonce"])
                connection.send(proof=prove(token, "joining", *facts))
                answer = connection.wait(deadline)
        except (LostError, KeyError):
            return False
        if "refused" in answer:
            self._raise_refusal(answer.get("code"))
        if not is_proof(answer.get("proof"), token, "first", *facts):
            raise UserError(self._other_token())
        return True

    def _raise_refusal(self, code: object) -> None:
        """Raise in own words: the other side has not proved to be node 0."""
        node = self._options.node_rank
        raise UserError(
            {
                OTHER_TOKEN: self._other_token(),
                OTHER_VERSION: f"{self._where} runs another version of this program; install the same on all machines",
                TAKEN: f"node {node} is connected already; give each machine a different --node_rank",
            }.get(str(code), f"{self._where} refuses this node")
        )

    def _other_token(self) -> str:
        return (
            f"{self._where} has another secret than {token_place(self._file)} here; give all nodes the same "
            "--join_token, or put --models_root on a disk that all machines share"
        )


def _patience(options: LaunchOptions) -> float:
    return min(LOST_SECONDS, max(_SHORTEST_PATIENCE, options.rank_timeout))


def _format_nodes(nodes: Collection[int]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, sorted(nodes)))}"


def _format_address(options: LaunchOptions) -> str:
    return "{}:{}".format(*options.address)
