"""How often do the report's 95 % intervals hold the truth, with few patients and few seeds?

    python benchmarks/coverage.py                      # the table
    python benchmarks/coverage.py --json result.json   # flat keys, <interval>_<patients>p_<seeds>s
    python benchmarks/coverage.py --repeats 200        # coarser

Studies are drawn from a population whose means are known: patients differ (Dice on a logit scale, so that it is skewed as
near its ceiling it is), training runs differ, and each run does better on other patients. Every interval is made by the
functions that the report calls, with their defaults. An interval of 95 % should hold the truth in 93 to 97 of 100.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
from bench_record import write_result
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit

from analysis import statistics
from analysis.across_tasks import Runs, interquartile_mean, probability_of_improvement
from analysis.contestants import Contestant
from analysis.method_draws import gap_shares, method_draws
from analysis.sample_scores import AlignedSamples, metric_statistic
from taskct_core import schema as S
from taskct_core.image_quality.observer import detectability

Array = NDArray[np.float64]

PATIENTS, SEEDS = (8, 20, 50), (3, 5)
SLICES = 2
PIXELS = 10_000
# Standard deviations of a score: between patients, training runs, run by patient, and slices of a patient.
DB = {"patient": 1.0, "run": 0.3, "both": 0.4, "slice": 0.5}
LOGIT = {"patient": 0.5, "run": 0.1, "both": 0.15, "slice": 0.1}
# Means of methods: PSNR in dB, and the logit of Dice for liver and tumour.
METHODS = {
    "a": (33.0, 2.2, 0.8),
    "b": (33.5, 2.0, 0.6),
    "fbp": (26.0, 0.8, -0.4),
    "full dose": (np.inf, 2.8, 1.6),
}
CHANNELS, DPRIME = 6, 2.0
TASKS = np.array([0.3, 0.55, 0.7, 0.9])  # mean scores of the tasks that are averaged over


def main() -> None:
    """Print a row an interval and number of patients and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=1000)
    options = parser.parse_args()
    result: dict[str, float] = {}
    for patients in PATIENTS:
        for seeds in SEEDS:
            held: dict[str, list[bool]] = {}
            for repeat in range(options.repeats):
                for name, truth, low, high in intervals(patients, seeds, repeat):
                    held.setdefault(name, []).append(low <= truth <= high)
            for name, hits in held.items():
                coverage = float(np.mean(hits))
                result[f"{name}_{patients}p_{seeds}s"] = coverage
                told = "" if 0.93 <= coverage <= 0.97 else "  outside 93 to 97 %"
                print(
                    f"{name:24} {patients:3} patients {seeds} seeds {100 * coverage:6.1f} %{told}", flush=True
                )
    if options.json:
        write_result(options.json, result | {"repeats": options.repeats})


def intervals(patients: int, seeds: int, repeat: int) -> Iterator[tuple[str, float, float, float]]:
    """Name, truth, low and high of every kind of interval, of one study drawn at random."""
    random = np.random.default_rng([patients, seeds, repeat])
    samples, methods, runs = draw_study(random, patients, seeds)
    a, b, fbp, _ = methods
    _, draws = method_draws(samples, methods, S.PRIMARY_DICE)
    truth = np.array([true_dice(name) for name in METHODS])
    yield ("dice", truth[0], *ends(draws[:, 0]))
    yield ("dice_difference", truth[0] - truth[1], *ends(draws[:, 0] - draws[:, 1]))
    yield ("gap_closed", gap_shares(truth[None], 2, 3)[0, 0], *ends(gap_shares(draws, 2, 3)[:, 0]))
    _, draws = method_draws(samples, [a, b, fbp], "psnr_lodopab")
    yield ("psnr", METHODS["a"][0], *ends(draws[:, 0]))
    yield ("psnr_difference", METHODS["a"][0] - METHODS["b"][0], *ends(draws[:, 0] - draws[:, 1]))
    _, draws = statistics.bootstrap(samples.patients, metric_statistic(samples, "psnr_lodopab"))
    yield ("one_run_psnr", METHODS["a"][0] + runs[0], *ends(draws[:, 0]))
    yield from of_other_units(random, patients, seeds)


