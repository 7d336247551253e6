"""Pre-training of a task network on full-dose slices: the steps of an epoch, and when to stop.

The loop over data lives in ``study``::

    pretraining = Pretraining(config, device)
    for epoch in range(config.epochs):
        losses = pretraining.train_epoch(training_batches)
        scores = summarise(pretraining.evaluate(validation_batches))
        pretraining.record(scores)
        if pretraining.should_stop():
            break
    network, scores = pretraining.best()
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterable, Sequence

import torch

from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.errors import TrainingError
from taskct_core.losses.task import weighted_dice_cross_entropy
from taskct_core.metrics.slices import evaluate_images
from taskct_core.schema import FULL_DOSE, LABELS, LOSS, PRIMARY_DICE, TUMOUR, UNLABELLED
from taskct_core.task_networks.augmentation import augment
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.transfer import on_device, placed


class Pretraining:
    """A task network in pre-training. Its validation score is ``schema.PRIMARY_DICE``.

    Tumours are rare and small, and a network trained without care never learns them: batches are balanced
    (``config.tumour_share``), classes weighted (``config.class_weights``), and the Dice is taken over the
    whole batch.
    """

    def __init__(self, config: TaskNetworkConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self.network = TaskNetwork.from_config(config).to(self.device)
        self.loss = weighted_dice_cross_entropy(config.class_weights[: self.network.num_classes]).to(
            self.device
        )
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=config.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, config.epochs)
        self.scores: list[float] = []
        self._generator = torch.Generator().manual_seed(config.seed)
        self._best: tuple[TaskNetwork, dict[str, float]] | None = None

    def train_epoch(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Train one epoch; returns the mean ``loss`` and the number of ``samples``.

        Raises:
            TrainingError: if the loss is not finite.
        """
        self.network.train()
        losses, samples = [], []
        labelled = filter(_has_samples, map(_labelled, batches))
        for host, batch in placed(labelled, self.device):
            has_tumour = (host[LABELS] == TUMOUR).any(dim=2).any(dim=1)
            losses.append(self._step(batch, has_tumour))
            samples.append(len(has_tumour))
        self.schedule.step()
        total = sum(map(operator.mul, self._read(losses), samples))
        return {LOSS: total / max(sum(samples), 1), "samples": sum(samples)}

    def _read(self, losses: Sequence[torch.Tensor]) -> list[float]:
        """The losses of an epoch's steps, read from the device at once."""
        values: list[float] = torch.stack(list(losses)).tolist() if losses else []
        for step, loss in enumerate(values, start=1):
            if not math.isfinite(loss):
                raise TrainingError(
                    "the task network's loss must stay finite",
                    f"{loss} at step {step} of epoch {len(self.scores) + 1}",
                    "Lower task_network.learning_rate.",
                )
        return values

    def _step(self, batch: Batch, has_tumour: torch.Tensor) -> torch.Tensor:
        rows = balanced_rows(has_tumour, self.config.tumour_share, self._generator)
        rows = on_device(rows, self.device)
        images, labels = (batch[name].index_select(0, rows) for name in (FULL_DOSE, LABELS))
        if self.config.augmentation:
            images, labels = augment(images, labels, self._generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss: torch.Tensor = self.loss(self.network(images), self.network.targets(labels))
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def evaluate(self, batches: Iterable[Batch]) -> list[SliceRow]:
        """Single-slice rows of the network on full-dose images; see ``metrics.slices.evaluate``."""
        return evaluate_images(self.network, batches, FULL_DOSE, self.device)

    def record(self, scores: dict[str, float]) -> None:
        """End an epoch with its validation scores; the network is kept if its Dice is the best so far."""
        score = scores[PRIMARY_DICE]
        self.scores.append(score)
        if best_epoch(self.scores) == len(self.scores) - 1:
            self._best = copy.deepcopy(self.network), scores

    def should_stop(self) -> bool:
        """Whether ``config.patience`` epochs have passed without a better score."""
        return len(self.scores) - 1 - best_epoch(self.scores) >= self.config.patience

    def best(self) -> tuple[TaskNetwork, dict[str, float]]:
        """The best network so far, frozen, and its validation scores."""
        assert self._best is not None, "record() comes first"
        network, scores = self._best
        return network.freeze(), scores


def _labelled(batch: Batch) -> Batch:
    """The images and labels of a batch's slices that somebody labelled."""
    rows = batch[LABELS][:, 0, 0] != UNLABELLED  # a slice has all of its labels or none
    return {FULL_DOSE: batch[FULL_DOSE][rows], LABELS: batch[LABELS][rows]}


def _has_samples(batch: Batch) -> bool:
    return len(batch[LABELS]) > 0


def best_epoch(scores: Sequence[float]) -> int:
    """Index of the first highest score; NaN counts as lowest."""
    ranked = [-math.inf if math.isnan(score) else score for score in scores]
    return ranked.index(max(ranked))


def balanced_rows(has_tumour: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Rows of a batch such that at least ``share`` of them have a tumour, if any has.

    Slices without a tumour, drawn at random, give way to copies of slices with one.

    Args:
        has_tumour: bool ``(B,)``.

    Returns:
        Row indices, int64 ``(B,)``.
    """
    rows = torch.arange(len(has_tumour))
    with_tumour, without = rows[has_tumour], rows[~has_tumour]
    missing = min(math.ceil(share * len(rows)) - len(with_tumour), len(without))
    if len(with_tumour) == 0 or missing <= 0:
        return rows
    copies = with_tumour[torch.randint(len(with_tumour), (missing,), generator=generator)]
    replaced = without[torch.randperm(len(without), generator=generator)[:missing]]
    rows[replaced] = copies
    return rows
