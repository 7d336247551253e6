"""What does the platform add to a trial, beside a bare PyTorch loop that trains and scores the same?

    python benchmarks/trial_overhead.py
    python benchmarks/trial_overhead.py --json result.json   # flat keys

A study of a few trials and one of twice as many are timed with each executor: their difference is the cost of
a trial once the study is up. The bare loop builds the same networks and trains and scores the same samples in
this process, its imports and data already there.

``actor_overhead_s``, ``train_overhead_s``, ``train_two_workers_overhead_s``: seconds a trial beyond the bare loop; two
workers on two cores train it in half the steps. With few ``--trials`` the time that a study takes to begin, which differs
by seconds, spoils the difference.
``study_throughput_ratio``: trials a second in the actor executor over those of the bare loop.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import torch
from bench_record import write_result
from small_study import prepare

from study.cluster.ray_session import ray_session
from study.config import ExperimentConfig
from study.data.batches import Share
from study.experiment.experiment import Experiment
from study.experiment.inputs import open_inputs
from study.experiment.search import run_experiment_study
from study.experiment.workspace import Workspace
from study.trials.inputs import TrialInputs
from taskct_core.metrics import summarise
from taskct_core.task_networks import load_task_network
from taskct_core.training.trial import build_training


def bare_trial_seconds(experiment: ExperimentConfig, inputs: TrialInputs, repeats: int) -> float:
    """Median seconds of a plain loop over the same configuration and samples."""
    torch.set_num_threads(1)
    config, times = experiment.trial, []
    for _ in range(repeats):
        start = time.perf_counter()
        network, _card = load_task_network(Path(inputs.task_network))
        training = build_training(config, geometry=inputs.geometry, task_network=network)
        for epoch in range(1, config.epochs + 1):
            feed = inputs.feeds["train"]
            training.train_epoch(feed.shuffled(config.batch_size, seed=0, epoch=epoch, share=Share()))
            summarise(training.evaluate(inputs.feeds["validation"].ordered(16, share=Share())))
        for split in ("validation", "test"):
            summarise(training.evaluate(inputs.feeds[split].ordered(16, share=Share())))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


EXECUTIONS = {
    "actor": {"executor": "actor"},
    "train": {"executor": "train"},
    "train_two_workers": {"executor": "train", "workers_per_trial": 2, "cpus_per_worker": 0.9},
}


def study_seconds(experiment: ExperimentConfig, workspace: Workspace, execution: str, trials: int) -> float:
    """Seconds of a study of so many trials, one at a time."""
    values = experiment.model_dump() | {"name": f"{execution}-{trials}"}
    values["study"] |= {"trials": trials, "space": {"alpha": {"kind": "uniform", "low": 0.4, "high": 0.6}}}
    values["execution"] |= EXECUTIONS[execution]
    values |= {"dataset": str(workspace.dataset), "pretrained": str(workspace.task_network)}
    settings = Experiment(ExperimentConfig.parse(values))
    start = time.perf_counter()
    summary = run_experiment_study(settings)
    failed = [record for record in summary.trials if record.status != "COMPLETE"]
    assert not failed, f"{execution}: {failed}"
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10, help="of the smaller study (default 10)")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        experiment, workspace, card = prepare(Path(folder), "tiny")
        inputs = open_inputs(card, workspace)
        bare = bare_trial_seconds(experiment, inputs, repeats=5)
        per_trial = {}
        for execution in EXECUTIONS:
            short, long = (
                study_seconds(experiment, workspace, execution, trials)
                for trials in (arguments.trials, 2 * arguments.trials)
            )
            per_trial[execution] = (long - short) / arguments.trials
    result = {
        "bare_trial_s": bare,
        **{f"{execution}_overhead_s": seconds - bare for execution, seconds in per_trial.items()},
        "study_throughput_ratio": bare / per_trial["actor"],
    }
    for name, value in result.items():
        print(f"{name:>24}: {value:.2f}")
    if arguments.json:
        write_result(arguments.json, result)


if __name__ == "__main__":
    main()
