"""``benchmarks/real_ct/comparison_record.py`` on a study whose pairs of runs are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from study_factory import Recipe, write_study, write_table

from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "real_ct" / "comparison_record.py"
LIVER, TUMOUR = "dice_liver_patient_monai", "dice_tumour_patient_monai"
FALSE_TUMOURS = "tumour_false_positives"
# Of each run (fold, seed) liver and tumour, the second fold's patient without a tumour: in two of the three pairs that
# both have, the task-adaptive run is ahead in the liver, in neither of two in the tumour, once by a tie.
RUNS = {
    0: {(0, 0): (0.80, 0.30), (0, 1): (0.82, 0.40), (1, 0): (0.70, None)},
    1: {(0, 0): (0.85, 0.30), (0, 1): (0.81, 0.35), (1, 0): (0.75, None), (1, 1): (0.99, None)},
}


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What the script records of a plain and a task-adaptive trial, each with runs of two folds and seeds."""
    folder = write_study(
        tmp_path_factory.mktemp("record") / "study", Recipe(trials=2, architectures=("unet",))
    )
    results = pd.read_parquet(folder / StudyFolder.results)
    results[FALSE_TUMOURS] = results[S.TRIAL] + 10.0
    runs = [
        {
            S.TRIAL: trial,
            S.SPLIT: split,
            S.STATUS: S.COMPLETE,
            S.RUN: f"fold-{fold}-seed-{seed}",
            S.FOLD: fold,
            S.SEED: seed,
            LIVER: liver if split == "test" else 0.0,
            TUMOUR: tumour,
        }
        for trial, of_trial in RUNS.items()
        for (fold, seed), (liver, tumour) in of_trial.items()
        for split in ("validation", "test")
    ]
    write_table(folder / StudyFolder.results, pd.concat([results, pd.DataFrame(runs)], ignore_index=True))
    record = folder.parent / "record.json"
    subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), "--json", str(record)], check=True, capture_output=True
    )
    return pd.DataFrame(json.loads(record.read_text())["methods"]).set_index("method")


def test_pairs_are_runs_of_the_same_fold_and_seed(methods: pd.DataFrame) -> None:
    task = methods.loc["trial 1"]
    assert (task[f"{LIVER}_higher"], task[f"{LIVER}_pairs"]) == (2, 3)
    assert (task[f"{TUMOUR}_higher"], task[f"{TUMOUR}_pairs"]) == (0, 2)


def test_what_has_no_runs_or_is_the_base_has_no_pairs(methods: pd.DataFrame) -> None:
    assert set(methods[f"{LIVER}_pairs"].drop("trial 1")) == {0}


def test_false_tumours_are_those_of_the_results(methods: pd.DataFrame) -> None:
    assert methods.loc["trial 1", FALSE_TUMOURS] == 11.0
    assert methods.loc["FBP", FALSE_TUMOURS] == 8.0
