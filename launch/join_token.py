"""The secret of a run on several machines: where it is kept, and how nodes prove to each other that they know it.

The secret itself is never sent. Each side sends a random number and answers with an HMAC over both numbers, so what a
listener has seen proves nothing in another connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import make_directory
from launch.notices import say

TOKEN_VARIABLE = "INSIGHTFACE_JOIN_TOKEN"
FILE_NAME = "join_token"
_SHORTEST, _LONGEST = 16, 4096


def token_file(config: Mapping[str, Any]) -> Path:
    """Return the file of the secret: ``--join_token``, or one in ``models_root``, which all machines share."""
    return Path(config["join_token"] or Path(config["models_root"]) / FILE_NAME)


def token_place(path: Path) -> str:
    """Return where this process has the secret from, for messages."""
    return TOKEN_VARIABLE if TOKEN_VARIABLE in os.environ else str(path)


def create_token(path: Path) -> None:
    """Write a new secret, for this user alone, unless the file exists or the environment holds a secret.

    Raises:
        UserError: the file cannot be written.
    """
    if TOKEN_VARIABLE in os.environ:
        return
    make_directory(path.parent, "--join_token")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another --join_token") from error
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
    except OSError as error:
        path.unlink()
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another --join_token") from error


def read_token(path: Path) -> bytes | None:
    """Return the secret of the environment or of ``path``; None where there is no such file.

    Raises:
        UserError: the secret is too short or too long, or the file cannot be read.
    """
    given = os.environ.get(TOKEN_VARIABLE)
    if given is not None:
        return _checked(os.fsencode(given), TOKEN_VARIABLE)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            token = _checked(file.read(_LONGEST + 1), f"--join_token {path}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"--join_token {path} cannot be read ({error.strerror}); it holds the run's secret") from error
    if status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0):
        say(f"note: {path}, the secret of the run, is not yours alone; chmod 600 {path}")
    return token


def _checked(token: bytes, where: str) -> bytes:
    token = token.strip()
    if not _SHORTEST <= len(token) <= _LONGEST:
        found = len(token) if len(token) <= _LONGEST else f"more than {_LONGEST}"
        raise UserError(
            f"{where}: the secret has {found} characters, {_SHORTEST} to {_LONGEST} were expected; make one by: "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return token


def new_nonce() -> str:
    """Return a random number that is used once."""
    return secrets.token_hex(32)


def prove(token: bytes, role: str, *facts: object) -> str:
    """Return the proof that a node in ``role`` ("joining" or "first") knows the secret, for these ``facts``."""
    return hmac.new(token, json.dumps([role, *facts]).encode(), hashlib.sha256).hexdigest()


def is_proof(given: object, token: bytes, role: str, *facts: object) -> bool:
    """Return whether ``given`` is that proof, in a time that does not depend on it."""
    with contextlib.suppress(TypeError):  # text outside ASCII
        return isinstance(given, str) and hmac.compare_digest(given, prove(token, role, *facts))
    return False
