"""Makes ``study_factory`` importable under importlib mode and shares two synthetic studies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from study_factory import Recipe, write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with everything in it. Read only."""
    return write_study(tmp_path_factory.mktemp("study"), Recipe(seeds=2, patients=8))


@pytest.fixture(scope="session")
def table(study: Path):
    import analysis

    return analysis.load(study)
