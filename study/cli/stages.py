"""The stages of an experiment on the console: how far each is, and what it has made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from study.cli.study_actions import write_study_report
from study.cluster.ray_session import ray_session, session_is_open
from study.config import ExperimentConfig
from study.data.simulation_plan import ChangedSource
from study.experiment.experiment import Experiment
from study.experiment.preflight import check_room_for_trials
from study.experiment.pretrain import PretrainStage
from study.experiment.search import SearchStage, is_repeated
from study.experiment.simulate import PatientStep, SimulateStage
from study.experiment.stage import Stage, complete
from study.experiment.train import TrainStage
from study.interruption import Unfinished
from study.monitor.console import study_console
from study.monitor.progress import console, progress
from study.monitor.score_line import dice_line, score_line
from study.monitor.status import Step
from taskct_core.schema import ALPHA, COMPLETE, FAIL, PRUNED, SPLIT, SPLITS
from taskct_core.task_networks import load_task_network_card


def run_all(config: ExperimentConfig) -> None:
    """Run every stage of the experiment that is not done yet, and write the report."""
    experiment = Experiment(config)
    simulation, pretraining, search = (
        SimulateStage(experiment),
        PretrainStage(experiment),
        SearchStage(experiment),
    )
    stages: list[Stage[Any]] = [simulation, pretraining, search]
    for stage in stages:  # what can be refused at once is refused before anything starts
        stage.check()
    # Finished stages need no Ray; the others share one session.
    is_complete = all(stage.is_done for stage in stages)
    with nullcontext() if is_complete else _session(experiment):
        if not is_complete:
            check_room_for_trials(config)
        _simulate(simulation)
        _pretrain(pretraining)
        _search(search)
    write_study_report(search.folder)
    _say_what_is_next(experiment)


def _say_what_is_next(experiment: Experiment) -> None:
    """Commands that can be copied: to try the network, to look closer, to go on."""
    workspace, trials = experiment.workspace, experiment.config.study.trials
    console.print("Next:", style="bold")
    for what, command in (
        ("a simulated patient as a low-dose scan", f"taskct shards scan {workspace.dataset} low_dose.nii.gz"),
        (
            "the network of this study on it, or on a scan of yours",
            f"taskct reconstruct {workspace.study} low_dose.nii.gz denoised.nii.gz",
        ),
        ("figures, tables, the front as YAML", f"taskct export {workspace.study}"),
        ("more trials", f"the same command with --set study.trials={2 * trials}"),
        ("an experiment of your own", "taskct init NAME"),
    ):
        console.print(f"  {what}: {command}", markup=False)


def simulate_dataset(config: ExperimentConfig, changed_source: ChangedSource | None = None) -> None:
    """Make the experiment's dataset, mend it where it is damaged, or show the one it has."""
    stage = SimulateStage(Experiment(config), changed_source)
    stage.check()
    _simulate(stage)


def pretrain_task_network(config: ExperimentConfig) -> None:
    """Train the experiment's task network, or show the one it has."""
    stage = PretrainStage(Experiment(config))
    stage.check()
    _pretrain(stage)


def train_one(config: ExperimentConfig) -> None:
    """Train the experiment's single trial, or continue it."""
    stage = TrainStage(Experiment(config))
    stage.check()
    with progress("Training", config.trial.epochs) as advance:
        complete(stage, lambda row: advance(1, score_line(row)), lambda: _session(stage.experiment))
    for row in stage.rows:
        at = f" at alpha {row[ALPHA]:g}" if ALPHA in row else ""
        console.print(f"{row[SPLIT]}{at}: {score_line(row)}")
    console.print(f"Trial: {stage.folder}")


def run_search(config: ExperimentConfig) -> Path:
    """Run the experiment's study, or continue it, and export its results; returns the study's folder."""
    stage = SearchStage(Experiment(config))
    stage.check()
    _search(stage)
    return stage.folder


@contextmanager
def _session(experiment: Experiment) -> Iterator[None]:
    """Ray, started or joined as the experiment says; within another session, that one."""
    if session_is_open():
        yield
        return
    execution = experiment.config.execution
    started = time.monotonic()
    console.print("Starting Ray ..." if execution.address is None else "Joining Ray ...", style="dim")
    with ray_session(execution.address, start_timeout=execution.start_timeout):
        console.print(f"Ray is up after {time.monotonic() - started:.0f} s.", style="dim")
        yield


def _simulate(stage: SimulateStage) -> None:
    if stage.is_elsewhere:
        return
    plan = stage.plan
    for path, damage in plan.damages.items():
        console.print(f"Making again: {stage.folder / path} ({damage})", markup=False, soft_wrap=True)
    with progress("Simulating patients", len(plan.jobs)) as advance:

        def show(step: PatientStep) -> None:
            if step.samples is None:
                advance(0, f"{step.patient}: body measured")
            else:
                advance(1, f"{step.patient}: {step.samples} slices")

        complete(stage, show, lambda: _session(stage.experiment))
    card = stage.experiment.dataset
    counts = ", ".join(f"{split} {card.counts[split]['samples']}" for split in SPLITS)
    console.print(f"Dataset: {stage.folder}  (slices: {counts}; hash {card.data_hash[:12]})")
    console.print(card.scanner_text)
    for warning in card.warnings:
        console.print(f"Warning: {warning}", style="yellow")
    for line in plan.remarks(card):
        console.print(line, markup=False, soft_wrap=True)


def _pretrain(stage: PretrainStage) -> None:
    with progress("Pre-training the task network", stage.experiment.config.task_network.epochs) as advance:
        complete(stage, lambda row: advance(1, dice_line(row)), lambda: _session(stage.experiment))
    network = load_task_network_card(stage.folder)
    console.print(f"Task network: {stage.folder}  (full dose, validation: {dice_line(network.scores)})")


def _search(stage: SearchStage) -> None:
    study = stage.experiment.config.study
    if stage.is_done:
        console.print(f"Study: {stage.folder}  (it has ended; `taskct study status` shows how)")
        return
    step: Step = "run" if is_repeated(stage.experiment.config) else "epoch"
    with (
        _session(stage.experiment),
        study_console(stage.folder, study.objectives, step=step) as on_event,
    ):
        complete(stage, on_event, lambda: _session(stage.experiment))
    summary = stage.summary
    assert summary is not None
    if summary.timed_out:
        ended = sum(trial.status in (COMPLETE, PRUNED, FAIL) for trial in summary.trials)
        raise Unfinished(
            f"The time is up (study.timeout = {study.timeout:g} s) with {ended} of {study.trials} trials ended. "
            "The same command continues."
        )
    if summary.paused:
        numbers = " ".join(map(str, summary.paused))
        raise Unfinished(
            f"Only paused trials are left. `taskct study resume {stage.folder} {numbers}`, then the same command continues."
        )
    if summary.interrupted:  # Ray Tune ends in order after Ctrl-C; nothing may follow
        raise KeyboardInterrupt
    states = [trial.status for trial in summary.trials if trial.duplicate_of is None]
    counts = [f"{states.count(state)} {state}" for state in sorted(set(states))]
    duplicates = len(summary.trials) - len(states)
    if duplicates:
        counts.append(f"{duplicates} duplicates not run")
    console.print(f"Study: {stage.folder}  ({', '.join(counts)}; {summary.seconds:.0f} s)")
    if summary.ended_by is not None:
        console.print(f"The study has ended early: {summary.ended_by}. A larger one continues it.")
