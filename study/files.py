"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from study.remote import is_remote, upload


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, then move it into place.

    A reader sees the old file or the whole new one; after a crash at worst a ``.partial`` file is left
    beside a local ``path``, which no reader looks at and the next write replaces. What belongs into a remote
    folder is filled on this machine and uploaded.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="taskct-") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            upload(temporary, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write plain values as indented JSON, atomically."""
    text = json.dumps(values, indent=2, default=str) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