def of_other_units(
    random: np.random.Generator, count: int, seeds: int
) -> Iterator[tuple[str, float, float, float]]:
    """Intervals that are not over patients: as many trials, or places of lesions, as there are patients."""
    pairs = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=count)
    found = statistics.rank_correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist())
    assert found is not None
    yield "rank_correlation", 6 / np.pi * np.arcsin(0.3), found.low, found.high
    places = random.normal(size=(count, 1, CHANNELS))
    lesion = np.zeros(CHANNELS)
    lesion[0] = DPRIME
    present, absent = (places + random.normal(size=(count, 2, CHANNELS)) for _ in range(2))
    seen = detectability(present + lesion, absent)
    yield "dprime", DPRIME / np.sqrt(2), seen.low, seen.high
    one, other = (
        Runs([mean + 0.02 * random.normal(size=seeds) for mean in TASKS + shift]) for shift in (0.01, 0.0)
    )
    middle = interquartile_mean(one)
    yield "interquartile_mean", float(TASKS[1:3].mean() + 0.01), middle.low, middle.high
    better = probability_of_improvement(one, other)
    yield "improvement", float(statistics.stats.norm.cdf(0.01 / 0.02 / np.sqrt(2))), better.low, better.high


def ends(draws: Array) -> tuple[float, float]:
    low, high = statistics.percentile_interval(draws[:, None])
    return float(low[0]), float(high[0])


def true_dice(method: str) -> float:
    """The mean over the population of liver and tumour Dice: an integral over a normal logit."""
    nodes, weights = hermegauss(60)
    spread = np.sqrt(sum(LOGIT[name] ** 2 for name in spreads(method)))
    liver, tumour = (
        float((weights * expit(mean + spread * nodes)).sum() / weights.sum()) for mean in METHODS[method][1:]
    )
    return (liver + tumour) / 2


def spreads(method: str) -> list[str]:
    """What varies: references are trained by nobody."""
    return ["patient", "run", "both", "slice"] if method in ("a", "b") else ["patient", "slice"]


def draw_study(
    random: np.random.Generator, patients: int, seeds: int
) -> tuple[AlignedSamples, list[Contestant], Array]:
    """Slices of a study, its methods, and by how much the runs of method a differ from its mean in dB."""
    names, trials, values = [], [], {}
    shared = {scale: random.normal(size=(patients, 1)) for scale in ("dB", "logit")}
    blocks: dict[str, list[Array]] = {}
    of_runs = np.zeros(seeds)
    for number, (name, means) in enumerate(METHODS.items()):
        columns = seeds if name in ("a", "b") else 1
        trials += [number] * columns
        names.append(Contestant(name, (number,)))
        runs = DB["run"] * random.normal(size=columns) * (columns > 1)
        of_runs = runs if name == "a" else of_runs
        psnr = scores(random, means[0], DB, shared["dB"], runs)
        blocks.setdefault("psnr_lodopab", []).append(psnr)
        runs = LOGIT["run"] * random.normal(size=columns) * (columns > 1)
        for structure, mean in zip(S.STRUCTURES, means[1:], strict=True):
            dice = expit(scores(random, mean, LOGIT, shared["logit"], runs))
            whole = np.full(dice.shape, float(PIXELS))
            parts = {"true": whole, "predicted": whole, "overlap": np.rint(PIXELS * dice)}
            for part, pixels in parts.items():
                blocks.setdefault(f"{structure}_{part}_pixels", []).append(pixels)
    values = {name: np.concatenate(parts, axis=1) for name, parts in blocks.items()}
    of_slices = [f"{number:03d}" for number in range(patients) for _ in range(SLICES)]
    return AlignedSamples("test", trials, of_slices, values), names, of_runs


def scores(
    random: np.random.Generator, mean: float, spread: dict[str, float], shared: Array, runs: Array
) -> Array:
    """``(slice, run)`` scores: patients, runs, patients by runs where there are several, and slices vary."""
    patients, columns = len(shared), len(runs)
    both = spread["both"] * random.normal(size=(patients, columns)) * (columns > 1)
    of_patients = mean + spread["patient"] * shared + runs + both
    slices = spread["slice"] * random.normal(size=(patients * SLICES, columns))
    return np.repeat(of_patients, SLICES, axis=0) + slices


if __name__ == "__main__":
    main()
