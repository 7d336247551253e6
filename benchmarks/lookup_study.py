"""What does the platform itself cost a trial, and does the cost or the driver's memory grow with the study?

    python benchmarks/lookup_study.py
    python benchmarks/lookup_study.py --trials 1000 --json result.json   # flat keys

Trials look their epochs up in a table, so that nothing but the platform is at work: Optuna's proposals and
storage, Ray Tune, a warm process, the epoch logs. The first and the last tenth of the trials are compared, in seconds
and in the driver's own processor time, which other work on the machine does not change. Then the study is asked for its
status, and its tables are made.
"""

from __future__ import annotations

import argparse
import itertools
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
from study.monitor.status import study_status
from study.results import export_results
from study.run import StudySummary, run_study
from study.search.events import Event, TrialFinished
from study.search.tune import TuneExecutor


class Meter:
    """Notes when each trial ended, and the driver's processor time and memory then."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.cpu: list[float] = []
        self.memory_mb: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialFinished):
            self.ends.append(time.monotonic())
            self.cpu.append(time.process_time())
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
        summary = run_study(plan(settings, Path(folder) / "study"), executor, meter)
        result = summarise(meter) | look_back(summary)
    result |= {"sampler": options.sampler, "pruner": options.pruner}
    print(
        f"{result['trials']} trials: {result['first_tenth_s_per_trial']:.3f} s a trial in the first tenth, "
        f"{result['last_tenth_s_per_trial']:.3f} in the last ({result['growth_ratio']:.2f}; processor time "
        f"{result['cpu_growth_ratio']:.2f}); driver {result['memory_first_tenth_mb']:.0f} -> "
        f"{result['memory_last_tenth_mb']:.0f} MB; status {result['status_s']:.1f} s, tables {result['tables_s']:.1f} s"
    )
    if options.json:
        write_result(options.json, result)


def summarise(meter: Meter) -> dict[str, float | str]:
    """Medians over the first and the last tenth of the trials."""
    tenth = max(1, len(meter.ends) // 10)
    first, last = per_trial(meter.ends, tenth)
    first_cpu, last_cpu = per_trial(meter.cpu, tenth)
    small, large = statistics.median(meter.memory_mb[:tenth]), statistics.median(meter.memory_mb[-tenth:])
    return {
        "trials": len(meter.ends),
        "first_tenth_s_per_trial": first,
        "last_tenth_s_per_trial": last,
        "growth_ratio": last / first,
        "first_tenth_cpu_s_per_trial": first_cpu,
        "last_tenth_cpu_s_per_trial": last_cpu,
        "cpu_growth_ratio": last_cpu / first_cpu,
        "memory_first_tenth_mb": small,
        "memory_last_tenth_mb": large,
        "memory_growth_mb": large - small,
    }


def per_trial(ends: list[float], tenth: int) -> tuple[float, float]:
    """Median seconds from one end to the next, in the first and the last tenth."""
    seconds = [end - start for start, end in itertools.pairwise(ends)]
    return statistics.median(seconds[:tenth]), statistics.median(seconds[-tenth:])


def look_back(summary: StudySummary) -> dict[str, float]:
    """Seconds that the finished study's status and tables take."""
    began = time.monotonic()
    study_status(summary.folder)
    told = time.monotonic()
    export_results(summary.folder, "lookup", summary.trials)
    return {"status_s": told - began, "tables_s": time.monotonic() - told}


if __name__ == "__main__":
    main()
