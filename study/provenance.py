"""Where a result came from: versions, host, device and commit, as columns of a result row."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from taskct_core import schema

_VERSIONED = ("taskct", "torch", "ray", "optuna", "monai", "numpy", "pyarrow")


def provenance(device: str) -> dict[str, str]:
    """Columns that tell who computed a row, on what, and when."""
    return {
        schema.HOST: platform.node(),
        schema.DEVICE: device,
        schema.FINISHED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        **static_provenance(),
    }


@cache
def static_provenance() -> dict[str, str]:
    """The part of the provenance that stays the same in one process."""
    versions = {f"{schema.VERSION_PREFIX}{name}": version(name) for name in _VERSIONED}
    return {
        schema.GIT_COMMIT: _git_commit(),
        f"{schema.VERSION_PREFIX}python": platform.python_version(),
        **versions,
    }


def _git_commit() -> str:
    """The commit this package runs from; empty where it does not run from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def config_hash(values: dict[str, Any]) -> str:
    """SHA-256 of plain configuration values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
