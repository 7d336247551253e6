"""The stages of an experiment as the command line runs them: each reads what the one before it wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from study.cluster.ray_session import ray_session, session_is_open
from study.config import ExperimentConfig, recorded, trust_of
from study.data.dataset import DatasetCard, load_card, verify_shards
from study.data.simulation_plan import ChangedSource
from study.monitor.progress import console, progress
from study.monitor.score_line import score_line
from study.search.lock import study_lock
from study.study_actions import write_study_report
from study.workspace import Workspace
from taskct_core.contracts.files import check_writable
from taskct_core.contracts.folders import DatasetFolder, StudyFolder, TaskNetworkFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.schema import (
    COMPLETE,
    FAIL,
    METHOD,
    PRUNED,
    REFERENCE_SETTINGS,
    SPLIT,
    SPLITS,
)


@contextmanager
def session(experiment: ExperimentConfig) -> Iterator[None]:
    """Ray, started or joined as the experiment says; within another session, that one."""
    if session_is_open():
        yield
        return
    started = time.monotonic()
    with ray_session(experiment.execution.address):
        console.print(f"Ray is up after {time.monotonic() - started:.0f} s.", style="dim")
        yield


@contextmanager
def _making(folder: Path, what: str, is_done: bool, experiment: ExperimentConfig) -> Iterator[None]:
    """Ray for a stage and the lock of its folder, unless the stage has nothing left to do.

    Raises:
        StudyError: if another process is making what is in the folder.
    """
    if is_done:
        yield
        return
    with study_lock(folder, what), session(experiment):
        yield


def run_all(experiment: ExperimentConfig) -> None:
    """Run every stage of the experiment that is not done yet, and write the report."""
    from study.data.simulation_plan import plan_simulation
    from study.preflight import check_space
    from study.search.storage.opening import check_storage

    workspace = _workspace(experiment)
    # What can be refused at once is refused before anything starts.
    if experiment.dataset is None:
        plan_simulation(experiment, workspace.dataset)
    check_space(experiment)
    check_storage(workspace.study, experiment.study.storage)
    # Finished stages need no Ray; the others share one session.
    with nullcontext() if _study_is_done(experiment, workspace) else session(experiment):
        simulate_dataset(experiment)
        pretrain_task_network(experiment)
        run_search(experiment)
    write_study_report(workspace.study)


def _study_is_done(experiment: ExperimentConfig, workspace: Workspace) -> bool:
    """Whether the study has all its trials, of just this experiment, dataset and task network."""
    from study.search.storage.opening import open_study
    from study.search.storage.records import planned_count, read_records

    study = StudyFolder(workspace.study)
    cards = (
        study.card,
        DatasetFolder(workspace.dataset).card,
        TaskNetworkFolder(workspace.task_network).card,
    )
    if not all(file.is_file() for file in cards):
        return False
    known = StudyCard.read(study.card)
    same = (
        known.config == recorded(experiment)
        and known.dataset.get("data_hash") == load_card(workspace.dataset).data_hash
        and known.task_network.get("content_hash") == _network_hash(workspace)
    )
    if not same:
        return False
    records = read_records(open_study(workspace.study))
    ended = [record for record in records if record.status in (COMPLETE, PRUNED, FAIL)]
    return len(ended) == len(records) and planned_count(records) >= experiment.study.trials


def _network_hash(workspace: Workspace) -> str:
    from taskct_core.task_networks import load_task_network_card

    return load_task_network_card(workspace.task_network).content_hash


def simulate_dataset(
    experiment: ExperimentConfig, changed_source: ChangedSource | None = None
) -> DatasetCard:
    """Make the experiment's dataset, mend it where it is damaged, or show the one it has."""
    from study.data.simulate import carry_out
    from study.data.simulation_plan import plan_simulation

    workspace = _workspace(experiment)
    if experiment.dataset is not None:
        return load_card(workspace.dataset)
    plan = plan_simulation(experiment, workspace.dataset, changed_source)
    for path, damage in plan.damages.items():
        console.print(f"Making again: {workspace.dataset / path} ({damage})", markup=False, soft_wrap=True)
    with (
        _making(workspace.dataset, "dataset", plan.is_done, experiment),
        progress("Simulating patients", len(plan.jobs)) as advance,
    ):
        card = carry_out(
            plan,
            lambda patient, samples: advance(1, f"{patient}: {samples} slices"),
            lambda patient: advance(0, f"{patient}: body measured"),
        )
    counts = ", ".join(f"{split} {card.counts[split]['samples']}" for split in SPLITS)
    console.print(f"Dataset: {workspace.dataset}  (slices: {counts}; hash {card.data_hash[:12]})")
    console.print(card.scanner_text)
    for warning in card.warnings:
        console.print(f"Warning: {warning}", style="yellow")
    for line in plan.remarks(card):
        console.print(line, markup=False, soft_wrap=True)
    return card


