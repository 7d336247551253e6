"""Learning curves as a table, and pruners that play them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.pareto import hypervolume
from study.search.pruners.pruner import Pruner
from taskct_core.schema import EPOCH, PRIMARY_DICE, PRIMARY_PSNR, TRIAL

TABLE = Path(__file__).parents[1] / "learning_curves.parquet"
OBJECTIVES = [PRIMARY_DICE, PRIMARY_PSNR]
DIRECTIONS = dict.fromkeys(OBJECTIVES, "maximize")
KEYS = ("hypervolume_ratio", "hypervolume_ratio_worst", "epochs_ratio", "epochs_ratio_worst")
Curves = NDArray[np.float64]  # (trial, epoch, objective)


def told(name: str, result: dict[str, Any]) -> str:
    ratio, worst, share, most = (result[f"{name}_{key}"] for key in KEYS)
    return f"hypervolume {ratio:.3f} (worst {worst:.3f}) of the full study's, epochs {share:.3f} (most {most:.3f})"


def over_orders(make: Callable[[], Pruner], curves: Curves, orders: int) -> dict[str, float]:
    """Median and worst results of a pruner over orders of the trials, with one and with four at a time."""
    ratios, shares = [], []
    for order in range(orders):
        for at_a_time in (1, 4):
            trials = np.random.default_rng(order).permutation(len(curves))
            finished, epochs = play(make(), curves, list(trials), at_a_time)
            ratios.append(hypervolume_ratio(curves, finished))
            shares.append(epochs / curves[..., 0].size)
    values = (float(np.median(ratios)), float(min(ratios)), float(np.median(shares)), float(max(shares)))
    return dict(zip(KEYS, values, strict=True))


def hypervolume_ratio(curves: Curves, trials: list[int]) -> float:
    """What the last epochs of some trials dominate, as a share of what those of all trials do."""
    last = curves[:, -1]
    corner, ways = last.min(axis=0), ["maximize"] * 2
    return hypervolume(last[trials], corner, ways) / hypervolume(last, corner, ways)


def play(
    pruner: Pruner, curves: Curves, queue: list[int], at_a_time: int, budget: int | None = None
) -> tuple[list[int], int]:
    """Run the queued trials; return those that finished, and how many epochs were trained in all.

    Args:
        budget: epochs after which nothing goes on.
    """
    running: dict[int, int] = {}  # trial -> epochs trained
    finished: list[int] = []
    epochs = 0
    while queue or running:
        while queue and len(running) < at_a_time:
            running[queue.pop(0)] = 0
        for trial in list(running):
            if epochs == budget:
                return finished, epochs
            running[trial] += 1
            epochs += 1
            row = dict(zip(OBJECTIVES, curves[trial, running[trial] - 1], strict=True))
            stop = pruner.reason_to_stop(trial, {EPOCH: running[trial], **row})
            if running[trial] == curves.shape[1]:
                finished.append(trial)
            if stop or running[trial] == curves.shape[1]:
                del running[trial]
    return finished, epochs


def read_curves() -> Curves:
    return as_curves(pd.read_parquet(TABLE))


def as_curves(table: pd.DataFrame) -> Curves:
    table = table.sort_values([TRIAL, EPOCH])
    return table[OBJECTIVES].to_numpy(float).reshape(table[TRIAL].nunique(), -1, len(OBJECTIVES))


def configurations(trials: int, draw: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """Alpha, the learning rate's logarithm to 10 and the width's to 2, of each trial: what is drawn first."""
    return draw.beta(0.7, 0.7, trials), draw.uniform(-4, -2, trials), draw.uniform(3, 5, trials)


def generate(trials: int, epochs: int, seed: int) -> pd.DataFrame:
    """Curves with the trade-off of task-adaptive reconstruction: PSNR is learned before Dice, alpha trades
    one for the other, wide networks are better and slower, and learning rates far from 1e-3 cost both."""
    draw = np.random.default_rng(seed)
    alpha, log_rate, log_width = (column[:, None] for column in configurations(trials, draw))
    epoch = np.arange(1, epochs + 1)
    slowness = epochs / 8 * (1 + 2**log_width / 16) * (1 + 2 * np.maximum(0, -3 - log_rate))
    off = (log_rate + 3) ** 2
    dice = 0.9 - 0.5 * (1 - alpha) ** 3 - 0.12 * off + 0.03 * (log_width - 3)
    psnr = 36 - 8 * alpha**3 - 2 * off + 0.5 * (log_width - 3)
    dice_curves = dice * (1 - np.exp(-epoch / (2 * slowness))) + draw.normal(0, 0.01, (trials, epochs))
    psnr_curves = 22 + (psnr - 22) * (1 - np.exp(-epoch / slowness)) + draw.normal(0, 0.15, (trials, epochs))
    return pd.DataFrame(
        {
            TRIAL: np.repeat(np.arange(trials), epochs),
            EPOCH: np.tile(epoch, trials),
            PRIMARY_DICE: dice_curves.ravel().astype(np.float32),
            PRIMARY_PSNR: psnr_curves.ravel().astype(np.float32),
        }
    )
