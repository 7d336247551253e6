"""How often do the report's 95 % intervals hold the truth, with few patients and few seeds?

    python benchmarks/coverage.py                      # the table
    python benchmarks/coverage.py --json result.json   # flat keys, <interval>_<patients>p_<seeds>s
    python benchmarks/coverage.py --repeats 200        # coarser
    python benchmarks/coverage.py --processes 2        # on two cores
    python benchmarks/coverage.py --settings 50x3 --parts attainment trials --json result.json   # adds to that record

Studies are drawn from a population whose means are known: patients differ (Dice on a logit scale, so that it is skewed as
near its ceiling it is), training runs differ, and each run does better on other patients. Every interval is made by the
functions that the report calls, with their defaults. An interval of 95 % should hold the truth in 93 to 97 of 100. Beside them
``bca_*`` are what the report does not use: SciPy's BCa bootstrap over patients, of a difference and of a single network. A record
is written after each setting and keeps the settings that it has, so that a stopped run is continued by the missing ones.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
import pandas as pd
from bench_record import write_result
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.special import expit

from analysis import statistics
from analysis.across_tasks import Runs, interquartile_mean, probability_of_improvement
from analysis.attainment import surfaces
from analysis.contestants import Contestant
from analysis.image_quality import ends_over_runs
from analysis.method_draws import MethodDraws, Told, gap_shares, method_draws
from analysis.sample_scores import AlignedSamples, metric_statistic
from taskct_core import schema as S
from taskct_core.image_quality.observer import detectability

Array = NDArray[np.float64]
Interval = tuple[str, float, float, float]  # name, truth, low, high

SETTINGS = {f"{patients}x{seeds}": (patients, seeds) for patients in (8, 20, 50) for seeds in (3, 5)}
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


@dataclass(frozen=True)
class Study:
    """Slices of a study, its methods, and by how much the runs of method a differ from its mean in dB."""

    patients: int
    seeds: int
    samples: AlignedSamples
    methods: list[Contestant]
    runs: Array


def main() -> None:
    """Print a row an interval and number of patients and seeds."""
    every = list(SETTINGS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--settings", nargs="+", choices=every, default=every, help="patients x seeds")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    settings = [SETTINGS[text] for text in options.settings]
    result = recorded(options.json)
    count = partial(coverages, repeats=options.repeats, parts=options.parts)
    with ProcessPoolExecutor(options.processes) as pool:
        for (patients, seeds), of_setting in zip(settings, pool.map(count, settings), strict=True):
            result |= {f"repeats_{patients}p_{seeds}s": options.repeats}
            for name, coverage in of_setting.items():
                result[f"{name}_{patients}p_{seeds}s"] = coverage
                told = "" if 0.93 <= coverage <= 0.97 else "  outside 93 to 97 %"
                print(
                    f"{name:24} {patients:3} patients {seeds} seeds {100 * coverage:6.1f} %{told}", flush=True
                )
            if options.json:
                write_result(options.json, result)


def recorded(file: Path | None) -> dict[str, float]:
    """The figures of an earlier record."""
    found = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else {}
    return {name: value for name, value in found.items() if re.search(r"_\d+p_\d+s$", name)}


def coverages(setting: tuple[int, int], repeats: int, parts: Sequence[str]) -> dict[str, float]:
    """How often each kind of interval of some parts held the truth, of so many patients and seeds."""
    held: dict[str, list[bool]] = {}
    for repeat in range(repeats):
        study = draw_study(np.random.default_rng([*setting, repeat]), *setting)
        for part in parts:
            random = np.random.default_rng([*setting, repeat, list(PARTS).index(part)])
            for name, truth, low, high in PARTS[part](study, random):
                held.setdefault(name, []).append(low <= truth <= high)
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def of_methods(study: Study, _: np.random.Generator) -> Iterator[Interval]:
    """What the table of methods, the differences and the gap tell."""
    a, b, fbp, _full_dose = study.methods
    truth = np.array([[true_dice(name) for name in METHODS]])
    of_dice = method_draws(study.samples, study.methods, S.PRIMARY_DICE)
    yield told(of_dice, "dice", truth, first)
    yield told(of_dice, "dice_difference", truth, difference)
    yield told(of_dice, "gap_closed", truth, partial(gap_shares, lower=2, upper=3))
    truth = np.array([[METHODS[name][0] for name in ("a", "b", "fbp")]])
    of_psnr = method_draws(study.samples, [a, b, fbp], PSNR)
    yield told(of_psnr, "psnr", truth, first)
    yield told(of_psnr, "psnr_difference", truth, difference)


def first(scores: Array) -> Array:
    return scores[:, :1]


def difference(scores: Array) -> Array:
    return scores[:, :1] - scores[:, 1:2]


def told(draws: MethodDraws, name: str, truth: Array, tell: Told) -> Interval:
    """What the report tells of the first method."""
    _, low, high = draws.interval(tell)
    return name, float(tell(truth)[0, 0]), float(low[0]), float(high[0])


def of_one_run(study: Study, _: np.random.Generator) -> Iterator[Interval]:
    """The crosses on the front: a single network's score."""
    samples = study.samples
    values = samples.values[PSNR][:, :1]
    score, draws = statistics.bootstrap(samples.patients, lambda drawn: drawn.slice_means(values))
    draws = statistics.as_of_few(score, draws, samples.patient_count - 1)
    low, high = statistics.percentile_interval(draws)
    yield "one_run_psnr", METHODS["a"][0] + study.runs[0], float(low[0]), float(high[0])


