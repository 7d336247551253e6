"""Does any schedule of faults, of a hundred thousand, lose, repeat or mix up what a study has?

    python benchmarks/fault_simulation.py --schedules 100000
    python benchmarks/fault_simulation.py --first 4711 --schedules 1      # one again, by its seed
    python benchmarks/fault_simulation.py --schedules 100000 --minutes 10 --json result.json   # flat keys

One process. Each schedule is a study whose drivers are killed at a write, on a disk that tears (at any byte of the
journal and the epoch logs), fills, breaks and forgets what it said was safe, with workers that die, locks that are
stale, damaged, dated by another clock or stolen, and second drivers (tests/study/fault_schedules.py). Afterwards no
acknowledged epoch may be missing or repeated, no trial have another's scores, no second driver have got the lock, and
the table must be that of the study without faults; a storage that the disk forgot may be refused instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "study"))

import optuna
from bench_record import write_result
from fault_schedules import run_schedule

MEMORY_FOLDER = Path("/dev/shm")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first schedule")
    parser.add_argument("--minutes", type=float, help="end after so long, with the schedules run by then")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    room = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    began, used = time.monotonic(), time.process_time()
    violations = schedules = 0
    with tempfile.TemporaryDirectory(dir=room, prefix="taskct-") as folder:
        for seed in range(options.first, options.first + options.schedules):
            problems = run_schedule(seed, Path(folder))
            violations += bool(problems)
            schedules += 1
            if problems:
                print(f"seed {seed}: {'; '.join(problems)}", flush=True)
            if options.minutes is not None and time.monotonic() - began > 60 * options.minutes:
                break
    result = {
        "schedules": schedules,
        "violations": violations,
        "seconds": time.monotonic() - began,
        "processor_seconds": time.process_time() - used,
        "first_seed": options.first,
    }
    print(
        f"{violations} of {schedules} schedules violated a promise; {result['seconds']:.0f} s, "
        f"{result['processor_seconds']:.0f} s of one core"
    )
    if options.json:
        write_result(options.json, result)
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
