"""An experiment handed to a cluster or to Slurm: apart from what runs one here, whose imports take seconds."""

from __future__ import annotations

from pathlib import Path

from study.experiment import slurm
from study.experiment.submit import follow, submit
from study.monitor.progress import console


def submit_experiment(
    config: Path, overrides: list[str], address: str, working_dir: Path | None, wait: bool
) -> None:
    """Run an experiment as a job of a Ray cluster, and show its output."""
    client, job = submit(config, overrides, address, working_dir)
    console.print(f"Job {job} at {address}  (stop it with `ray job stop {job}`)")
    if wait:
        follow(client, job, lambda text: console.print(text, end="", markup=False))
        console.print(f"Job {job} has ended well.")


def submit_to_slurm(config: Path, overrides: list[str], options: list[str]) -> None:
    """Write an experiment's Slurm script and submit it."""
    script, answer = slurm.submit_to_slurm(config, overrides, options)
    console.print(f"{answer}  (script: {script}; log: NAME-JOB.log in this folder)", markup=False)
