"""An experiment's study: its trials trained on its dataset, searched, and exported as tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from study.config import ExperimentConfig, recorded, trust_of
from study.data.dataset import DatasetCard
from study.data.inputs import fresh_samples, open_inputs
from study.monitor.events import Event, OnEvent, StudyOpened, TrialFinished, ignore
from study.preflight import check_before_study
from study.provenance import config_hash, static_provenance
from study.results import export_results
from study.run import StudyPlan, StudySummary, load_study, run_study
from study.scoring.references import write_references
from study.search.storage.records import WAITING, read_records
from study.search.tune import TuneExecutor
from study.trials.executors import (
    Trainable,
    check_execution,
    make_own_trainable,
    make_trainable,
    tune_resources,
    worker_resources,
)
from study.trials.plugins import metric_directions
from study.trials.trial import TrialInputs
from study.workspace import Workspace
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.contracts.study_card import StudyCard
from taskct_core.task_networks import load_task_network_card

OnReference = Callable[[EpochRow], None]

# Exporting reads every trial's log: with many trials, not after each of them.
_SECONDS_BETWEEN_EXPORTS = 15.0


def run_experiment_study(
    experiment: ExperimentConfig,
    card: DatasetCard,
    workspace: Workspace,
    on_event: OnEvent = ignore,
    on_reference: OnReference = lambda row: None,
) -> StudySummary:
    """Start, continue or extend the experiment's study. Needs a running Ray session.

    Args:
        experiment: whose study it is.
        card: of its dataset.
        workspace: its folders.
        on_event: called with every :mod:`study.monitor.events` event.
        on_reference: called with the scores of every reference, which are made before the first trial.

    Raises:
        ConfigError, DataError: if the experiment's parts are not valid.
        StudyError: if the folder's study was begun with other settings, or another driver runs it.
    """
    check_execution(experiment.execution)
    directions = metric_directions(experiment.study.objectives)
    fresh = fresh_samples(experiment, card, workspace.dataset)
    inputs = open_inputs(card, workspace, experiment.execution.data_path, trust_of(experiment), fresh)
    inputs = replace(inputs, objectives=tuple(experiment.study.objectives))
    check_before_study(experiment, workspace.study, inputs)
    network = load_task_network_card(open_folder(inputs.task_network))
    exporter = _Exporter(experiment, workspace.study)
    plan = StudyPlan(
        experiment.study,
        workspace.study,
        fingerprint=study_fingerprint(experiment, inputs.data_hash, network.content_hash),
        epochs=experiment.trial.epochs,
        directions=directions,
    )
    executor = TuneExecutor(
        _trainable(experiment, inputs),
        _resources(experiment),
        max_concurrent=experiment.study.max_concurrent_trials,
        reports_wait=experiment.study.trainable is not None or experiment.execution.executor == "actor",
    )

    def listen(event: Event) -> None:
        if isinstance(event, StudyOpened):
            _prepare(experiment, card, workspace, inputs, on_reference)
        exporter(event)
        on_event(event)

    summary = run_study(plan, executor, listen)
    exporter.export()
    return summary


def _trainable(experiment: ExperimentConfig, inputs: TrialInputs) -> Trainable:
    own = experiment.study.trainable
    if own is not None:
        return make_own_trainable(own, experiment.trial, inputs)
    return make_trainable(experiment.trial, inputs, experiment.execution)


def _resources(experiment: ExperimentConfig) -> dict[str, float]:
    """Of one trial; a trainable of the user's own runs in one process, as an actor does."""
    if experiment.study.trainable is not None:
        return worker_resources(experiment.execution)
    return tune_resources(experiment.execution)


def _prepare(
    experiment: ExperimentConfig,
    card: DatasetCard,
    workspace: Workspace,
    inputs: TrialInputs,
    on_reference: OnReference,
) -> None:
    """Write what the study's reader needs besides its trials: study.json and the references."""
    dataset = card.model_dump(mode="json", exclude={"shards"})
    all_directions = metric_directions(experiment.study.objectives)
    network = load_task_network_card(workspace.task_network).model_dump(mode="json")
    known = StudyCard(
        name=experiment.name,
        objectives=experiment.study.objectives,
        directions={name: all_directions[name] for name in experiment.study.objectives},
        config=recorded(experiment),
        dataset=dataset,
        task_network=network,
        folders={"dataset": str(workspace.dataset), "task_network": str(workspace.task_network)},
        provenance=static_provenance(),
    )
    known.write(StudyFolder(workspace.study).card)
    write_references(workspace.study, inputs, on_reference)


def study_fingerprint(experiment: ExperimentConfig, data_hash: str, network_hash: str) -> dict[str, str]:
    """What must stay the same while the study lives, beside what the search itself watches."""
    return {
        "data": data_hash,
        "task network": network_hash,
        "trial settings": config_hash(experiment.trial.model_dump(mode="json")),
        "metric policy": schema.POLICY_TEXT,
        **({"trainable": experiment.study.trainable} if experiment.study.trainable else {}),
    }


class _Exporter:
    """Keeps the study's tables fresh while it runs."""

    def __init__(self, experiment: ExperimentConfig, folder: Path) -> None:
        self._name = experiment.name
        self._folder = folder
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialFinished) and time.monotonic() - self._last > _SECONDS_BETWEEN_EXPORTS:
            self.export()

    def export(self) -> None:
        records = read_records(load_study(self._folder))
        export_results(self._folder, self._name, [record for record in records if record.status != WAITING])
        self._last = time.monotonic()
