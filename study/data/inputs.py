"""Gathers what all trials of an experiment share: feeds, geometry, task network, the slices to show."""

from __future__ import annotations

from study.data.dataset import DatasetCard
from study.data.feed import open_feeds
from study.trials.panels import choose_panel
from study.trials.trial import TrialInputs
from study.workspace import Workspace
from taskct_core.errors import DataError
from taskct_core.geometry import ParallelBeam
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.task_networks import load_task_network


def open_inputs(
    card: DatasetCard, workspace: Workspace, data_path: str = "auto", trust: Trust = BUILT_IN_ONLY
) -> TrialInputs:
    """Open the dataset for training. Needs a running Ray session.

    Args:
        card: of the dataset.
        workspace: of the experiment.
        data_path: see ``open_feeds``.
        trust: which plug-ins the folders' files may name.

    Raises:
        ConfigError: if the task network is a plug-in that is not trusted.
        DataError: if the dataset has no validation samples, or there is no valid task network.
    """
    if not card.shards["validation"]:
        raise DataError(
            "a study needs validation samples: its search and its scores are made on them",
            f"none in {workspace.dataset}",
            "Give the validation split a patient (data.split) and simulate again.",
        )
    load_task_network(workspace.task_network, trust)  # a bad one is found before anything starts
    feeds = open_feeds(card, workspace.dataset, data_path)
    return TrialInputs(
        feeds=feeds,
        geometry=ParallelBeam.from_dict(card.geometry),
        task_network=str(workspace.task_network),
        data_hash=card.data_hash,
        panel=choose_panel(feeds),
        trust=trust,
    )
