"""Run a command under a limit: ``python -m tests.campaigns.disk.limits LIMIT VALUE SCRIPT FLAGS...``.

LIMIT is ``memory``, bytes of address space; ``files``, open descriptors; ``group``, the file of a control group that
takes a process in; or ``owner``, whose VALUE does not count: the process then has no more rights than the owner of the
files, even if it is root.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_WITHOUT_RIGHTS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


def main() -> None:
    """Set the limit and become the command."""
    limit, value, *words = sys.argv[1:]
    command = [sys.executable, *words]
    if limit == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (int(value), int(value)))
    elif limit == "files":
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(value), int(value)))
    elif limit == "group":
        Path(value).write_text(str(os.getpid()))
    else:
        command = [*_WITHOUT_RIGHTS, *command]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
