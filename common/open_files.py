"""The limit on open files. OneFlow does not report that it is too low: it aborts."""

from __future__ import annotations

import resource

from common.errors import UserError

_NEEDED = 128  # measured: 24 in the only rank of a training, 47 in one of two ranks


def require_open_files() -> None:
    """Make sure that this process and those that it starts may open enough files; raise the soft limit if it is lower.

    Raises:
        UserError: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _NEEDED:
        return
    if hard != resource.RLIM_INFINITY and hard < _NEEDED:
        raise UserError(
            f"the limit on open files is {hard}, below the {_NEEDED} that a run may take; raise it (ulimit -n)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (_NEEDED, hard))