def of_attainment(study: Study, _: np.random.Generator) -> Iterator[Interval]:
    """The band of the median surface at the one place that it has here."""
    columns = [[column] for column in study.samples.columns_of(study.methods[0].trials)]
    band = surfaces(study.samples, columns, SSIM, PSNR)
    yield "attainment", METHODS["a"][0], band.low[0], band.high[0]


def of_bca(study: Study, _: np.random.Generator) -> Iterator[Interval]:
    """What the report does not use: SciPy's BCa over patients."""
    truth = true_dice("a") - true_dice("b")
    yield bca("dice_difference", truth, patient_differences(study.samples, *study.methods[:2]))
    of_run = of_patients(study.samples, PSNR)[:, 0]
    yield bca("one_run_psnr", METHODS["a"][0] + study.runs[0], of_run)


def bca(name: str, truth: float, of_patients: Array) -> Interval:
    """Of a mean over patients, ``(patient,)``."""
    found = stats.bootstrap((of_patients,), np.mean, method="BCa", n_resamples=statistics.DRAWS, rng=0)
    return f"bca_{name}", truth, *found.confidence_interval


def patient_differences(samples: AlignedSamples, one: Contestant, other: Contestant) -> Array:
    """Mean Dice of one method minus that of another for each patient, means over runs."""
    scores = of_patients(samples, S.PRIMARY_DICE)
    means = [scores[:, samples.columns_of(side.trials)].mean(axis=1) for side in (one, other)]
    return means[0] - means[1]


def of_patients(samples: AlignedSamples, metric: str) -> Array:
    """``(patient, run)`` scores: draws of one patient each."""
    blocks = statistics.as_observed(samples.patients).blocks
    each = statistics.Resamples(blocks, sparse.csr_array(sparse.eye_array(blocks.shape[0])))
    return metric_statistic(samples, metric)(each)


def of_trials(study: Study, random: np.random.Generator) -> Iterator[Interval]:
    """A rank correlation over trials, as many as there are patients; it costs little, so each study has ten."""
    for _ in range(10):
        pairs = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=study.patients)
        found = statistics.rank_correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist())
        assert found is not None
        yield "rank_correlation", 6 / np.pi * np.arcsin(0.3), found.low, found.high


def of_places(study: Study, random: np.random.Generator) -> Iterator[Interval]:
    """d' over as many places of lesions as there are patients, of a network and of several that differ."""
    count = study.patients
    places = random.normal(size=(count, 1, CHANNELS))
    lesion = np.eye(CHANNELS)[0] * DPRIME
    present, absent = (places + random.normal(size=(count, 2, CHANNELS)) for _ in range(2))
    seen = detectability(present + lesion, absent)
    yield "dprime", DPRIME / np.sqrt(2), seen.low, seen.high
    shown = 1 + DPRIME_OF_RUNS * random.normal(size=study.seeds)
    runs = pd.DataFrame([vars(detectability(present + strength * lesion, absent)) for strength in shown])
    low, high = ends_over_runs(runs.rename(columns={"low": "dprime_low", "high": "dprime_high"}), "dprime")
    yield "dprime_of_runs", DPRIME / np.sqrt(2), low, high


def of_tasks(study: Study, random: np.random.Generator) -> Iterator[Interval]:
    """Two methods over several tasks, with so many runs of each."""
    one, other = (
        Runs([mean + 0.02 * random.normal(size=study.seeds) for mean in TASKS + shift])
        for shift in (0.01, 0.0)
    )
    middle = interquartile_mean(one)
    yield "interquartile_mean", float(TASKS[1:3].mean() + 0.01), middle.low, middle.high
    better = probability_of_improvement(one, other)
    yield "improvement", float(stats.norm.cdf(0.01 / 0.02 / np.sqrt(2))), better.low, better.high


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


def draw_study(random: np.random.Generator, patients: int, seeds: int) -> Study:
    """A study of the population."""
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
    return Study(patients, seeds, AlignedSamples("test", trials, of_slices, values), names, of_runs)


def scores(
    random: np.random.Generator, mean: float, spread: dict[str, float], shared: Array, runs: Array
) -> Array:
    """``(slice, run)`` scores: patients, runs, patients by runs where there are several, and slices vary."""
    patients, columns = len(shared), len(runs)
    both = spread["both"] * random.normal(size=(patients, columns)) * (columns > 1)
    of_patients = mean + spread["patient"] * shared + runs + both
    slices = spread["slice"] * random.normal(size=(patients * SLICES, columns))
    return np.repeat(of_patients, SLICES, axis=0) + slices


PARTS: dict[str, Callable[[Study, np.random.Generator], Iterator[Interval]]] = {
    "methods": of_methods,
    "one_run": of_one_run,
    "attainment": of_attainment,
    "bca": of_bca,
    "places": of_places,
    "trials": of_trials,
    "tasks": of_tasks,
}


if __name__ == "__main__":
    main()
