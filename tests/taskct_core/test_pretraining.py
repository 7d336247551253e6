"""Pre-training of a task network: augmentation, balance, early stopping, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from taskct_core.errors import TrainingError
from taskct_core.metrics import summarise
from taskct_core.schema import FULL_DOSE, LOSS, PRIMARY_DICE
from taskct_core.task_networks.augmentation import augment
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.pretraining import Pretraining, balanced_rows, best_epoch

Batch = dict[str, Any]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- learning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", ["liver_tumour", "liver"])
def test_learns_liver_and_tumour_of_unseen_slices(
    classes: str, network_config: TaskNetworkConfig, make_batch: Callable[..., Batch]
) -> None:
    settings = {
        "classes": classes,
        "architecture_parameters": {"width": 8},
        "epochs": 8,
        "learning_rate": 0.01,
    }
    pretraining = Pretraining(network_config.model_copy(update=settings))
    batches = [make_batch(count=8, seed=seed) for seed in range(6)]
    losses = []
    for _ in range(8):
        losses.append(pretraining.train_epoch(batches)[LOSS])
        pretraining.record(summarise(pretraining.evaluate([make_batch(count=8, seed=100)])))
    network, scores = pretraining.best()
    assert losses[-1] < 0.7 * losses[0]
    assert network.frozen
    assert scores["dice_liver_patient_nnunet"] > 0.85
    assert (scores["dice_tumour_patient_nnunet"] > 0.5) == (classes == "liver_tumour")


def test_a_seed_determines_pre_training(
    network_config: TaskNetworkConfig, make_batch: Callable[..., Batch]
) -> None:
    hashes: list[str] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(hashes))  # whatever else the process has drawn
        pretraining = Pretraining(network_config.model_copy(update={"seed": seed}))
        pretraining.train_epoch([make_batch()])
        hashes.append(pretraining.network.weights_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_best_epoch_is_kept_not_the_last(
    network_config: TaskNetworkConfig, make_batch: Callable[..., Batch]
) -> None:
    pretraining = Pretraining(network_config)
    hashes: list[str] = []
    for score in (0.2, 0.6, 0.4):
        pretraining.train_epoch([make_batch()])
        hashes.append(pretraining.network.weights_hash())
        pretraining.record({PRIMARY_DICE: score})
    network, scores = pretraining.best()
    assert network.weights_hash() == hashes[1]
    assert scores == {PRIMARY_DICE: 0.6}


def test_a_loss_that_is_not_finite_stops_it_and_says_where(
    network_config: TaskNetworkConfig, make_batch: Callable[..., Batch]
) -> None:
    batch = make_batch()
    batch[FULL_DOSE][0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"received nan at step 2 of epoch 1"):
        Pretraining(network_config).train_epoch([make_batch(), batch])


# --- early stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1], 0), ([0.1, 0.3, 0.2], 1), ([0.3, 0.3], 0), ([math.nan, 0.1], 1), ([math.nan], 0)],
)
def test_best_epoch_is_the_first_highest(scores: list[float], best: int) -> None:
    assert best_epoch(scores) == best


def test_stops_after_patience_epochs_without_a_better_score(network_config: TaskNetworkConfig) -> None:
    pretraining = Pretraining(network_config.model_copy(update={"patience": 2}))
    stops = []
    for score in (0.1, 0.5, 0.4, 0.5):
        pretraining.record({PRIMARY_DICE: score})
        stops.append(pretraining.should_stop())
    assert stops == [False, False, False, True]


# --- balance ----------------------------------------------------------------------------------------


def test_balance_raises_the_share_of_tumour_slices_to_what_is_asked() -> None:
    has_tumour = torch.tensor([False] * 9 + [True])
    rows = balanced_rows(has_tumour, 0.4, generator())
    assert len(rows) == 10
    assert has_tumour[rows].sum() == 4
    kept = rows[~has_tumour[rows]]
    assert len(kept.unique()) == len(kept) == 6  # other slices appear once or not at all


@pytest.mark.parametrize("has_tumour", [[False] * 4, [True] * 4, [True, True, False, False]])
def test_balance_leaves_alone_what_has_none_or_enough(has_tumour: list[bool]) -> None:
    assert balanced_rows(torch.tensor(has_tumour), 0.5, generator()).tolist() == [0, 1, 2, 3]


# --- augmentation -----------------------------------------------------------------------------------


def test_augmentation_moves_image_and_labels_together(make_batch: Callable[..., Batch]) -> None:
    labels = make_batch(count=8, side=64)["labels"].clamp(max=1)
    moved_image, moved_labels = augment(labels.unsqueeze(1).float(), labels, generator())
    assert not torch.equal(moved_labels, labels)
    agreement = ((moved_image[:, 0] > 0.5) == (moved_labels == 1)).float().mean()
    assert agreement > 0.99


def test_augmentation_is_mild_and_makes_no_new_labels(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch(count=8, side=64)
    image, labels = augment(batch["full_dose"], batch["labels"], generator())
    assert image.shape == batch["full_dose"].shape and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= {0, 1, 2}
    before, after = ((each >= 1).sum((1, 2)) for each in (batch["labels"], labels))
    assert ((after / before - 1).abs() < 0.35).all()
    liver = labels == 1
    assert (image[:, 0][liver].mean() - 0.26).abs() < 0.02


def test_augmentation_follows_its_generator(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch()
    one, same, other = (
        augment(batch["full_dose"], batch["labels"], generator(seed))[0] for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
