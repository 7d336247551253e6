"""How much of a problem's hypervolume does a search find in a hundred trials: ours, plain Optuna, and random?

    python benchmarks/search_quality.py
    python benchmarks/search_quality.py --json result.json   # flat keys

Every method proposes the same number of trials for each problem and seed. Problems: ZDT1 and ZDT3 (Zitzler et al.
2000), DTLZ2 with three objectives (Deb et al. 2002), a choice that brings parameters of its own, and the table of
recorded learning curves (of multi_fidelity.py), of which a trial finds the configuration that is nearest to it. The
hypervolume is divided by that of the problem's true front. Medians over the seeds, with the worst beside them.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

from bench_record import write_result
from learning_curves import configurations, read_curves

from analysis.pareto import hypervolume, non_dominated
from study.search.config import SamplerConfig
from study.search.samplers import make_sampler
from study.search.space import SearchSpace

Values = tuple[float, ...]
Points = NDArray[np.float64]
MakeSampler = Callable[[int], optuna.samplers.BaseSampler]  # of a seed


@dataclass(frozen=True)
class Problem:
    """Objectives to be minimised.

    Attributes:
        evaluate: proposes and scores a trial.
        corner: the hypervolume's reference point.
        front: gives points of the true front.
    """

    evaluate: Callable[[optuna.Trial], Values]
    corner: Values
    front: Callable[[], Points]


def zdt1(trial: optuna.Trial) -> Values:
    x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(8)]
    g = 1 + 9 * float(np.mean(x[1:]))
    return x[0], g * (1 - (x[0] / g) ** 0.5)


def zdt3(trial: optuna.Trial) -> Values:
    x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(8)]
    g = 1 + 9 * float(np.mean(x[1:]))
    return x[0], g * (1 - (x[0] / g) ** 0.5 - x[0] / g * float(np.sin(10 * np.pi * x[0])))


def dtlz2(trial: optuna.Trial) -> Values:
    x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(7)]
    g = sum((value - 0.5) ** 2 for value in x[2:])
    return tuple(float(value) for value in (1 + g) * _octant(np.array(x[0]), np.array(x[1])))


def conditional(trial: optuna.Trial) -> Values:
    """The convex half is reached with one choice, the concave one with the other."""
    kind = trial.suggest_categorical("kind", ["convex", "concave", "poor"])
    x = [trial.suggest_float(f"{kind}.x{i}", 0, 1) for i in range(4)]
    g = {"convex": 1.0, "concave": 1.1, "poor": 2.0}[kind] + 9 * float(np.mean(x[1:]))
    return x[0], g * (1 - (x[0] / g) ** (0.5 if kind == "convex" else 2))


def recorded(trial: optuna.Trial) -> Values:
    """The last epoch of the recorded configuration that is nearest to the trial's."""
    known, scores = _recorded()
    drawn = [trial.suggest_float(name, 0, 1) for name in ("alpha", "learning_rate", "width")]
    nearest = int(np.argmin(((known - drawn) ** 2).sum(axis=1)))
    dice, psnr = scores[nearest]
    return -float(dice), -float(psnr)


@cache
def _recorded() -> tuple[Points, Points]:
    """Configurations, each parameter scaled to [0, 1], and their scores."""
    alpha, log_rate, log_width = configurations(100, np.random.default_rng(0))
    known = np.column_stack([alpha, (log_rate + 4) / 2, (log_width - 3) / 2])
    return known, read_curves()[:, -1]


def _octant(x: Points, y: Points) -> Points:
    a, b = x * np.pi / 2, y * np.pi / 2
    return np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], axis=-1)


def _curve(of: Callable[[Points], Points]) -> Points:
    x = np.linspace(0, 1, 2001)
    return np.column_stack([x, of(x)])


def _sphere() -> Points:
    x, y = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
    return _octant(x, y).reshape(-1, 3)


PROBLEMS = {
    "zdt1": Problem(zdt1, (1.1, 6.0), lambda: _curve(lambda x: 1 - x**0.5)),
    "zdt3": Problem(zdt3, (1.1, 6.0), lambda: _curve(lambda x: 1 - x**0.5 - x * np.sin(10 * np.pi * x))),
    "dtlz2": Problem(dtlz2, (1.5, 1.5, 1.5), _sphere),
    "conditional": Problem(
        conditional,
        (1.1, 6.0),
        lambda: np.vstack([_curve(lambda x: 1 - x**0.5), _curve(lambda x: 1.1 * (1 - (x / 1.1) ** 2))]),
    ),
    "recorded": Problem(recorded, (-0.3, -24.0), lambda: -_recorded()[1]),
}


def of_taskct(name: str) -> MakeSampler:
    """A sampler of the platform; these problems need no space of its own."""
    space = SearchSpace.parse({"alpha": {"kind": "uniform", "low": 0, "high": 1}})
    return lambda seed: make_sampler(SamplerConfig(name=name), space, seed)


METHODS: dict[str, MakeSampler] = {
    "taskct_tpe": of_taskct("tpe"),
    "taskct_nsga2": of_taskct("nsga2"),
    "optuna_tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna_nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    result: dict[str, Any] = {"trials": options.trials, "seeds": options.seeds}
    for problem_name, problem in PROBLEMS.items():
        for method, make in METHODS.items():
            found = [share_found(problem, make(seed), options.trials) for seed in range(options.seeds)]
            median, worst = float(np.median(found)), min(found)
            result[f"{problem_name}_{method}"] = median
            result[f"{problem_name}_{method}_worst"] = worst
            print(f"{problem_name:12s} {method:13s} {median:.3f} (worst {worst:.3f})", flush=True)
    if options.json:
        write_result(options.json, result)


def share_found(problem: Problem, sampler: optuna.samplers.BaseSampler, trials: int) -> float:
    """The hypervolume that a search finds, as a share of the true front's."""
    ways: list[Literal["minimize", "maximize"]] = ["minimize"] * len(problem.corner)
    study = optuna.create_study(directions=ways, sampler=sampler)
    study.optimize(problem.evaluate, n_trials=trials)
    found = np.array([trial.values for trial in study.get_trials(deepcopy=False)])
    front = problem.front()
    front = front[non_dominated(front, ways)]
    return hypervolume(found, problem.corner, ways) / hypervolume(front, problem.corner, ways)


if __name__ == "__main__":
    main()
