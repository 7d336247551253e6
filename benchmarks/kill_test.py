"""Does a study whose driver, worker or raylet is killed again and again end as one that was left alone?

    python benchmarks/kill_test.py
    python benchmarks/kill_test.py --kills 21 --json result.json   # flat keys
    python benchmarks/kill_test.py --concurrent 2

Real processes, each driver with its own Ray, SIGKILL at random (seeded) moments; the trials are looked up in a
table, so only the platform is at work. The final tables are compared trial by trial. With several trials at a
time, what is proposed depends on which ends first; then no trial may be lost, repeated, left running or have
other than its own epochs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "study"))

from bench_record import write_result
from kills import run_with_kills, study_settings, unsound_trials
from studies import run_here, table

from study.run import load_study
from study.search.storage.records import read_records

SECONDS_PER_EPOCH = 0.4
TARGETS = ("driver", "worker", "driver", "worker", "raylet")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=21)
    parser.add_argument("--trials", type=int, help="of the study; by default 12 a kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrent", type=int, default=1, help="trials at a time")
    parser.add_argument(
        "--keep", type=Path, help="folder to leave both studies in, to look into a difference"
    )
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    settings = study_settings(trials=options.trials or 12 * options.kills)
    targets = list(itertools.islice(itertools.cycle(TARGETS), options.kills))
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
        expected = table(run_here(settings, Path(folder) / "alone").trials)
        began = time.monotonic()
        kills = run_with_kills(
            Path(folder) / "killed",
            targets,
            options.seed,
            settings.trials,
            SECONDS_PER_EPOCH,
            options.concurrent,
        )
        seconds = time.monotonic() - began
        found = read_records(load_study(Path(folder) / "killed"))
        problems = unsound_trials(Path(folder) / "killed", settings.trials)
    same = sum(a == b for a, b in itertools.zip_longest(table(found), expected))
    result = {
        "kills": kills,
        "concurrent": options.concurrent,
        "unsound_trials": len(problems),
        **{f"kills_{target}": count for target, count in Counter(targets[:kills]).items()},
        "trials": len(expected),
        "trials_as_uninterrupted": same,
        "trials_retried": sum(record.retries > 0 for record in found),
        "seconds": seconds,
        "seed": options.seed,
    }
    print(f"{kills} kills in {seconds:.0f} s: {len(problems)} unsound trials {'; '.join(problems)}")
    if options.concurrent == 1:
        print(f"{same} of {len(expected)} trials as in the uninterrupted study")
    if options.json:
        write_result(options.json, result)
    sys.exit(bool(problems) or (options.concurrent == 1 and same != len(expected)))


if __name__ == "__main__":
    main()
