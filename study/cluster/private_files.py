"""Where a Ray of this machine keeps its files: in folders that nobody else may enter, under paths that are short enough.

Ray's own choice is ``/tmp/ray``, open to all users, and a token that others may read where a home folder lets them in.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_LONGEST_SOCKET_PATH = 107  # that Linux takes; 103 on macOS
# What Ray appends: session_<date>_<microseconds>_<process>, and the longest of its sockets.
_APPENDED = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store") + 4
_SESSIONS = "ray"  # Ray opens the folder that it is given to all; the one around it stays closed
_TOKEN_BYTES = 32
_NO_ONE_ELSE = 0o077


def session_folder() -> Path:
    """A folder for Ray's sessions that only this user may enter: below TMPDIR, or elsewhere if that is too long.

    Raises:
        OSError: if none can be made.
    """
    named = os.environ.get("RAY_TMPDIR")
    name = f"taskct-{os.getuid()}"
    places = [Path(named) if named else Path(tempfile.gettempdir()) / name, Path("/tmp") / name]
    for folder in places:
        if len(str(folder / _SESSIONS)) + _APPENDED <= _LONGEST_SOCKET_PATH and _is_made_private(folder):
            return folder / _SESSIONS
    # Whoever made /tmp/taskct-UID, it was not us.
    return Path(tempfile.mkdtemp(prefix="taskct-", dir="/tmp")) / _SESSIONS


def _is_made_private(folder: Path) -> bool:
    """Make a folder, or close an own one to others; False where that cannot be done."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        if found.st_mode & _NO_ONE_ELSE:
            folder.chmod(0o700)
        return os.access(folder, os.W_OK | os.X_OK)
    return False


def keep_token_private() -> None:
    """See to it that only this user can read the token of Ray's that Ray makes at its first start.

    Where the home folder cannot be written to, the token lives in the environment of this process and of those that it
    starts.
    """
    if os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        return
    try:
        file = Path.home() / ".ray" / "auth_token"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.is_file() and file.stat().st_size:
            file.chmod(0o600)
            return
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(secrets.token_hex(_TOKEN_BYTES))
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(_TOKEN_BYTES)
