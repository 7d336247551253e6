"""The methods section says what a paper must, in words of a paper."""

from __future__ import annotations

from dataclasses import replace

from seed_table import write_seed_table

import analysis
from analysis.report.methods_text import methods_text
from taskct_core.contracts.study_card import StudyCard


def test_budget_and_points_are_told_without_dumps_of_records(tmp_path):
    table = analysis.load(write_seed_table(tmp_path / "study", slices=4))
    point = {"alpha": 0.5, "seed": 0}
    config = {
        "trial": {"epochs": 4, "learning_rate": 0.002, "weight_decay": 1 / 3},
        "study": {"trials": 24, "enqueue": [point] * 24, "objectives": ["a", "b"], "storage": None},
    }
    table = replace(table, study=StudyCard(config=config))
    blocks = {block["title"]: dict(block["items"]) for block in methods_text(table)}
    training = next(items for title, items in blocks.items() if title.startswith("Training"))
    assert training == {"epochs": "4", "learning_rate": "0.002", "weight_decay": "0.333333"}
    assert blocks["Search"]["enqueue"].startswith("24 points")
    assert blocks["Search"]["objectives"] == "a, b" and "storage" not in blocks["Search"]
    assert blocks["Evaluation"]["scored on"] == "1 patient, 4 slices"
