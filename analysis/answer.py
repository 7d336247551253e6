"""The answer of a study in numbers: which network is recommended, what it gains and costs, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.contestants import Contestant, alpha_of, contestant, training_words
from analysis.figures.differences import SIGNIFICANCE
from analysis.judges import means_under_both
from analysis.method_draws import best_traditional, gap_closed_interval
from analysis.method_scores import gap_words, share_with_interval
from analysis.metric_info import metric_info
from analysis.names import method_name
from analysis.paired_differences import (
    Comparisons,
    compare_methods,
    default_comparisons,
    needed_words,
)
from analysis.results_table import CLAIM_SPLIT, ResultsTable
from analysis.selection import baseline, recommended, short_why
from analysis.unavailable import attempt
from taskct_core import schema as S

SUPPORTED = "supported"  # what a difference is called that is significant after correction
LEAST_SHARE_SEEN = 0.5  # of a gain, by a judge that took no part, or the method is said to fool its judge


@dataclass(frozen=True)
class Effect:
    """What the recommended network changes in one metric.

    Attributes:
        metric: its column.
        difference, low, high: against the other method, with its 95 % interval.
        score, other: of the two methods.
        is_gain: whether the difference is an improvement.
        verdict: how far it can be believed, in words; the p-value is Holm-corrected over all comparisons.
        needed: how many patients the claim would need, in words; empty where the data carry it.
    """

    metric: str
    difference: float
    low: float
    high: float
    score: float
    other: float
    is_gain: bool
    verdict: str
    needed: str


@dataclass(frozen=True)
class Answer:
    """What somebody reads who reads nothing else.

    Attributes:
        trial: the first of the recommended configuration.
        method: its training mode, in words.
        alpha: its weight of the task loss; None where the mode has none.
        why: it is recommended.
        against: what it is compared with; empty where there is nothing.
        effects: gains and costs, Dice first.
        gap: the share of the way to full dose that it closes in Dice, in words; empty where unknown.
        judge: what a second task network says; empty without one.
        enough_patients: whether there are enough for a claim.
        basis: what the scores are of, and how they were chosen.
    """

    trial: int
    method: str
    alpha: float | None
    why: str
    against: str
    effects: list[Effect]
    gap: str
    judge: str
    enough_patients: bool
    basis: str


def answer(table: ResultsTable) -> Answer | None:
    """The answer, None while no trial is complete."""
    best = recommended(table)
    if best is None:
        return None
    one = contestant(table, best.trial)
    other, words = _opponent(table, one)
    compared = attempt(_compared, table, one, other).result if other is not None else None
    effects = [] if compared is None or other is None else _effects(table, compared, one, other)
    return Answer(
        trial=best.trial,
        method=method_name(str(table.trials.at[best.trial, S.METHOD])),
        alpha=alpha_of(table, best.trial),
        why=f"{short_why(table, best)} on validation",
        against=words,
        effects=effects,
        gap=_gap(table, best.trial),
        judge="" if other is None else _judge(table, one, other, certain=_is_gain_supported(effects)),
        enough_patients=compared is not None and compared.enough_patients,
        basis=_basis(table, one, compared),
    )


def _opponent(table: ResultsTable, one: Contestant) -> tuple[Contestant | None, str]:
    """The baseline without task loss, else FBP, and what it is called."""
    base, fbp = baseline(table), table.reference("fbp")
    if base is not None and contestant(table, base.trial).trials != one.trials:
        other = contestant(table, base.trial)
        return other, training_words(table, base.trial)
    if fbp is not None:
        return contestant(table, fbp), "FBP, the low-dose image"
    return None, ""


def _compared(table: ResultsTable, one: Contestant, other: Contestant) -> Comparisons:
    """The report's comparisons if this pair is one of them, for they are corrected as one family; else it alone."""
    usual = table.fact(default_comparisons).result
    if usual is not None and len(_rows(usual, one, other)):
        return usual
    return compare_methods(table, [(one, other)])