def pretrain_task_network(experiment: ExperimentConfig) -> None:
    """Train the experiment's task network, or show the one it has."""
    from study.pretrain import pretrain
    from taskct_core.task_networks import load_task_network_card

    workspace = _workspace(experiment)
    if experiment.pretrained is None:
        card = _checked_dataset(workspace)
        title = "Pre-training the task network"
        is_done = TaskNetworkFolder(workspace.task_network).card.is_file()
        with (
            _making(workspace.task_network, "task network", is_done, experiment),
            progress(title, experiment.task_network.epochs) as advance,
        ):
            pretrain(experiment, card, workspace, lambda row: advance(1, score_line(row)))
    network = load_task_network_card(workspace.task_network)
    console.print(
        f"Task network: {workspace.task_network}  (full dose, validation: {score_line(network.scores)})"
    )


def train_one(experiment: ExperimentConfig) -> None:
    """Train the experiment's single trial, or continue it."""
    from study.data.inputs import fresh_samples, open_inputs
    from study.trials.executors import TrialTask, check_execution
    from study.trials.single import train_trial

    workspace = _workspace(experiment)
    check_execution(experiment.execution)
    card = _checked_dataset(workspace)
    _check_task_network(experiment, workspace, card)  # a bad one is found before Ray is started
    task = TrialTask(experiment.trial, workspace.trial, 0)
    with (
        _making(workspace.trial, "trial", False, experiment),
        progress("Training", experiment.trial.epochs) as advance,
    ):
        fresh = fresh_samples(experiment, card, workspace.dataset)
        inputs = open_inputs(card, workspace, experiment.execution.data_path, trust_of(experiment), fresh)
        rows = train_trial(task, inputs, experiment.execution, lambda row: advance(1, score_line(row)))
    for row in rows:
        console.print(f"{row[SPLIT]}: {score_line(row)}")
    console.print(f"Trial: {workspace.trial}")


def run_search(experiment: ExperimentConfig) -> None:
    """Run the experiment's study, or continue it, and export its results."""
    from study.preflight import check_space
    from study.search.storage.opening import check_storage

    workspace = _workspace(experiment)
    card = _checked_dataset(workspace)
    _check_task_network(experiment, workspace, card)
    check_space(experiment)
    check_storage(workspace.study, experiment.study.storage)
    if _study_is_done(experiment, workspace):
        console.print(f"Study: {workspace.study}  (all {experiment.study.trials} trials have ended)")
        return
    with session(experiment):
        # These import Ray, which must not happen before the session has set Ray's environment.
        from study.experiment_study import run_experiment_study
        from study.monitor.console import study_console

        with study_console(workspace.study, experiment.study.objectives) as on_event:
            summary = run_experiment_study(experiment, card, workspace, on_event, _print_reference)
    states = [trial.status for trial in summary.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    console.print(f"Study: {workspace.study}  ({counts}; {summary.seconds:.0f} s)")


def submit_experiment(
    config: Path, overrides: list[str], address: str, working_dir: Path | None, wait: bool
) -> None:
    """Run an experiment as a job of a Ray cluster, and show its output."""
    from study.cluster.submit import follow, submit

    client, job = submit(config, overrides, address, working_dir)
    console.print(f"Job {job} at {address}  (stop it with `ray job stop {job}`)")
    if wait:
        follow(client, job, lambda text: console.print(text, end="", markup=False))
        console.print(f"Job {job} has ended well.")


def _print_reference(row: Mapping[str, Any]) -> None:
    settings = f"; tuned: {row[REFERENCE_SETTINGS]}" if row[REFERENCE_SETTINGS] else ""
    console.print(f"reference {row[METHOD]}, {row[SPLIT]}: {score_line(row)}{settings}", soft_wrap=True)


def study_folder(experiment: ExperimentConfig) -> Path:
    """Where the experiment's study lives."""
    return Workspace.of(experiment).study


def _workspace(experiment: ExperimentConfig) -> Workspace:
    workspace = Workspace.of(experiment)
    check_writable(workspace.root)
    return workspace


def _checked_dataset(workspace: Workspace) -> DatasetCard:
    card = load_card(workspace.dataset)
    verify_shards(workspace.dataset, card)
    return card


def _check_task_network(experiment: ExperimentConfig, workspace: Workspace, card: DatasetCard) -> None:
    """Refuse a broken task network, and one that was trained on patients of whom the dataset gives scores."""
    from study.data.leakage import check_no_leakage
    from taskct_core.task_networks import load_task_network

    _, network = load_task_network(workspace.task_network, trust_of(experiment))
    check_no_leakage(card.patients, network.patients, "the task network")
