"""The numbers of the comparison on real CT: every method under both judges, with intervals over patients.

    python benchmarks/real_ct/comparison_record.py runs/real_ct/comparison/study
    python benchmarks/real_ct/comparison_record.py ... --json benchmarks/results/real_ct_comparison-DATE.json

Beside the report's columns those that skip what a patient does not have: the tumour Dice here is of patients with
tumours, and false tumours are counted by themselves (``tumour_false_positives``, a slice). Gaps are measured from the
better of TV and reconstruction only, by the same column, to the full-dose image. Of a repeated trial, ``_higher`` counts
the runs that score higher than the base's run of the same fold and seed, of ``_pairs``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import numpy as np
import pandas as pd
from bench_record import write_result
from numpy.typing import NDArray

from analysis import load
from analysis.contestants import Contestant, contestant
from analysis.method_draws import method_draws
from analysis.results_table import ResultsTable
from analysis.sample_scores import align, can_resample
from taskct_core import schema

DICE = ("dice_mean_patient_monai", "dice_liver_patient_monai", "dice_tumour_patient_monai")
COLUMNS = (
    schema.PRIMARY_PSNR,
    schema.PRIMARY_SSIM,
    *DICE,
    *(name + schema.AUDIT_NETWORK_SUFFIX for name in DICE),
)
FALSE_TUMOURS = "tumour_false_positives"
Scores = NDArray[np.float64]
BASE_MODE = "reconstruction_only"
ROUNDING = 1e-9  # of the same score over the same slices


def methods(table: ResultsTable) -> pd.DataFrame:
    """One row a reference or configuration: scores, and their difference from ``against``, its architecture's reconstruction
    only, with intervals."""
    everybody = [contestant(table, int(number)) for number in (*table.references.index, *table.trials.index)]
    samples = align(table, [trial for one in everybody for trial in one.trials], table.claim_split)
    shown = [one for one in everybody if set(one.trials) <= set(samples.trials)]
    bases = _bases(table, shown)
    frame = pd.DataFrame({"method": [one.label for one in shown]})
    if bases:
        frame["against"] = frame["method"].to_numpy()[bases]
    for column in (name for name in COLUMNS if can_resample(samples, name)):
        draws = method_draws(samples, shown, column)
        frame[column], frame[f"{column}_low"], frame[f"{column}_high"] = _with_ends(draws.interval())
        if bases:
            names = [f"{column}_gain{end}" for end in ("", "_low", "_high")]
            gains = _with_ends(draws.interval(partial(_over, bases)))
            frame = frame.assign(**dict(zip(names, gains, strict=True)))
    frame[FALSE_TUMOURS] = [_score(table, one, FALSE_TUMOURS) for one in shown]
    return frame.assign(**_pair_counts(table, shown, [shown[base] for base in bases])) if bases else frame


def _score(table: ResultsTable, one: Contestant, column: str) -> float:
    scores = table.scores(table.claim_split, [column]).reindex(columns=[column])
    return float(scores.loc[list(one.trials), column].mean())


def _pair_counts(
    table: ResultsTable, shown: Sequence[Contestant], bases: Sequence[Contestant]
) -> dict[str, list[int]]:
    """Of each score how many pairs of runs there are, and in how many of them the method's run has the higher one."""
    counts = {}
    for column in (*COLUMNS, FALSE_TUMOURS):
        pairs = [_pairs(table, one, base, column) for one, base in zip(shown, bases, strict=True)]
        if any(pairs):
            counts[f"{column}_higher"] = [sum(more > 0 for more in of_one) for of_one in pairs]
            counts[f"{column}_pairs"] = [len(of_one) for of_one in pairs]
    return counts


def _pairs(table: ResultsTable, one: Contestant, base: Contestant, column: str) -> list[float]:
    """What each run of a method has more than the base's run of the same fold and seed."""
    more = _runs(table, one, column) - _runs(table, base, column)
    return [float(value) for value in more.dropna()] if one != base else []


def _runs(table: ResultsTable, one: Contestant, column: str) -> pd.Series:
    """A score of each run, by fold and seed; empty where trials are not repeated."""
    if column not in table.runs:
        return pd.Series(dtype=float)
    runs = table.runs[
        (table.runs[schema.SPLIT] == table.claim_split) & table.runs[schema.TRIAL].isin(one.trials)
    ]
    return runs.set_index([schema.FOLD, schema.SEED])[column]


def _bases(table: ResultsTable, shown: list[Contestant]) -> list[int]:
    """For each method the place of what it is compared with: reconstruction only of its architecture, else the first."""
    plain: dict[str, int] = {}
    for place, one in enumerate(shown):
        if _mode(table, one.trials[0]) == BASE_MODE:
            plain.setdefault(table.architecture(one.trials[0]), place)
    first = min(plain.values(), default=None)
    return [] if first is None else [plain.get(table.architecture(one.trials[0]), first) for one in shown]


def _with_ends(interval: tuple[Scores, Scores, Scores]) -> tuple[Scores, Scores, Scores]:
    """Values with their ends; NaN where nothing was drawn, as of one patient's tumours with one seed."""
    value, low, high = interval
    drawn = high - low > ROUNDING
    return value, np.where(drawn, low, np.nan), np.where(drawn, high, np.nan)


def _over(bases: list[int], scores: Scores) -> Scores:
    """Of ``(draw, method)`` scores, what each method has more than its base."""
    return scores - scores[:, bases]


def gap_closed(frame: pd.DataFrame, column: str) -> pd.Series:
    """Share of the way from the better of TV and the own base to full dose."""
    values = frame.set_index("method")[column]
    if "against" not in frame or not {"TV", "Full dose"} <= set(values.index):
        return pd.Series(float("nan"), index=frame.index)
    lower = np.maximum(values[frame["against"]].to_numpy(), values["TV"])
    return (frame[column] - lower) / (values["Full dose"] - lower)


def _mode(table: ResultsTable, trial: int) -> str:
    rows = table.references if trial in table.references.index else table.trials
    return str(rows.at[trial, schema.METHOD])


def record(table: ResultsTable) -> dict[str, Any]:
    """Everything as plain values."""
    frame = methods(table)
    for column in DICE:
        for name in (column, column + schema.AUDIT_NETWORK_SUFFIX):
            if name in frame:
                frame[f"{name}_gap_closed"] = gap_closed(frame, name)
    samples = table.samples[table.samples[schema.SPLIT] == table.claim_split]
    return {
        "patients": int(samples[schema.PATIENT].nunique()),
        "slices": len(samples[[schema.PATIENT, schema.SLICE_INDEX]].drop_duplicates()),
        "folds": table.folds,
        "seeds": max((table.seeds_of(int(trial)) for trial in table.trials.index), default=0),
        "methods": json.loads(frame.to_json(orient="records")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = record(load(options.study))
    if options.json:  # before what a closed pipe may end
        write_result(options.json, result)
    shown = pd.DataFrame(result["methods"])
    columns = ["method", *(name for name in COLUMNS if name in shown)]
    gaps = [name for name in shown if name.endswith("gap_closed")]
    gains = [f"{DICE[0]}{suffix}_gain{end}" for suffix in ("", "_audit") for end in ("", "_low", "_high")]
    for part in (columns, ["method", *gaps], ["method", *(name for name in gains if name in shown)]):
        print(shown[part].round(3).to_string(index=False), end="\n\n")


if __name__ == "__main__":
    main()
