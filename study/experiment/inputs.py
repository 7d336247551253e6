"""Gathers what all trials of an experiment share: feeds, geometry, task network, the slices to show."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from study.cluster.ray_session import cluster_cpus
from study.config import ExperimentConfig, trust_of
from study.data.batches import Share
from study.data.dataset import DatasetCard
from study.data.feed import open_feeds
from study.data.folds import fold_card
from study.data.fresh_samples import FreshSamples
from study.data.split_shards import SplitShards
from study.experiment.experiment import Experiment
from study.experiment.workspace import Workspace
from study.trials.config import ExecutionConfig
from study.trials.inputs import TrialInputs
from study.trials.panels import PANEL_SLICES, SLICES_A_FOLD, choose_panel
from study.trials.repeats import Repeats
from study.trials.resources import simulation_cpus
from taskct_core import schema
from taskct_core.apply.card import ScanRecord
from taskct_core.errors import DataError, ResourceError
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.probes import Probe, make_probes
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.simulation.config import FreshDrawConfig, SimulationConfig

_PROBED_AT_ONCE = 16  # slices that are looked through for livers


def open_inputs(
    card: DatasetCard,
    workspace: Workspace,
    data_path: str = "auto",
    trust: Trust = BUILT_IN_ONLY,
    fresh: FreshSamples | None = None,
    panel_slices: int = PANEL_SLICES,
    image_quality: ImageQualityConfig | None = None,
) -> TrialInputs:
    """Open the dataset for training. Needs a running Ray session.

    Args:
        card: of the dataset.
        workspace: of the experiment.
        data_path: see ``open_feeds``.
        trust: which plug-ins the folders' files may name.
        fresh: see ``open_feeds``.
        panel_slices: how many slices reports show.
        image_quality: what is measured of every trial's images; None: nothing.

    Raises:
        DataError: if the dataset has no validation samples.
    """
    if not card.shards["validation"]:
        raise DataError(
            "a study needs validation samples: its search and its scores are made on them",
            f"none in {workspace.dataset}" + (", whose patients form folds" if card.folds else ""),
            "Set study.repeats: {folds: all} and start a study."
            if card.folds
            else "Give the validation split a patient (data.split) and simulate again.",
        )
    feeds = open_feeds(card, workspace.dataset, data_path, fresh)
    quality, geometry = image_quality or ImageQualityConfig(), card.scan(trust)
    simulation = SimulationConfig.of_dataset(card.simulation)
    probes: dict[str, list[Probe]] = {
        split: make_probes(
            partial(feeds[split].ordered, _PROBED_AT_ONCE, share=Share()), geometry, simulation, quality
        )
        for split in schema.SCORED_SPLITS
        if split in feeds and quality.backgrounds
    }
    return TrialInputs(
        feeds=feeds,
        geometry=geometry,
        task_network=str(workspace.task_network),
        data_hash=card.data_hash,
        panel=choose_panel(feeds, panel_slices),
        trust=trust,
        fresh=fresh_text(fresh.simulation.fresh_draw) if fresh is not None else "",
        scan=ScanRecord.of(card.simulation, card.dose),
        image_quality=quality,
        probes=probes,
    )


def open_repeats(experiment: Experiment) -> Repeats:
    """What the runs of a repeated trial are trained with, for each fold. Needs a running Ray session.

    Raises:
        DataError: if a fold lacks samples to train, validate or test.
    """
    config, card, folder = experiment.config, experiment.dataset, experiment.workspace.dataset
    if config.study.repeats.folds is None:
        cards: dict[int | None, DatasetCard] = {None: card}
    else:
        cards = {fold: fold_card(card, fold) for fold in range(card.fold_count)}
    folds = {
        fold: open_inputs(
            part,
            experiment.workspace,
            config.execution.data_path,
            experiment.trust,
            fresh_samples(config, part, folder),
            PANEL_SLICES if fold is None else SLICES_A_FOLD,
            config.image_quality,
        )
        for fold, part in cards.items()
    }
    return Repeats(folds, config.study.repeats.seeds)


def fresh_samples(experiment: ExperimentConfig, card: DatasetCard, folder: Path) -> FreshSamples | None:
    """How an experiment draws the train split of a dataset anew; None if it, or the dataset, does not.

    The scanner is the one that made the dataset. How its slices change is the experiment's. Needs a Ray session.

    Raises:
        ResourceError: if trials leave no CPU to simulate on, where one is asked for.
    """
    wanted = experiment.simulation
    if not (wanted.fresh and card.has_bases and card.shards["train"]):
        return None
    simulation = SimulationConfig.parse(card.simulation).model_copy(update={"fresh_draw": wanted.fresh_draw})
    tumours = None
    if wanted.fresh_draw.tumour_share:
        tumours = SplitShards.of(card, folder, "train").column(schema.TUMOUR_PIXELS) > 0
    cpus = simulation_cpus(experiment.execution, experiment.study.max_concurrent_trials, cluster_cpus())
    _require_free_cpu(experiment.execution, cpus)
    return FreshSamples(card.scan(trust_of(experiment)), simulation, cpus, tumours)


def fresh_text(draw: FreshDrawConfig) -> str:
    """How training samples are drawn anew, for messages of what has changed."""
    return ", ".join(f"{name} {value}" for name, value in draw.model_dump(mode="json").items())


def _require_free_cpu(execution: ExecutionConfig, simulating: int) -> None:
    training = execution.workers_per_trial * execution.cpus_per_worker
    if simulating and not execution.autoscaling and training + 1 > cluster_cpus():
        raise ResourceError(
            "fresh samples are simulated on CPUs that no trial takes",
            f"execution.simulation_cpus = {simulating}; a trial takes {training:g} of {cluster_cpus():g} CPUs",
            "Set it to 0, so that each training process simulates its own, or give Ray more.",
        )
