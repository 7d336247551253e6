"""Does ``taskct simulate`` scale with the cores of this machine, and is its memory flat over volumes?

    python benchmarks/simulation_scaling.py
    python benchmarks/simulation_scaling.py --json result.json   # flat keys

The same phantoms go through the Ray Data job on one core and on all, in turns; the seconds are the job's, without
Ray's start. Each core's first patient, which also imports, is made before. Bare processes that share nothing do the
same patients beside it: what they gain from the cores is all that the machine's memory and clock can give.

``scaling``: speed-up over one core. ``bare_scaling``: that of the bare processes.
``scaling_share``: the first over the second. ``overhead``: of the job on one core over one bare process.
``memory_few_mb``, ``memory_many_mb``: the largest worker's peak resident memory after few and four times as many
volumes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import psutil
import torch
from bench_record import write_result

from study.cluster.ray_session import ray_session
from study.config import ExperimentConfig
from study.data.patient_jobs import plan
from study.data.simulate import simulate
from study.data.simulate_patient import simulate_patient
from taskct_core.geometry import PRESETS


def job(folder: Path, preset: str, patients: int, seed: int) -> ExperimentConfig:
    """Phantoms of 8 slices each."""
    source = {"kind": "phantom", "patients": patients, "slices_per_patient": 8, "pixels": 256, "seed": seed}
    return ExperimentConfig.parse(
        {
            "name": f"job-{seed}",
            "output": str(folder),
            "data": {"source": source},
            "simulation": {"preset": preset, "field_of_view_mm": 420},
        }
    )


def timed(folder: Path, preset: str, cores: int, patients: int, seed: int) -> tuple[float, float]:
    """Seconds of a job of ``patients``, and the largest peak memory of its workers in MB."""
    with ray_session(num_cpus=cores):
        simulate(job(folder, preset, max(3, cores), seed + 1), folder / f"warm-{seed}")
        with _PeakMemory() as memory:
            start = time.perf_counter()
            simulate(job(folder, preset, patients, seed), folder / f"data-{seed}")
            seconds = time.perf_counter() - start
    return seconds, memory.megabytes


def bare(folder: Path, preset: str, processes: int, patients: int, seed: int) -> float:
    """Seconds that as many plain processes take for the patients of ``timed``."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        _, warm_jobs = plan(job(folder, preset, max(3, processes), seed + 1), folder / f"warm-{seed}")
        pool.map(simulate_patient, warm_jobs, chunksize=1)
        _, jobs = plan(job(folder, preset, patients, seed), folder / f"data-{seed}")
        start = time.perf_counter()
        pool.map(simulate_patient, jobs, chunksize=1)
        return time.perf_counter() - start


class _PeakMemory:
    """The largest resident memory, without shared pages, of any Ray task of this process's session."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        memory = process.memory_info()
                        self.megabytes = max(self.megabytes, (memory.rss - memory.shared) / 1e6)
                except psutil.Error:
                    continue  # it has just ended


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="lodopab", choices=sorted(PRESETS))
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    cores = psutil.cpu_count() or 1
    seconds: dict[tuple[str, int], list[float]] = {
        (kind, count): [] for kind in ("job", "bare") for count in (1, cores)
    }
    with tempfile.TemporaryDirectory() as name:
        folder, seed = Path(name), 0
        for _ in range(options.repeats):
            for kind, count in seconds:
                seed += 2
                arguments = (folder, options.preset, count, options.patients, seed)
                seconds[kind, count].append(timed(*arguments)[0] if kind == "job" else bare(*arguments))
        memory = {
            many: timed(folder, options.preset, 1, many * options.patients // 2, 1000 + 10 * many)[1]
            for many in (1, 4)
        }
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    scaling = medians["job", 1] / medians["job", cores]
    bare_scaling = medians["bare", 1] / medians["bare", cores]
    result = {
        "preset": options.preset,
        "cores": cores,
        "slices": options.patients * 8,
        "seconds_one_core": medians["job", 1],
        "seconds_all_cores": medians["job", cores],
        "scaling": scaling,
        "bare_scaling": bare_scaling,
        "scaling_share": scaling / bare_scaling,
        "overhead": medians["job", 1] / medians["bare", 1] - 1,
        "memory_few_mb": memory[1],
        "memory_many_mb": memory[4],
    }
    for key, value in result.items():
        print(f"{key:>20}: {value}")
    if options.json:
        write_result(options.json, result)


if __name__ == "__main__":
    main()
