"""Paired differences between methods, over the patients of the claim split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.contestants import Contestant, contestant, shown_contestants
from analysis.method_draws import basis, method_draws
from analysis.metric_info import metric_range
from analysis.random_effects import run_scatter
from analysis.results_table import ResultsTable
from analysis.sample_scores import AlignedSamples, align, can_resample, metric_statistic, patient_scores
from analysis.selection import baseline
from analysis.unavailable import Attempt, Unavailable, attempt
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

COMPARED_METRICS = (S.PRIMARY_DICE, S.PRIMARY_PSNR, S.PRIMARY_SSIM)
# Below this number of patients no exact two-sided sign-flip test can reach p < 0.05 (2 / 2^5 > 0.05),
# so no difference is called one, whatever a bootstrap of so few patients says.
FEWEST_PATIENTS_FOR_A_CLAIM = 6


@dataclass(frozen=True)
class Comparisons:
    """Every pair and metric that was tested, corrected as one family.

    Attributes:
        rows: name, other, metric, difference (name minus other), low, high, p, p_holm, patients_needed (how many a
            test at 5 % would need to find a difference of this size with a power of 80 %, as if it were the only one).
        patients, slices: that they rest on.
        basis: what the intervals cover, in words.
    """

    split: str
    rows: pd.DataFrame
    patients: int
    slices: int
    basis: str

    @property
    def enough_patients(self) -> bool:
        return self.patients >= FEWEST_PATIENTS_FOR_A_CLAIM


def default_pairs(table: ResultsTable) -> list[tuple[Contestant, Contestant]]:
    """Each shown configuration against the baseline without task loss; the chosen ones and the baseline
    against FBP too. The first pair is the best by the first objective with its baseline, or FBP."""
    base, fbp = baseline(table), table.reference("fbp")
    shown = shown_contestants(table)
    pairs = [(one, contestant(table, base.trial)) for one in shown] if base else []
    if fbp is not None:
        pairs += [(one, contestant(table, fbp)) for one, why in shown.items() if why]
    return [(one, other) for one, other in pairs if one.trials != other.trials]


def compare_methods(
    table: ResultsTable,
    pairs: Sequence[tuple[Contestant, Contestant]] | None = None,
    metrics: Sequence[str] = COMPARED_METRICS,
) -> Comparisons:
    """Paired differences with 95 % intervals and Holm-corrected p-values over all pairs and metrics.

    What an interval covers is ``method_draws.basis``: patients, and training runs where seeds were repeated.
    """
    pairs = default_pairs(table) if pairs is None else pairs
    if not pairs:
        raise Unavailable(
            "There is nothing to compare yet: no complete trial with a baseline or FBP beside it."
        )
    trials = [trial for pair in pairs for side in pair for trial in side.trials]
    samples = align(table, trials, table.claim_split)
    scored = [(a, b) for a, b in pairs if set(a.trials + b.trials) <= set(samples.trials)]
    comparable = [metric for metric in metrics if can_resample(samples, metric)]
    if not scored or not comparable:
        raise Unavailable(f"{StudyFolder.samples} does not hold what these comparisons need.")
    rows = pd.concat([_differences(samples, scored, metric) for metric in comparable], ignore_index=True)
    rows["p_holm"] = statistics.holm(rows["p"].tolist())
    sides = [side for pair in scored for side in pair]
    return Comparisons(
        samples.split, rows, samples.patient_count, len(samples.patients), basis(samples, sides)
    )


def _differences(
    samples: AlignedSamples, pairs: Sequence[tuple[Contestant, Contestant]], metric: str
) -> pd.DataFrame:
    sides = list(dict.fromkeys(side for pair in pairs for side in pair))
    one = [sides.index(side) for side, _ in pairs]
    other = [sides.index(side) for _, side in pairs]
    difference, draws = method_draws(samples, sides, metric).told(
        lambda scores: scores[:, one] - scores[:, other]
    )
    least, most = metric_range(metric)
    # Few patients give wide intervals, but none may promise a difference that no two scores can have.
    low, high = np.clip(statistics.percentile_interval(draws), least - most, most - least)
    return pd.DataFrame(
        {
            "name": [one.label for one, _ in pairs],
            "other": [other.label for _, other in pairs],
            "metric": metric,
            "difference": difference,
            "low": low,
            "high": high,
            "p": statistics.p_values(draws),
            "patients_needed": _patients_needed(samples, pairs, metric),
        }
    )


def _patients_needed(
    samples: AlignedSamples, pairs: Sequence[tuple[Contestant, Contestant]], metric: str
) -> list[float]:
    """Of each pair; the patients' differences are those of jackknife pseudo-values, means over a side's runs."""
    statistic, patients = metric_statistic(samples, metric), samples.patient_count
    if patients < 2:
        return [np.nan] * len(pairs)
    score = statistic(statistics.as_observed(samples.patients))[0]
    without = statistics.without_each(samples.patients, statistic)
    pseudo = patients * score - (patients - 1) * without
    needed = []
    for pair in pairs:
        one, other = (samples.columns_of(side.trials) for side in pair)
        differences = pseudo[:, one].mean(axis=1) - pseudo[:, other].mean(axis=1)
        of_runs = sum(run_scatter(score[of], without[:, of]).variance for of in (one, other))
        difference = float(score[one].mean() - score[other].mean())
        needed.append(statistics.patients_needed(difference, float(np.var(differences, ddof=1)), of_runs))
    return needed


def needed_words(patients: float) -> str:
    """How many patients a claim of a difference would need, as a label has it: to two digits, for more are not known."""
    if math.isnan(patients):
        return "patients needed: not known"
    if math.isinf(patients):
        return "needs more seeds, or has no difference"
    return f"needs about {float(f'{patients:.2g}'):,.0f} patients"


def default_comparisons(table: ResultsTable) -> Attempt[Comparisons]:
    """``compare_methods`` as the report uses it; a fact of the table."""
    return attempt(compare_methods, table)


def patient_differences(table: ResultsTable, one: Contestant, other: Contestant, metric: str) -> pd.DataFrame:
    """The difference (one minus other) of each patient: rows of patient, difference, slices."""
    samples = align(table, [*one.trials, *other.trials], table.claim_split)
    if not can_resample(samples, metric):
        raise Unavailable(f"{StudyFolder.samples} does not hold {metric}.")
    if not {*one.trials, *other.trials} <= set(samples.trials):
        raise Unavailable(f"{StudyFolder.samples} holds no slices of {one.name} or {other.name}.")
    sizes = Counter(samples.patients)
    rows = []
    for patient, scores in patient_scores(samples, metric).items():
        means = [scores[samples.columns_of(side.trials)].mean() for side in (one, other)]
        rows.append({"patient": patient, "difference": float(means[0] - means[1]), "slices": sizes[patient]})
    return pd.DataFrame(rows)
