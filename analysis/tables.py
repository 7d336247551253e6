"""Tables of a study as data frames: every trial, the front, the methods beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.metric_info import is_metric, metric_info
from analysis.names import parameter_name
from analysis.results_table import CONFIG_SEED, SEARCH_SPLIT, ResultsTable
from analysis.selection import front_trials
from taskct_core import schema as S

TUMOUR_DICE, FALSE_TUMOURS = "dice_tumour_patient_nnunet", "tumour_false_positives"
SHOWN_METRICS = (
    S.PRIMARY_DICE,
    "dice_liver_patient_nnunet",
    TUMOUR_DICE,
    S.PRIMARY_PSNR,
    S.PRIMARY_SSIM,
)

NETWORK_WORDS = {S.OWN_NETWORK_SUFFIX: "own network", S.AUDIT_NETWORK_SUFFIX: "second network (audit)"}


def shown_metrics(table: ResultsTable) -> list[str]:
    """The objectives, then the usual ones that the results hold.

    Where not every method has a tumour Dice, because the slices have no true tumour, false ones are counted instead.
    """
    usual = list(SHOWN_METRICS)
    dice = table.scores(table.claim_split, [TUMOUR_DICE])
    if "tumour" not in table.mean_structures(table.claim_split) and dice.notna().any(axis=None):
        usual[usual.index(TUMOUR_DICE)] = FALSE_TUMOURS
    wanted = dict.fromkeys([*table.objectives, *usual])
    return [
        name
        for name in wanted
        if name in table.metrics and (name in table.objectives or not table.is_repeated(name))
    ]


def trials_table(
    table: ResultsTable, metrics: Sequence[str] | None = None, split: str = SEARCH_SPLIT
) -> pd.DataFrame:
    """One row a trial: status, method, searched parameters, scores, seconds.

    Scores are those that the front is chosen by, of the validation split, unless another ``split`` is named.
    """
    metrics = shown_metrics(table) if metrics is None else metrics
    trials = table.trials
    columns = [c for c in (*table.searched, CONFIG_SEED) if c in trials and c != S.METHOD]
    frame = trials[[S.STATUS, S.METHOD, *columns]].rename(columns=parameter_name)
    scores = table.scores(split, metrics)
    for metric in scores:
        frame[metric] = scores[metric].reindex(frame.index)
    for column in (S.SECONDS, S.PARAMETERS, S.FAILURE_REASON):
        if column in trials and trials[column].notna().any():
            frame[column] = trials[column]
    return frame.rename_axis("trial")


def front_table(table: ResultsTable, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """``trials_table`` of the front, which validation chose, with its scores on the split of claims."""
    frame = trials_table(table, metrics, table.claim_split)
    front = frame.loc[front_trials(table)]
    if not table.objectives:
        return front
    first = table.objectives[0]
    return front.sort_values(first, ascending=table.direction(first) == "minimize")


def column_title(column: str) -> str:
    """What a table calls a column: a metric's label with its unit, and which network judged."""
    for suffix, words in NETWORK_WORDS.items():
        if column.endswith(suffix):
            return f"{column_title(column.removesuffix(suffix))}, {words}"
    if is_metric(column):
        metric = metric_info(column)
        return f"{metric.label} [{metric.unit}]" if metric.unit else metric.label
    return {S.FAILURE_REASON: "failure"}.get(column, column.replace("_", " "))
