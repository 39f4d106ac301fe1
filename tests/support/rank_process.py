"""A rank of ``tests.support.ranks``: runs the programs that its standard input names until it closes.

A program takes three lines: its module, the file of its pickled arguments, the file for its pickled result.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from ops import flow

_LONGEST_SECONDS = 280  # a program that hangs says where before the tests lose patience
_graphs: list[flow.nn.Graph] = []


def keep_graphs() -> None:
    """Let all graphs live as long as the process: OneFlow may abort when a graph over several ranks goes away."""
    initialise = flow.nn.Graph.__init__

    def initialise_and_keep(self: flow.nn.Graph, *arguments: Any, **options: Any) -> None:
        initialise(self, *arguments, **options)
        _graphs.append(self)

    flow.nn.Graph.__init__ = initialise_and_keep


def serve(commands: BinaryIO, answers: int) -> None:
    """Run program after program; the descriptor ``answers`` gets "done" and the number of graphs kept after each."""
    for line in commands:
        module, arguments, result = (text.decode().strip() for text in (line, commands.readline(), commands.readline()))
        faulthandler.dump_traceback_later(_LONGEST_SECONDS, exit=True)
        program = importlib.import_module(module)
        Path(result).write_bytes(pickle.dumps(program.main(pickle.loads(Path(arguments).read_bytes()))))
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        os.write(answers, b"done %d\n" % len(_graphs))


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)  # what programs print belongs to the log
    code = 1
    try:
        keep_graphs()
        serve(sys.stdin.buffer, answers)
        code = 0
    except BaseException:
        traceback.print_exc()
    # At once, without OneFlow's shutdown: other ranks wait in collective calls.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
