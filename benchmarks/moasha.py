"""How do ``pareto_asha`` and Syne Tune's MOASHA, from which it comes, compare at the same number of epochs?

    pip install --no-deps --target FOLDER syne-tune==0.16.0 dill
    PYTHONPATH=FOLDER python benchmarks/moasha.py
    PYTHONPATH=FOLDER python benchmarks/moasha.py --json result.json   # flat keys

Syne Tune is no dependency of the platform; without it this says so and ends. Its scheduler is asked about every epoch of
a trial, as a pruner of ours is, with the same first rung and reduction factor. First all play the recorded table of 100
learning curves (of multi_fidelity.py) to its end. Then they have a fifth of the epochs that 100 trials take, on generated
tables of 500 trials, one a seed: who stops more comes to more trials. ``random`` lets every trial run to its end.

MOASHA sorts trials by fronts, and a front by an epsilon-net. ``moasha`` is the scheduler as it comes: there a trial's place
in the order and the trial at that place are confused (the priority that it is given is an argsort, where it reads ranks).
``moasha_ranks`` is the same scheduler with ranks, which is what Schmucker et al. (arXiv:2106.12639) describe.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

from bench_record import write_result
from learning_curves import (
    DIRECTIONS,
    OBJECTIVES,
    as_curves,
    generate,
    hypervolume_ratio,
    over_orders,
    play,
    read_curves,
    told,
)

from study.config import StudyConfig
from study.search.pruners import make_pruner
from study.search.pruners.pruner import Pruner
from taskct_core.schema import EPOCH

try:
    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority
except ImportError as error:
    sys.exit(f"Syne Tune is not installed ({error}): see the first lines of this file.")

TRIALS, EPOCHS = 500, 27  # of a generated table
BUDGET = 540  # epochs: a fifth of what 100 trials take
AT_A_TIME = 4
MakePruner = Callable[[], Pruner]


class Moasha:
    """Syne Tune's scheduler as a :class:`~study.search.pruners.pruner.Pruner`.

    Args:
        priority: how it orders trials.
    """

    def __init__(self, priority: NonDominatedPriority) -> None:
        self._scheduler = MOASHA(
            config_space={},
            metrics=OBJECTIVES,
            do_minimize=False,
            time_attr=EPOCH,
            multiobjective_priority=priority,
            max_t=EPOCHS,
        )

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        self.reason_to_stop(trial, row)

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        job = Trial(trial, {}, datetime.now())
        if row[EPOCH] == 1:
            self._scheduler.on_trial_add(job)
        stops = self._scheduler.on_trial_result(job, dict(row)) == SchedulerDecision.STOP
        return "stopped by MOASHA" if stops else None


class RankPriority(NonDominatedPriority):
    """The place of each trial in the order, where Syne Tune gives the trial at each place."""

    def priority_unsafe(self, objectives: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.argsort(super().priority_unsafe(objectives))


def ours(name: str) -> MakePruner:
    config = StudyConfig.parse({"objectives": OBJECTIVES, "pruner": {"name": name}})
    return lambda: make_pruner(config, DIRECTIONS)


METHODS: dict[str, MakePruner] = {
    "pareto_asha": ours("pareto_asha"),
    "moasha": lambda: Moasha(NonDominatedPriority()),
    "moasha_ranks": lambda: Moasha(RankPriority()),
    "random": ours("none"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    result: dict[str, Any] = {"orders": options.orders, "seeds": options.seeds, "budget_epochs": BUDGET}
    result["syne_tune"] = version("syne-tune")
    for name, make in METHODS.items():
        found = over_orders(make, read_curves(), options.orders)
        result |= {f"{name}_{key}": value for key, value in found.items()}
        print(f"{name:13s} all 100 trials: {told(name, result)}", flush=True)
        result |= {f"{name}_{key}": value for key, value in within_budget(make, options.seeds).items()}
        print(
            f"{name:13s} in {BUDGET} epochs: hypervolume {result[f'{name}_budget_hypervolume_ratio']:.3f} "
            f"(worst {result[f'{name}_budget_hypervolume_ratio_worst']:.3f}), "
            f"{result[f'{name}_budget_finished']:.0f} trials finished",
            flush=True,
        )
    if options.json:
        write_result(options.json, result)


def within_budget(make: MakePruner, seeds: int) -> dict[str, float]:
    """What is found in the same number of epochs, over tables of as many seeds."""
    ratios, counts = [], []
    for seed in range(seeds):
        curves = as_curves(generate(TRIALS, EPOCHS, seed))
        finished, _ = play(make(), curves, list(range(TRIALS)), AT_A_TIME, BUDGET)
        ratios.append(hypervolume_ratio(curves, finished))
        counts.append(len(finished))
    return {
        "budget_hypervolume_ratio": float(np.median(ratios)),
        "budget_hypervolume_ratio_worst": min(ratios),
        "budget_finished": float(np.median(counts)),
    }


if __name__ == "__main__":
    main()
