"""Which trials a reader is shown by name. Every choice is made on the search (validation) split, so that
the scores of the chosen trials on the test split stay unseen by the choice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import pareto
from analysis.metric_info import metric_info
from analysis.results_table import (
    ALPHA,
    ALPHA_MODES,
    OWN_NETWORK_MODES,
    PLAIN_MODES,
    SEARCH_SPLIT,
    ResultsTable,
)
from taskct_core import schema as S
from taskct_core.errors import ConfigError, StudyError
from taskct_core.modes import MODES


@dataclass(frozen=True)
class Pick:
    """A trial and the reason it is shown."""

    trial: int
    why: str


def front_trials(table: ResultsTable, metrics: list[str] | None = None) -> list[int]:
    """The front: complete trials that keep every constraint and that none such dominates on validation.

    By the study's objectives, unless metrics are named.
    """
    metrics = table.objectives if metrics is None else metrics
    scores = table.complete_scores(SEARCH_SPLIT, metrics)
    scores = scores.loc[scores.index.intersection(table.feasible)]
    if not metrics or scores.empty:
        return []
    directions = [table.direction(name) for name in metrics]
    return [int(trial) for trial in scores.index[pareto.non_dominated(scores.to_numpy(), directions)]]


def picks(table: ResultsTable) -> list[Pick]:
    """Best trial by each objective and the knee of the front, of those that keep every constraint; each is named once."""
    scores = table.complete_scores(SEARCH_SPLIT, table.objectives)
    scores = scores.loc[scores.index.intersection(table.feasible)]
    reasons: dict[int, list[str]] = {}
    for metric in table.objectives:
        trial = best_trial(scores[metric], table.direction(metric))
        if trial is not None:
            reasons.setdefault(trial, []).append(f"best {metric_info(metric).label}")
    if len(scores) and len(table.objectives) > 1:
        row = pareto.knee(scores.to_numpy(), [table.direction(name) for name in table.objectives])
        if row is not None:
            reasons.setdefault(int(scores.index[row]), []).append("knee of the front")
    return [Pick(trial, " and ".join(why)) for trial, why in reasons.items()]


def recommended(table: ResultsTable) -> Pick | None:
    """The knee of the front; without one the best by the first objective. None where no trial is complete."""
    named = picks(table)
    knees = [pick for pick in named if "knee" in pick.why]
    return knees[0] if knees else named[0] if named else None


def short_why(table: ResultsTable, pick: Pick) -> str:
    """Why a trial is shown, metrics without the policy in brackets that the chart or table says beside it."""
    why = pick.why
    for metric in table.objectives:
        label = metric_info(metric).label
        why = why.replace(label, label.split(" (")[0])
    return why


def best_of_methods(table: ResultsTable) -> list[Pick]:
    """The trial with the best mean Dice (else first objective) of each training mode, in their order."""
    metric = next((m for m in (S.PRIMARY_DICE, *table.objectives) if m in table.metrics), None)
    if metric is None:
        return []
    scores = table.complete_scores(SEARCH_SPLIT, [metric])[metric]
    methods = table.trials.loc[scores.index, S.METHOD]
    best = {mode: best_trial(scores[methods == mode], table.direction(metric)) for mode in MODES}
    return [
        Pick(trial, "best Dice of its mode" if metric == S.PRIMARY_DICE else f"best {metric} of its mode")
        for trial in best.values()
        if trial is not None
    ]


def best_trial(scores: pd.Series, direction: S.Direction) -> int | None:
    """The trial with the best finite score; the first of equals."""
    finite = scores[np.isfinite(scores)]
    if finite.empty:
        return None
    return int(finite.idxmax() if direction == "maximize" else finite.idxmin())


def baseline(table: ResultsTable) -> Pick | None:
    """What task-adaptive training is compared with: the best trial that used no task loss.

    That is the trial of a mode without a task loss, or of alpha 0 with the frozen task network, with the best image
    metric among the objectives (PSNR where there is none).
    """
    image_metrics = [name for name in table.objectives if name.startswith(("psnr", "ssim"))]
    metric = (image_metrics or [S.PRIMARY_PSNR])[0]
    if metric not in table.metrics:
        return None
    scores = table.complete_scores(SEARCH_SPLIT, [metric])[metric]
    without = table.trials.index[~has_task_loss(table)]
    trial = best_trial(scores[scores.index.isin(without)], table.direction(metric))
    return None if trial is None else Pick(trial, "no task loss")


def has_task_loss(table: ResultsTable) -> pd.Series:
    """Whether each trial's reconstructor or task network learned from a task loss: one of weight 0 is none."""
    trials = table.trials
    without = trials[S.METHOD].isin(PLAIN_MODES)
    if ALPHA in trials:
        without |= (trials[ALPHA] == 0) & trials[S.METHOD].isin(set(ALPHA_MODES) - set(OWN_NETWORK_MODES))
    return ~without


