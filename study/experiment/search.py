"""An experiment's study: its trials trained on its dataset, searched, and exported as tables."""

from __future__ import annotations

import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from study.config import ExperimentConfig, recorded
from study.experiment.experiment import Experiment
from study.experiment.inputs import fresh_text, open_repeats
from study.experiment.preflight import check_before_study
from study.experiment.reference_networks import located
from study.experiment.stage import Stage
from study.provenance import config_hash, static_provenance
from study.results import export_results
from study.run import Executor, StudyPlan, StudySummary, load_study, run_study
from study.scoring.reconstructors import publish_recommended
from study.scoring.references import missing_references
from study.scoring.references_beside import ReferencesBeside
from study.search.events import Event, OnEvent, StudyOpened, TrialFinished, TrialsEnded, TrialStarted, ignore
from study.search.stack import StackExecutor
from study.search.storage.opening import check_storage
from study.search.storage.records import SPENT, WAITING, planned_count, read_records
from study.search.tune import TuneExecutor
from study.trials.executors import (
    Trainable,
    check_execution,
    make_own_trainable,
    make_repeated_trainable,
    make_trainable,
)
from study.trials.plugins import metric_directions
from study.trials.repeats import Repeats, with_shared
from study.trials.resources import gpus_per_trial, tune_resources, worker_resources
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import COMPLETE, FAIL, PRUNED, RUNNING

# Exporting reads every trial's log: with many trials, not after each of them, and it takes a small part of the time.
_SECONDS_BETWEEN_EXPORTS = 15.0
_MOST_OF_THE_TIME = 0.03


class SearchStage(Stage[Event]):
    """Starts, continues or extends the study."""

    makes = "study"

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.summary: StudySummary | None = None  # once ``make`` has run

    @property
    def folder(self) -> Path:
        return self.experiment.workspace.study

    def check(self) -> None:
        check_execution(self.experiment.config.execution)
        if self.experiment.config.execution.stack > 1 and self.experiment.config.study.trainable is not None:
            raise ConfigError(
                "trials of an own trainable are not stacked",
                f"execution.stack = {self.experiment.config.execution.stack} with study.trainable",
                "Set execution.stack to 1.",
            )
        _ = self.experiment.space
        check_storage(self.folder, self.experiment.config.study.storage)

    def find_done(self) -> bool:
        """Whether the study has all its trials and references, of just this experiment, dataset and task network."""
        network, config = self.experiment.task_network, self.experiment.config
        card = StudyFolder(self.folder).card
        if not card.is_file():
            return False
        try:
            known = StudyCard.read(card)
        except DataError:  # it is written anew when the study is opened
            return False
        same = (
            known.config == recorded(config)
            and known.dataset.get("data_hash") == self.experiment.dataset.data_hash
            and known.task_network.get("content_hash") == network.content_hash
        )
        if not same:
            return False
        study = load_study(self.folder)
        records = read_records(study)
        ended = [record for record in records if record.status in (COMPLETE, PRUNED, FAIL)]
        has_trials = len(ended) == len(records) and planned_count(records) >= config.study.trials
        if study.user_attrs.get(SPENT, {}).get("ended_by") is not None:
            has_trials = all(record.status != RUNNING for record in records)
        has_sinograms = bool(self.experiment.dataset.simulation.get("store_sinogram"))
        return has_trials and not missing_references(
            self.folder, has_sinograms, located(config.study.references)
        )

    def make(self, on_step: OnEvent) -> None:
        self.summary = run_experiment_study(self.experiment, on_step)

    def lock(self) -> AbstractContextManager[object]:
        return nullcontext()  # run_study holds the study's own


def run_experiment_study(experiment: Experiment, on_event: OnEvent = ignore) -> StudySummary:
    """Start, continue or extend the experiment's study. Needs a running Ray session.

    The references are scored beside the trials, from the first one on; the study ends when both have.

    Args:
        experiment: whose study it is.
        on_event: called with every :mod:`study.search.events` event; those of the references come from a thread.

    Raises:
        ConfigError, DataError: if the experiment's parts are not valid.
        StudyError: if the folder's study was begun with other settings, or another driver runs it.
    """
    config, workspace = experiment.config, experiment.workspace
    repeats = with_shared(
        open_repeats(experiment),
        tuple(config.study.objectives),
        experiment.audit,
        experiment.further_judges,
        located(config.study.references),
    )
    inputs = repeats.shared
    check_before_study(config, workspace.study, inputs, experiment.space)
    exporter = _Exporter(config, workspace.study)
    network_hash = experiment.task_network.content_hash
    plan = StudyPlan(
        config.study,
        StudyFolder(workspace.study),
        fingerprint=study_fingerprint(config, inputs.data_hash, network_hash, experiment.dataset.has_bases),
        epochs=config.trial.epochs,
        runs=len(repeats.runs) if is_repeated(config) else None,
        directions=metric_directions(config.study.objectives),
        gpus=_gpus(config),
    )
    executor = _executor(config, repeats)

    references = _References(ReferencesBeside(workspace.study, repeats, on_event), config.study.timeout)

    def listen(event: Event) -> None:
        if isinstance(event, StudyOpened):
            _write_card(experiment)
        references(event)
        exporter(event)
        on_event(event)

    summary = run_study(plan, executor, listen)
    exporter.export()
    publish_recommended(StudyFolder(workspace.study))
    return summary if references.are_whole else replace(summary, interrupted=True, timed_out=True)


