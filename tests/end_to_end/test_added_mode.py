"""A training mode is one line of ``taskct_core.modes``: added there, it trains, is searched, and stands in the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path

sys.path[:0] = [{analysis_tests!r}]

from taskct_core.modes import MODES, Mode, Phase

MODES["alternating"] = Mode((Phase("task", task_network_learns=True), Phase("mixed")))

import analysis
from study.search.space import SearchSpace
from study_factory import Recipe, write_study
from taskct_core.training.config import TrialConfig
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.tables import read_table, write_table

import pandas as pd
import pyarrow as pa

SearchSpace.parse({{"mode": {{"kind": "choice", "values": ["joint", "alternating"]}}}})
assert TrialConfig.parse({{"mode": "alternating", "epochs": 2}}).mode == "alternating"

folder = write_study(Path({folder!r}), Recipe())
for name in (StudyFolder.results, StudyFolder.samples):
    table = read_table(folder / name)
    frame = table.to_pandas()
    changed = frame["method"] == "task_adaptive"
    frame.loc[changed, "method"] = "alternating"
    write_table(folder / name, pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(table.schema.metadata))
page = analysis.write_report(folder).read_text()
print("alternating" in page, "alternating" in str(analysis.methods_table(analysis.load(folder)).to_string()))
"""


@pytest.mark.slow
def test_a_mode_added_to_the_table_reaches_search_and_report(tmp_path: Path) -> None:
    """In a process of its own: figures take their markers from the table when they are imported."""
    program = PROGRAM.format(
        analysis_tests=str(Path(__file__).parents[1] / "analysis"), folder=str(tmp_path / "study")
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "True True", result.stderr
