"""The table of methods: references, baseline and picked trials with intervals and the gap closed."""

from __future__ import annotations

import math

import pandas as pd

from analysis.figures.style import method_name
from analysis.pareto import gap_closed
from analysis.results_table import ResultsTable
from analysis.sample_scores import align, intervals, one_patient
from analysis.selection import baseline, picks
from analysis.tables import shown_metrics
from analysis.unavailable import Unavailable
from taskct_core import schema as S

GAP_CLOSED = "gap_closed"


def methods_table(table: ResultsTable) -> pd.DataFrame:
    """One row a reference or chosen trial: trial, name, method, why, configuration, then for every shown
    metric its score and ``<metric>_low``, ``<metric>_high`` (NaN without an interval), and the share of
    the way in Dice from FBP to full dose."""
    chosen: dict[int, str] = {int(trial): "reference" for trial in table.references.index}
    base = baseline(table)
    picked = ([base] if base else []) + picks(table)
    for pick in picked:
        chosen[pick.trial] = f"{chosen[pick.trial]}; {pick.why}" if pick.trial in chosen else pick.why
    metrics = shown_metrics(table)
    scores = table.scores(table.claim_split, metrics).reindex(list(chosen))
    frame = pd.DataFrame(
        {
            "name": [table.label(trial) for trial in chosen],
            "method": [_method(table, trial) for trial in chosen],
            "why": list(chosen.values()),
            "configuration": [table.descriptions.get(trial, "") for trial in chosen],
        },
        index=pd.Index(chosen, name="trial"),
    )
    found = intervals(table, list(chosen), metrics) if chosen else Unavailable("nothing to score")
    for metric in metrics:
        frame[metric] = scores[metric]
        for end in ("low", "high"):
            frame[f"{metric}_{end}"] = _ends(found, metric, end, frame.index)
    frame[GAP_CLOSED] = _gaps(table, scores)
    return frame


def interval_note(table: ResultsTable) -> str:
    """Why there are no intervals, empty where there are."""
    trials = [int(t) for t in table.references.index] + [pick.trial for pick in picks(table)]
    if not trials:
        return "No trial is complete yet."
    samples = align(table, trials, table.claim_split)
    if isinstance(samples, Unavailable):
        return samples.reason
    return one_patient(samples.split) if samples.patient_count < 2 else ""


def with_interval(score: float, low: float, high: float) -> str:
    """``0.812 (0.79 to 0.83)``; a dash where there is no score."""
    if math.isnan(score):
        return "–"
    text = "∞" if math.isinf(score) else f"{score:.4g}"
    return f"{text} ({low:.4g} to {high:.4g})" if math.isfinite(low) and math.isfinite(high) else text


def _method(table: ResultsTable, trial: int) -> str:
    rows = table.references if trial in table.references.index else table.trials
    return method_name(str(rows.at[trial, S.METHOD]))


def _ends(found: pd.DataFrame | Unavailable, metric: str, end: str, index: pd.Index) -> pd.Series:
    if isinstance(found, Unavailable):
        return pd.Series(float("nan"), index=index)
    of_metric = found[found["metric"] == metric].set_index("trial")[end]
    return of_metric.reindex(index)


def _gaps(table: ResultsTable, scores: pd.DataFrame) -> list[float]:
    full_dose, fbp = table.reference("full_dose"), table.reference("fbp")
    if S.PRIMARY_DICE not in scores or full_dose not in scores.index or fbp not in scores.index:
        return [float("nan")] * len(scores)
    dice = scores[S.PRIMARY_DICE]
    return [gap_closed(float(score), float(dice[fbp]), float(dice[full_dose])) for score in dice]
