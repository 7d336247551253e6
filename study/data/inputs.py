"""Gathers what all trials of an experiment share: feeds, geometry, task network, the slices to show."""

from __future__ import annotations

from study.data.dataset import DatasetCard
from study.data.feed import open_feeds
from study.trials.panels import choose_panel
from study.trials.trial import TrialInputs
from study.workspace import Workspace
from taskct_core.errors import DataError
from taskct_core.geometry import ParallelBeam
from taskct_core.task_networks import load_task_network


def open_inputs(card: DatasetCard, workspace: Workspace, data_path: str = "auto") -> TrialInputs:
    """Open the dataset for training. Needs a running Ray session.

    Raises:
        DataError: if the dataset has no validation samples, or there is no valid task network.
    """
    if not card.shards["validation"]:
        raise DataError(
            "a study needs validation samples: its search and its scores are made on them",
            f"none in {workspace.dataset}",
            "Give the validation split a patient (data.split) and simulate again.",
        )
    load_task_network(workspace.task_network)  # a bad one is found before anything starts
    feeds = open_feeds(card, workspace.dataset, data_path)
    return TrialInputs(
        feeds=feeds,
        geometry=ParallelBeam.from_dict(card.geometry),
        task_network=str(workspace.task_network),
        data_hash=card.data_hash,
        panel=choose_panel(feeds),
    )
