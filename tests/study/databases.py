"""A PostgreSQL server of the tests' own, on a socket in a temporary folder, where the machine has PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 60.0
_SUPERUSER = "taskct"


def postgres_programs() -> Path | None:
    """The folder of the server's programs; None where there is none."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent  # the others may have no links in PATH
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)  # where Debian keeps them


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """Run a server with one empty database.

    Yields:
        The database's URL.
    """
    # In a folder that its user may enter: a test's own is root's where root runs the tests, as whom no server starts.
    with tempfile.TemporaryDirectory(prefix="taskct-postgres-") as name:
        folder, account = Path(name), _account()
        if account:
            shutil.chown(folder, account["user"])
        data = folder / "data"
        create = [
            programs / "initdb",
            "--pgdata",
            data,
            "--auth=trust",
            "--username",
            _SUPERUSER,
            "--no-sync",
        ]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, cwd="/", **account)
        settings = ["-k", name, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *settings], stdout=log, stderr=log, cwd="/", **account
            )
        try:
            _wait_for_it(programs, server, name)
            yield f"postgresql://{_SUPERUSER}@/postgres?host={name}"
        finally:
            server.send_signal(signal.SIGINT)  # ends its clients, too
            server.wait(_PATIENCE_SECONDS)


def _account() -> dict[str, Any]:
    """Whom the server runs as."""
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def _wait_for_it(programs: Path, server: subprocess.Popen[bytes], host: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while subprocess.run([programs / "pg_isready", "--quiet", "--host", host], check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(Path(host) / 'log').read_text()}")
        time.sleep(0.1)
