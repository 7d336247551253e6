"""What every recorded result carries: hardware, versions, commit and command."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from study.provenance import provenance


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a benchmark's flat result with its circumstances as JSON; its ``device`` is a CPU unless it says otherwise."""
    command = " ".join(["python", *sys.argv])
    hardware = f"{_processor()}, {os.cpu_count()} cores"
    values = {**result, "command": command, "hardware": hardware, **provenance(result.get("device", "cpu"))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