def _rows(compared: Comparisons, one: Contestant, other: Contestant) -> pd.DataFrame:
    rows = compared.rows
    return rows[(rows["name"] == one.label) & (rows["other"] == other.label)]


def _effects(table: ResultsTable, compared: Comparisons, one: Contestant, other: Contestant) -> list[Effect]:
    rows = _rows(compared, one, other)
    scores = table.scores(table.claim_split, rows["metric"].tolist())
    effects = []
    for row in rows.to_dict("records"):
        metric, difference = str(row["metric"]), float(row["difference"])
        if not math.isfinite(difference) or metric not in scores:
            continue
        score, opposed = (float(scores[metric].reindex(list(side.trials)).mean()) for side in (one, other))
        sign = 1 if table.direction(metric) == "maximize" else -1
        p = float(row["p_holm"])
        is_claim = compared.enough_patients and p < SIGNIFICANCE
        effects.append(
            Effect(
                metric=metric,
                difference=difference,
                low=float(row["low"]),
                high=float(row["high"]),
                score=score,
                other=opposed,
                is_gain=sign * difference > 0,
                verdict=_verdict(compared, p),
                needed="" if is_claim else needed_words(float(row["patients_needed"])),
            )
        )
    return effects


def _verdict(compared: Comparisons, p: float) -> str:
    if not compared.enough_patients:
        count = compared.patients
        return f"{count} patient{'' if count == 1 else 's'}: too few for a claim"
    return f"{SUPPORTED if p < SIGNIFICANCE else f'not {SUPPORTED}'}, p = {p:.2g}"


def _gap(table: ResultsTable, trial: int) -> str:
    found = attempt(gap_closed_interval, table, trial, S.PRIMARY_DICE).result
    if found is None or not math.isfinite(found[0]):
        return ""
    return f"{share_with_interval(*found)} of the way from {_lower(table)} to full dose"


def _lower(table: ResultsTable) -> str:
    """What the gap begins at: a reference, or a training that its method names better than its number does."""
    lower = best_traditional(table)
    words = gap_words(table)
    if lower is None or lower < 0 or words != table.label(lower):
        return words
    return training_words(table, lower)


def _is_gain_supported(effects: Sequence[Effect]) -> bool:
    return any(effect.metric == S.PRIMARY_DICE and effect.verdict.startswith(SUPPORTED) for effect in effects)


def _judge(table: ResultsTable, one: Contestant, other: Contestant, certain: bool) -> str:
    """What a second task network, which took no part in the training, sees of the gain; ``certain`` if that is one."""
    found = means_under_both(table, (one, other))
    if found is None:
        return ""
    gain, seen = (mean - opposed for mean, opposed in found[1:])
    if gain <= 0:
        return ""
    share = max(seen, 0.0) / gain
    if seen >= LEAST_SHARE_SEEN * gain:
        return f"A second task network sees {100 * share:.0f} % of the gain in Dice"
    told = f"A second task network sees only {100 * share:.0f} % of the gain in Dice: the frozen one is being fooled"
    return told if certain else f"{told}, if the gain is one"


def _basis(table: ResultsTable, one: Contestant, compared: Comparisons | None) -> str:
    split = table.claim_split
    where = f"{split} split" if split == CLAIM_SPLIT else "validation split, which the search optimises"
    if table.folds:
        where = f"cross-validation in {table.folds} folds"
    seeds = sum(table.seeds_of(trial) for trial in one.trials)
    runs = f"{seeds} seed{'' if seeds == 1 else 's'}"
    if compared is None:
        return f"{where}, {runs}; no interval over patients."
    size = f"{compared.patients} patient{'' if compared.patients == 1 else 's'}, {compared.slices} slices"
    return f"{where}: {size}, {runs}; chosen on validation."


def effect_title(metric: str) -> str:
    """A metric without its policy: what an effect is headed with."""
    return metric_info(metric).label.split(" (")[0]