class _References:
    """Follows a study's events: the references are scored beside its trials.

    Args:
        beside: scores them.
        timeout: seconds after which they are left to the next driver; None: they are waited for.

    Attributes:
        are_whole: whether nothing of them was left because the time was up.
    """

    def __init__(self, beside: ReferencesBeside, timeout: float | None) -> None:
        self._beside = beside
        self._until = None if timeout is None else time.monotonic() + timeout
        self.are_whole = True

    def __call__(self, event: Event) -> None:
        match event:
            case TrialStarted():
                self._beside.begin()
            case TrialsEnded(is_finished=is_finished):
                try:
                    if is_finished:
                        self.are_whole = self._beside.finish(self._until)
                finally:
                    self._beside.stop()


def _executor(config: ExperimentConfig, repeats: Repeats) -> Executor:
    if config.execution.stack > 1:
        return StackExecutor(config.trial, repeats.shared, config.execution)
    return TuneExecutor(
        _trainable(config, repeats), _resources(config), max_concurrent=config.study.max_concurrent_trials
    )


def is_repeated(experiment: ExperimentConfig) -> bool:
    """Whether a configuration is run more than once."""
    repeats = experiment.study.repeats
    return repeats.folds is not None or repeats.seeds > 1


def _trainable(experiment: ExperimentConfig, repeats: Repeats) -> Trainable:
    own = experiment.study.trainable
    if own is not None:
        return make_own_trainable(own, experiment.trial, repeats.shared)
    if is_repeated(experiment):
        return make_repeated_trainable(experiment.trial, repeats, experiment.execution)
    return make_trainable(experiment.trial, repeats.shared, experiment.execution)


def _resources(experiment: ExperimentConfig) -> dict[str, float]:
    """Of one trial; a trainable of the user's own runs in one process, as an actor does."""
    if experiment.study.trainable is not None:
        return worker_resources(experiment.execution)
    return tune_resources(experiment.execution)


def _gpus(experiment: ExperimentConfig) -> float:
    """That one trial holds; a trainable of the user's own runs in one process."""
    execution = experiment.execution
    if experiment.study.trainable is not None:
        execution = execution.model_copy(update={"workers_per_trial": 1})
    return gpus_per_trial(execution)


def _write_card(experiment: Experiment) -> None:
    """Write study.json, which the study's reader needs besides its trials."""
    config, workspace = experiment.config, experiment.workspace
    directions = metric_directions(config.study.objectives)
    known = StudyCard(
        name=config.name,
        objectives=config.study.objectives,
        directions={name: directions[name] for name in config.study.objectives},
        config=recorded(config),
        dataset=experiment.dataset.model_dump(mode="json", exclude={"shards"}),
        task_network=experiment.task_network.model_dump(mode="json"),
        folders={"dataset": str(workspace.dataset), "task_network": str(workspace.task_network)},
        provenance=static_provenance(),
    )
    known.write(StudyFolder(workspace.study).card)


def study_fingerprint(
    experiment: ExperimentConfig,
    data_hash: str,
    network_hash: str,
    has_bases: bool = False,
) -> dict[str, str]:
    """What must stay the same while the study lives, beside what the search itself watches.

    Args:
        experiment: whose study it is.
        data_hash: of its dataset.
        network_hash: of its task network.
        has_bases: whether the dataset holds what fresh samples are drawn from; those made before do not.
    """
    fresh, quality = experiment.simulation.fresh and has_bases, experiment.image_quality
    return {
        "data": data_hash,
        "task network": network_hash,
        "trial settings": config_hash(experiment.trial.fingerprint()),
        **({"fresh samples": fresh_text(experiment.simulation.fresh_draw)} if fresh else {}),
        "metric policy": schema.POLICY_TEXT,
        **({"audit": experiment.audit} if experiment.audit else {}),
        **({"further judges": ", ".join(experiment.further_judges)} if experiment.further_judges else {}),
        **({"repeats": experiment.study.repeats.model_dump_json()} if is_repeated(experiment) else {}),
        **({"image quality": quality.model_dump_json()} if quality.backgrounds else {}),
        **({"trainable": experiment.study.trainable} if experiment.study.trainable else {}),
    }


class _Exporter:
    """Keeps the study's tables fresh while it runs."""

    def __init__(self, experiment: ExperimentConfig, folder: Path) -> None:
        self._name = experiment.name
        self._folder = folder
        self._next = 0.0  # when the tables are made again, at the earliest
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialFinished) and time.monotonic() > self._next:
            self.export()

    def export(self) -> None:
        began = time.monotonic()
        records = read_records(load_study(self._folder))
        begun = [record for record in records if record.status != WAITING]
        export_results(self._folder, self._name, begun, self._tell)
        took = time.monotonic() - began
        self._next = time.monotonic() + max(_SECONDS_BETWEEN_EXPORTS, took / _MOST_OF_THE_TIME)

    def _tell(self, error: DataError) -> None:
        if error.received not in self._told:
            self._told.add(error.received)
            warnings.warn(str(error), stacklevel=2)
