"""How often do the report's 95 % intervals hold the truth, with few patients and few seeds?

    python benchmarks/coverage.py                      # the table
    python benchmarks/coverage.py --json result.json   # flat keys, <interval>_<patients>p_<seeds>s
    python benchmarks/coverage.py --repeats 200        # coarser
    python benchmarks/coverage.py --processes 2        # on two cores

Studies are drawn from a population whose means are known: patients differ (Dice on a logit scale, so that it is skewed as
near its ceiling it is), training runs differ, and each run does better on other patients. Every interval is made by the
functions that the report calls, with their defaults. An interval of 95 % should hold the truth in 93 to 97 of 100.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
import pandas as pd
from bench_record import write_result
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit

from analysis import statistics
from analysis.across_tasks import Runs, interquartile_mean, probability_of_improvement
from analysis.attainment import surfaces
from analysis.contestants import Contestant
from analysis.image_quality import ends_over_runs
from analysis.method_draws import MethodDraws, Told, gap_shares, method_draws
from analysis.sample_scores import AlignedSamples
from taskct_core import schema as S
from taskct_core.image_quality.observer import detectability

Array = NDArray[np.float64]
Interval = tuple[str, float, float, float]  # name, truth, low, high

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
CHANNELS, DPRIME, DPRIME_OF_RUNS = 6, 2.0, 0.05
PSNR, SSIM = S.PRIMARY_PSNR, S.PRIMARY_SSIM
TASKS = np.array([0.3, 0.55, 0.7, 0.9])  # mean scores of the tasks that are averaged over


def main() -> None:
    """Print a row an interval and number of patients and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    result: dict[str, float] = {}
    settings = [(patients, seeds) for patients in PATIENTS for seeds in SEEDS]
    with ProcessPoolExecutor(options.processes) as pool:
        found = pool.map(partial(coverages, repeats=options.repeats), *zip(*settings, strict=True))
        for (patients, seeds), of_setting in zip(settings, found, strict=True):
            for name, coverage in of_setting.items():
                result[f"{name}_{patients}p_{seeds}s"] = coverage
                told = "" if 0.93 <= coverage <= 0.97 else "  outside 93 to 97 %"
                print(
                    f"{name:24} {patients:3} patients {seeds} seeds {100 * coverage:6.1f} %{told}", flush=True
                )
    if options.json:
        write_result(options.json, result | {"repeats": options.repeats})


def coverages(patients: int, seeds: int, repeats: int) -> dict[str, float]:
    """How often each kind of interval held the truth."""
    held: dict[str, list[bool]] = {}
    for repeat in range(repeats):
        for name, truth, low, high in intervals(patients, seeds, repeat):
            held.setdefault(name, []).append(low <= truth <= high)
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def intervals(patients: int, seeds: int, repeat: int) -> Iterator[Interval]:
    """Name, truth, low and high of every kind of interval, of one study drawn at random."""
    random = np.random.default_rng([patients, seeds, repeat])
    samples, methods, runs = draw_study(random, patients, seeds)
    a, b, fbp, _ = methods
    truth = np.array([[true_dice(name) for name in METHODS]])
    of_dice = method_draws(samples, methods, S.PRIMARY_DICE)
    yield told(of_dice, "dice", truth, first)
    yield told(of_dice, "dice_difference", truth, difference)
    yield told(of_dice, "gap_closed", truth, partial(gap_shares, lower=2, upper=3))
    truth = np.array([[METHODS[name][0] for name in ("a", "b", "fbp")]])
    of_psnr = method_draws(samples, [a, b, fbp], PSNR)
    yield told(of_psnr, "psnr", truth, first)
    yield told(of_psnr, "psnr_difference", truth, difference)
    yield from of_one_run(samples, METHODS["a"][0] + runs[0])
    band = surfaces(samples, [[column] for column in samples.columns_of(a.trials)], SSIM, PSNR)
    yield "attainment", METHODS["a"][0], band.low[0], band.high[0]
    yield from of_places(random, patients, seeds)
    yield from of_trials(random, patients)
    yield from of_tasks(random, seeds)


def first(scores: Array) -> Array:
    return scores[:, :1]


def difference(scores: Array) -> Array:
    return scores[:, :1] - scores[:, 1:2]


def told(draws: MethodDraws, name: str, truth: Array, tell: Told) -> Interval:
    """What the report tells of the first method."""
    _, low, high = draws.interval(tell)
    return name, float(tell(truth)[0, 0]), float(low[0]), float(high[0])


def of_one_run(samples: AlignedSamples, truth: float) -> Iterator[Interval]:
    """The crosses on the front: a single network's score."""
    values = samples.values[PSNR][:, :1]
    score, draws = statistics.bootstrap(samples.patients, lambda drawn: drawn.slice_means(values))
    draws = statistics.as_of_few(score, draws, samples.patient_count - 1)
    low, high = statistics.percentile_interval(draws)
    yield "one_run_psnr", truth, float(low[0]), float(high[0])


def of_trials(random: np.random.Generator, count: int) -> Iterator[Interval]:
    """A rank correlation over trials, as many as there are patients."""
    pairs = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=count)
    found = statistics.rank_correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist())
    assert found is not None
    yield "rank_correlation", 6 / np.pi * np.arcsin(0.3), found.low, found.high


def of_places(random: np.random.Generator, count: int, seeds: int) -> Iterator[Interval]:
    """d' over as many places of lesions as there are patients, of a network and of several that differ."""
    places = random.normal(size=(count, 1, CHANNELS))
    lesion = np.eye(CHANNELS)[0] * DPRIME
    present, absent = (places + random.normal(size=(count, 2, CHANNELS)) for _ in range(2))
    seen = detectability(present + lesion, absent)
    yield "dprime", DPRIME / np.sqrt(2), seen.low, seen.high
    shown = 1 + DPRIME_OF_RUNS * random.normal(size=seeds)
    runs = pd.DataFrame([vars(detectability(present + strength * lesion, absent)) for strength in shown])
    low, high = ends_over_runs(runs.rename(columns={"low": "dprime_low", "high": "dprime_high"}), "dprime")
    yield "dprime_of_runs", DPRIME / np.sqrt(2), low, high


def of_tasks(random: np.random.Generator, seeds: int) -> Iterator[Interval]:
    """Two methods over several tasks, with so many runs of each."""
    one, other = (
        Runs([mean + 0.02 * random.normal(size=seeds) for mean in TASKS + shift]) for shift in (0.01, 0.0)
    )
    middle = interquartile_mean(one)
    yield "interquartile_mean", float(TASKS[1:3].mean() + 0.01), middle.low, middle.high
    better = probability_of_improvement(one, other)
    yield "improvement", float(statistics.stats.norm.cdf(0.01 / 0.02 / np.sqrt(2))), better.low, better.high


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
        blocks.setdefault(PSNR, []).append(psnr)
        runs = LOGIT["run"] * random.normal(size=columns) * (columns > 1)
        for structure, mean in zip(S.STRUCTURES, means[1:], strict=True):
            dice = expit(scores(random, mean, LOGIT, shared["logit"], runs))
            whole = np.full(dice.shape, float(PIXELS))
            parts = {"true": whole, "predicted": whole, "overlap": np.rint(PIXELS * dice)}
            for part, pixels in parts.items():
                blocks.setdefault(f"{structure}_{part}_pixels", []).append(pixels)
    values = {name: np.concatenate(parts, axis=1) for name, parts in blocks.items()}
    values[SSIM] = np.full(values[PSNR].shape, 0.9)  # all networks alike, so that a front is of PSNR alone
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
