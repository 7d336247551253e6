"""The error of what is told of methods and its degrees of freedom: patients and training runs as crossed random effects.

Every run is scored on every patient, so a mean over both errs because other patients differ, because other runs do, and
because each run does better on other patients. The mean squares of a two-way analysis of variance of jackknife pseudo-values
(Tukey 1958) tell the three apart for any score, a mean or a pooled Dice. The sum of the parts has, as a variance, the
degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2:110-114), and intervals are Student's t of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics import Array


@dataclass(frozen=True)
class RunScatter:
    """How the training runs of a method scatter, as a variance of the mean over them.

    Attributes:
        runs: how many there are.
        between: what their scatter on these patients gives the mean; 0 for a single run.
        interaction: the part of it that is there because each run does better on other patients. Draws over patients
            hold that already.
    """

    runs: int
    between: float = 0.0
    interaction: float = 0.0

    @property
    def variance(self) -> float:
        """What other runs on the same patients would change."""
        return max(0.0, self.between - self.interaction)


def run_scatter(score: Array, without: Array | None = None) -> RunScatter:
    """Of one method.

    Args:
        score: of each run, ``(run,)``.
        without: the same without each patient, ``(patient, run)``; None: the interaction is not known and counts as 0.
    """
    runs = len(score)
    if runs < 2:
        return RunScatter(runs)
    between = float(np.var(score, ddof=1)) / runs
    patients = 0 if without is None else len(without)
    if without is None or patients < 2:
        return RunScatter(runs, between)
    pseudo = patients * score - (patients - 1) * without
    if not np.isfinite(pseudo).all():
        return RunScatter(runs, between)
    rest = pseudo - pseudo.mean(axis=1, keepdims=True) - pseudo.mean(axis=0) + pseudo.mean()
    mean_square = float((rest**2).sum()) / ((patients - 1) * (runs - 1))
    return RunScatter(runs, between, mean_square / patients / runs)


def degrees_of_freedom(
    of_patients: float, patients: int, scatters: Sequence[RunScatter], slopes: Array
) -> float:
    """Satterthwaite's, of the variance of something told of several methods.

    Runs of methods that are compared count as if they scattered alike, as in a t test of two samples: with as many of
    each it hardly minds if they do not (Boneau 1960), and degrees of freedom that are themselves estimated from three runs
    are too few. Nor are there ever fewer than of the part that has the fewest.

    Args:
        of_patients: variance that the patients leave.
        patients: how many.
        scatters: of the methods.
        slopes: by how much what is told changes with each method's score, ``(method,)``.
    """
    weights = np.array([slope**2 * (one.runs > 1) for slope, one in zip(slopes, scatters, strict=True)])
    share = weights / np.array([one.runs for one in scatters])
    fewest = patients - 1.0
    if not (np.isfinite(of_patients) and np.isfinite(share).all() and share.any()):
        return fewest
    of_runs = share.sum() ** 2 / sum(
        part**2 / (one.runs - 1) for part, one in zip(share, scatters, strict=True) if part
    )
    between, interaction, variance = (
        float(weights @ np.array([getattr(one, name) for one in scatters]))
        for name in ("between", "interaction", "variance")
    )
    parts = (
        of_patients**2 / fewest + between**2 / of_runs + interaction**2 / (fewest * of_runs),
        (of_patients + variance) ** 2,
    )
    return float(max(parts[1] / parts[0] if parts[0] else 0.0, min(fewest, of_runs)))
