"""Where a result came from: versions, host, device and commit, as columns of a result row."""

from __future__ import annotations

import hashlib
import json
import os
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
        **source_of(Path(__file__).parents[1]),
        f"{schema.VERSION_PREFIX}python": platform.python_version(),
        **versions,
    }


def source_of(root: Path) -> dict[str, str]:
    """taskct's own commit, and whether there are changes since; empty where ``root`` is no checkout of its own.

    A copy inside another repository, or an installed package, says nothing of that repository's commit.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    own = top and Path(top).resolve() == root.resolve() and _git(root, "ls-files", "study/provenance.py")
    if not own:
        return {schema.GIT_COMMIT: "", schema.GIT_CHANGED: ""}
    changed = bool(_git(root, "status", "--porcelain"))
    return {
        schema.GIT_COMMIT: _git(root, "rev-parse", "HEAD"),
        schema.GIT_CHANGED: "uncommitted changes" if changed else "no changes",
    }


def _git(root: Path, *arguments: str) -> str:
    """What git prints; empty where it fails. Variables such as GIT_DIR would point it elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def config_hash(values: dict[str, Any]) -> str:
    """SHA-256 of plain configuration values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
