"""Methods compared over several tasks, each with a few training runs (Agarwal et al. 2021, NeurIPS 34:29304).

A task is a study: another dose, another task network, other data. Scores of tasks must share a scale, as shares of the
gap to full dose do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.statistics import DRAWS, Array, percentile_interval

FEWEST_RUNS = 3


@dataclass(frozen=True)
class Runs:
    """A method's score in every run of each task."""

    of_task: Sequence[Array]

    def drawn(self, draws: int, generator: np.random.Generator) -> list[Array]:
        """Runs drawn within each task, ``(draw, run)``."""
        return [runs[generator.integers(len(runs), size=(draws, len(runs)))] for runs in self.of_task]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over training runs; other tasks are not spoken of."""

    value: float
    low: float
    high: float


def interquartile_mean(runs: Runs, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Mean of the middle half of all runs of all tasks: it bends to no outlier, and is surer than a median."""
    return _with_interval(
        lambda parts: stats.trim_mean(np.concatenate(parts, axis=1), 0.25, axis=1),
        [runs],
        draws,
        seed,
        share=0.5,
    )


def probability_of_improvement(one: Runs, other: Runs, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """How probably a run of one method beats one of the other on a task: mean over tasks, where equals count half.

    Of each task it is Mann and Whitney's U over the number of pairs.

    Raises:
        ValueError: if the methods have not the same tasks.
    """
    if len(one.of_task) != len(other.of_task):
        raise ValueError("both methods must have runs of the same tasks")
    tasks = len(one.of_task)

    def probability(parts: Sequence[Array]) -> Array:
        wins = [
            (np.sign(a[:, :, None] - b[:, None, :]).mean(axis=(1, 2)) + 1) / 2
            for a, b in zip(parts[:tasks], parts[tasks:], strict=True)
        ]
        return np.mean(wins, axis=0)

    found = _with_interval(probability, [one, other], draws, seed)
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def _with_interval(
    statistic: Callable[[Sequence[Array]], Array],
    methods: Sequence[Runs],
    draws: int,
    seed: int,
    share: float = 1.0,
) -> Estimate:
    """Bootstrap over runs within tasks, stretched as Student's t has it of so few runs.

    ``share`` of the runs decide: what is trimmed says nothing of the spread of the rest.
    """
    generator = np.random.default_rng(seed)
    observed = [runs[None] for method in methods for runs in method.of_task]
    value = float(statistic(observed)[0])
    drawn = statistic([part for method in methods for part in method.drawn(draws, generator)])
    counts = np.array([len(runs) for method in methods for runs in method.of_task])
    freedom = share * float((counts - 1).sum())
    shrunk = np.sqrt(counts.mean() / (counts.mean() - 1)) if freedom else 1.0
    tails = np.sqrt(freedom / generator.chisquare(freedom, draws)) if freedom else 1.0
    low, high = percentile_interval((value + (drawn - value) * shrunk * tails)[:, None])
    return Estimate(value, float(low[0]), float(high[0]))
