"""How long until a submitted experiment is taken, and until its job says something: beside `ray job submit`?

    python benchmarks/submit.py
    python benchmarks/submit.py --rounds 5 --json result.json   # flat keys

A head of Ray on loopback that wants a token; in turns a job that only prints (`ray job submit -- echo`), and a tiny
experiment that is done already (`taskct study submit`), so that its job has nothing to compute. ``accepted_s``: until the
command with ``--no-wait`` ends. ``whole_s``: until the command that waits ends, its job having started, spoken and ended. Each
beside Ray's own (``ray_*``), medians with the worst.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "study"))

from bench_record import write_result
from heads import Head, ray_head

TINY = {
    "name": "tiny",
    "data": {"source": {"patients": 3, "slices_per_patient": 3, "pixels": 64}},
    "simulation": {"preset": "tiny", "num_angles": 16},
    "task_network": {"epochs": 1, "architecture_parameters": {"width": 4}},
    "trial": {"epochs": 2, "architecture_parameters": {"width": 4}},
    "study": {"trials": 1, "space": {"alpha": {"kind": "choice", "values": [0.5]}}},
    "execution": {"executor": "actor"},
}


def ray_job(head: Head, *options: str) -> None:
    """What Ray's own command takes for a job that does nothing but speak."""
    command = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", head.dashboard]
    subprocess.run(
        [*command, *options, "--", "echo", "done"], env=head.environment, check=True, capture_output=True
    )


def taskct_job(head: Head, config: Path, *options: str) -> None:
    """The same of taskct."""
    done = head.taskct("study", "submit", str(config), "--address", head.dashboard, *options)
    if done.returncode:
        raise SystemExit(f"taskct study submit ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ray_head({}) as head:
        config = Path(folder) / "tiny.yaml"
        config.write_text(yaml.safe_dump(TINY | {"output": f"{folder}/runs"}), encoding="utf-8")
        taskct_job(head, config)  # computes all there is to compute
        tasks = {
            "ray_accepted": lambda: ray_job(head, "--no-wait"),
            "accepted": lambda: taskct_job(head, config, "--no-wait"),
            "ray_whole": lambda: ray_job(head),
            "whole": lambda: taskct_job(head, config),
        }
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(options.rounds):
            for name, task in tasks.items():
                start = time.monotonic()
                task()
                seconds[name].append(time.monotonic() - start)
                time.sleep(10 if name.endswith("accepted") else 0)  # until the job that was left has ended
    result: dict[str, Any] = {}
    for name, measured in seconds.items():
        result |= {f"{name}_s": statistics.median(measured), f"{name}_worst_s": max(measured)}
        print(f"{name:>14}: {result[f'{name}_s']:.2f} s (worst {result[f'{name}_worst_s']:.2f})")
    if options.json:
        write_result(options.json, result)


if __name__ == "__main__":
    main()