@dataclass(frozen=True)
class Choice:
    """Which trial of a study a user means; at most one of these, none: the recommended one.

    Attributes:
        trial: its number.
        alpha: the nearest trained one, of equals the best by the first objective.
        best: the metric that it is best in.
    """

    trial: int | None = None
    alpha: float | None = None
    best: str | None = None


def choose_trial(table: ResultsTable, choice: Choice) -> int:
    """The number of the complete trial that is meant; scores are those of the search split.

    Raises:
        ConfigError: if more than one way to choose is given, or the study has no such trial or metric.
        StudyError: if no trial is complete.
    """
    given = [name for name in ("trial", "alpha", "best") if getattr(choice, name) is not None]
    if len(given) > 1:
        raise ConfigError(
            "a trial is chosen in one way", " and ".join(f"--{name}" for name in given), "Give one."
        )
    complete = [int(trial) for trial in table.trials.index[table.trials[S.STATUS] == S.COMPLETE]]
    if not complete:
        raise StudyError(
            "a study must have a complete trial", f"none in {table.folder}", "Run it, or let it go on."
        )
    if choice.trial is not None:
        return _named(choice.trial, complete)
    if choice.alpha is not None:
        return _nearest_alpha(table, choice.alpha, complete)
    if choice.best is not None:
        return _best(table, choice.best)
    best = recommended(table)
    return best.trial if best is not None else complete[0]


def _named(trial: int, complete: list[int]) -> int:
    if trial in complete:
        return trial
    numbers = ", ".join(map(str, complete))
    raise ConfigError("a trial must be complete", f"trial {trial}", f"Complete ones: {numbers}.")


def _nearest_alpha(table: ResultsTable, alpha: float, complete: list[int]) -> int:
    if ALPHA not in table.trials:
        raise ConfigError(
            "trials must have an alpha to be chosen by it", f"none in {table.folder}", "Name --trial."
        )
    distances = (table.trials.loc[complete, ALPHA].astype(float) - alpha).abs().dropna()
    nearest = [int(trial) for trial in distances.index[distances == distances.min()]]
    return _best_of(table, nearest)


def _best(table: ResultsTable, metric: str) -> int:
    scores = (
        table.complete_scores(SEARCH_SPLIT, [metric])[metric]
        if metric in table.metrics
        else pd.Series(dtype=float)
    )
    trial = best_trial(scores, table.direction(metric)) if len(scores) else None
    if trial is None:
        raise ConfigError(
            "--best must name a metric of the study",
            repr(metric),
            f"Choose one of {', '.join(table.metrics)}.",
        )
    return trial


def _best_of(table: ResultsTable, trials: list[int]) -> int:
    for metric in table.objectives[:1]:
        scores = table.complete_scores(SEARCH_SPLIT, [metric])[metric]
        best = best_trial(scores[scores.index.isin(trials)], table.direction(metric))
        if best is not None:
            return best
    return trials[0]
