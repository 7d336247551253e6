"""The example notebook: every code cell runs, in order, in one namespace, on a real study folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "explore_a_study.ipynb"


def test_every_cell_of_the_notebook_runs(study, monkeypatch, capsys):
    monkeypatch.setenv("TASKCT_STUDY", str(study))
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    namespace: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are not committed"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)
    printed = capsys.readouterr().out
    assert "non-dominated" in printed and "front_dice_psnr" in printed
    assert isinstance(namespace["compared"].rows, pd.DataFrame)
    data = namespace["compute_front"](namespace["table"], x="psnr_lodopab", y="dice_mean_patient_nnunet")
    assert isinstance(namespace["draw_front"](data), go.Figure)
