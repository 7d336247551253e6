"""What does the platform itself cost a trial, and does the cost or the driver's memory grow with the study?

    python benchmarks/lookup_study.py
    python benchmarks/lookup_study.py --trials 1000 --json result.json   # flat keys

Trials look their epochs up in a table, so that nothing but the platform is at work: Optuna's proposals and
storage, Ray Tune, a warm process, the epoch logs. The first and the last tenth of the trials are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "study"))

import lookup_trainable as lookup
from bench_record import write_result
from ray import cloudpickle
from studies import EPOCHS, plan, study_config

from study.cluster.ray_session import ray_session
from study.run import run_study
from study.search.events import Event, TrialFinished
from study.search.tune import TuneExecutor


class Meter:
    """Notes when each trial ended, and the driver's memory then."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.memory_mb: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialFinished):
            self.ends.append(time.monotonic())
            self.memory_mb.append(psutil.Process().memory_info().rss / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--pruner", default="pareto_asha")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    cloudpickle.register_pickle_by_value(lookup)
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        settings = study_config(
            trials=options.trials,
            sampler={"name": options.sampler},
            pruner={"name": options.pruner, "reduction_factor": 2},
        )
        executor = TuneExecutor(lookup.lookup_trainable(EPOCHS), {"cpu": 1})
        run_study(plan(settings, Path(folder) / "study"), executor, meter)
    result = summarise(meter) | {"sampler": options.sampler, "pruner": options.pruner}
    print(
        f"{result['trials']} trials: {result['first_tenth_s_per_trial']:.3f} s a trial in the first tenth, "
        f"{result['last_tenth_s_per_trial']:.3f} in the last; driver {result['memory_first_tenth_mb']:.0f} -> "
        f"{result['memory_last_tenth_mb']:.0f} MB"
    )
    if options.json:
        write_result(options.json, result)


def summarise(meter: Meter) -> dict[str, float | str]:
    """Medians over the first and the last tenth of the trials."""
    seconds = [end - start for start, end in zip(meter.ends, meter.ends[1:], strict=False)]
    tenth = max(1, len(seconds) // 10)
    first, last = statistics.median(seconds[:tenth]), statistics.median(seconds[-tenth:])
    return {
        "trials": len(meter.ends),
        "first_tenth_s_per_trial": first,
        "last_tenth_s_per_trial": last,
        "growth_ratio": last / first,
        "memory_first_tenth_mb": statistics.median(meter.memory_mb[:tenth]),
        "memory_last_tenth_mb": statistics.median(meter.memory_mb[-tenth:]),
    }


if __name__ == "__main__":
    main()
