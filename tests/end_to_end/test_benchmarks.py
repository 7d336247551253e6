"""Every benchmark starts: what it imports is there, from whatever folder it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in BENCHMARKS.rglob("*.py") if "support" not in path.parts)
NEEDS_MORE = {"moasha.py": "Syne Tune is not installed"}  # which its first lines say


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_tells_what_it_measures(script: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if script.name in NEEDS_MORE and done.returncode != 0:
        assert NEEDS_MORE[script.name] in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout
