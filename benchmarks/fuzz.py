"""Does any mutated file end in a traceback, a hang or a wrong number, where it should be refused or read right?

    python benchmarks/fuzz.py --inputs 10000
    python benchmarks/fuzz.py --inputs 500 --only journal "epoch log"
    python benchmarks/fuzz.py --json result.json      # flat keys

One process, no Ray: every kind of file that taskct reads (tests/fuzz/targets.py), mutated one at a time by seed and
number (tests/fuzz/mutations.py), is read as a command reads it. Clean: a taskct error with rule, value and next step.
Accepted: a result, equal to that of the file as it was wherever that can be known; else it is wrong.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "analysis"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "taskct_core"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "study"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "fuzz"))

import optuna
from bench_record import write_result
from harness import run_target
from targets import make_targets

MEMORY_FOLDER = Path("/dev/shm")
MOST_MEMORY = 4 * 2**30  # bytes that reading an input may take beyond what the process has


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="targets by name")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    began = time.monotonic()
    total: Counter[str] = Counter()
    by_target: dict[str, int | float] = {}
    room = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(dir=room, prefix="taskct-") as folder:
        targets = make_targets(Path(folder))
        targets = [target for target in targets if not options.only or target.name in options.only]
        _limit_memory()
        for place, target in enumerate(targets):
            inputs = range(
                options.inputs * place // len(targets), options.inputs * (place + 1) // len(targets)
            )
            used = time.process_time()
            tally = run_target(target, Path(folder), options.seed, iter(inputs))
            milliseconds = 1000 * (time.process_time() - used) / max(1, len(inputs))
            total.update(tally.counts)
            shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.counts.items()))
            print(f"{target.name}: {shown}; {milliseconds:.0f} ms each", flush=True)
            print("".join(f"  {fault}\n" for fault in tally.faults), end="", flush=True)
            by_target |= {f"{target.name}: {outcome}": count for outcome, count in tally.counts.items()}
    result = {
        "inputs": sum(total.values()),
        "clean": total["clean"],
        "accepted": total["accepted"],
        "wrong": total["wrong"],
        "tracebacks": total["traceback"],
        "hangs": total["hang"],
        "seconds": time.monotonic() - began,
        "seed": options.seed,
        **by_target,
    }
    print(
        "; ".join(
            f"{result[name]} {name}"
            for name in ("inputs", "clean", "accepted", "wrong", "tracebacks", "hangs")
        )
    )
    if options.json:
        write_result(options.json, result)
    sys.exit(bool(result["wrong"] or result["tracebacks"] or result["hangs"]))


def _limit_memory() -> None:
    """A bomb ends in a MemoryError, not in the machine's."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
