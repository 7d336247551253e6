"""What a trial of mode ``front`` does, whatever the way it is trained in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import nn

from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.errors import DataError
from taskct_core.schema import LOSS_IMAGE, LOSS_TASK
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.front.path import Candidate, FrontPath
from taskct_core.training.trial import Training
from taskct_core.training.trial_networks import Wrap

Weights = dict[str, torch.Tensor]  # a state_dict of the plain architecture
Scores = dict[str, float]


class FrontTraining(ABC):
    """A trial that answers for every alpha in [0, 1]. Trained and scored as a :class:`Training` is, but for ``show``.

    Args:
        config: of mode ``front``.
        plain: the reconstructor, freshly built, on ``device``.
        task_network: frozen.
        device: that it is trained on.
        wrap: makes a module that learns distributed.

    Attributes:
        epoch: epochs trained so far.
        path: which network answers for an alpha; None before ``settle``.
        shown_rows: of the validation slices, by the network of the trial's own alpha; empty before ``settle``.
    """

    def __init__(
        self,
        config: TrialConfig,
        plain: nn.Module,
        task_network: TaskNetwork,
        device: torch.device,
        wrap: Wrap,
    ) -> None:
        self.config = config
        self.device = device
        self.frozen_task_network = task_network
        self.epoch = 0
        self.path: FrontPath | None = None
        self.shown_rows: list[SliceRow] = []
        self._plain = plain
        self._wrap = wrap

    @property
    @abstractmethod
    def training(self) -> Training:
        """What learns just now."""

    @property
    @abstractmethod
    def epoch_alphas(self) -> tuple[float, ...]:
        """The alphas that are scored after this epoch; the first is the one that its row tells of."""

    @abstractmethod
    def keep(self, rows: Mapping[float, Sequence[SliceRow]], scores: Scores) -> dict[str, float]:
        """Keep this epoch's weights if validation prefers them; see ``Training.keep``.

        Args:
            rows: of the validation slices, for each of ``epoch_alphas``.
            scores: metrics of the first.
        """

    @abstractmethod
    def use_kept(self) -> None:
        """Take the weights that validation preferred, once all epochs are trained."""

    @abstractmethod
    def weights_at(self, position: float) -> Weights:
        """The plain architecture's weights, parameters and buffers, at a position in [0, 1] of what is kept."""

    @abstractmethod
    def show(self, position: float) -> None:
        """Let ``reconstruct`` and ``evaluate`` be those of a position from now on."""

    @abstractmethod
    def show_while_training(self, alpha: float) -> None:
        """Let ``reconstruct`` and ``evaluate`` be those of one of ``epoch_alphas``, by the weights as they are now."""

    def positions(self) -> list[float]:
        """Where candidates are looked at, from 0 to 1."""
        return [float(position) for position in np.linspace(0, 1, self.config.front_positions)]

    def train_epoch(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Train one epoch; see ``Training.train_epoch``."""
        self.epoch += 1
        return self.training.train_epoch(batches)

    def reconstruct(self, batch: Batch) -> torch.Tensor:
        """Images ``(B, 1, H, W)`` of a batch, by the network that is shown."""
        return self.training.reconstruct(batch)

    def evaluate(self, batches: Iterable[Batch], audit: TaskNetwork | None = None) -> list[SliceRow]:
        """Score every slice with the network that is shown; see ``Training.evaluate``."""
        return self.training.evaluate(batches, audit)

    def settle(
        self,
        measure: Callable[[], list[SliceRow]],
        summarise: Callable[[Sequence[SliceRow]], Scores],
    ) -> None:
        """Choose the network of each alpha, once all epochs are trained.

        Args:
            measure: scores the whole validation split with the network that is shown.
            summarise: rows of slices -> metrics by column.
        """
        self.use_kept()
        rows: dict[float, list[SliceRow]] = {}
        candidates = []
        for position in self.positions():
            self.show(position)
            rows[position] = measure()
            losses = mean_losses(rows[position])
            candidates.append(Candidate(position, *losses, summarise(rows[position])))
        self.path = FrontPath(candidates)
        self.shown_rows = rows[self.at(self.config.alpha).position]
        self.show_alpha(self.config.alpha)

    def at(self, alpha: float) -> Candidate:
        """What answers for ``alpha``.

        Raises:
            DataError: before ``settle``: the trial has epochs left to train.
        """
        if self.path is None:
            raise DataError(
                "a trial of mode front answers for an alpha once all of its epochs are trained",
                f"{self.epoch} of {self.config.epochs} epochs",
                "Let it finish: the same command continues it.",
            )
        return self.path.at(alpha)

    @property
    def path_candidates(self) -> list[Candidate]:
        """What validation chose from; empty before ``settle``."""
        return [] if self.path is None else self.path.candidates

    def show_alpha(self, alpha: float) -> None:
        """Let ``reconstruct`` and ``evaluate`` be those of an alpha; see ``at``."""
        self.show(self.at(alpha).position)

    def reconstructor_at(self, alpha: float) -> nn.Module:
        """The network of an alpha as a plain module of the architecture, in eval mode; see ``at``."""
        module = deepcopy(self._plain)
        module.load_state_dict(self.weights_at(self.at(alpha).position))
        return module.eval()

    @property
    def parameter_count(self) -> int:
        """How many numbers learn at a time."""
        return self.training.parameter_count

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on; plain values and tensors."""
        return {
            "epoch": self.epoch,
            "training": self.training.state_dict(),
            "path": None if self.path is None else self.path.state(),
            "shown_rows": self.shown_rows,
            "way": self._way_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict`` of a training of the same configuration."""
        self.epoch = state["epoch"]
        self._load_way_state(state["way"])
        self.training.load_state_dict(state["training"])
        self.shown_rows = state["shown_rows"]
        if state["path"] is not None:
            self.path = FrontPath.restored(state["path"])
            self.show_alpha(self.config.alpha)

    @abstractmethod
    def _way_state(self) -> list[Any]:
        """What the way has to remember beside ``training``."""

    @abstractmethod
    def _load_way_state(self, state: list[Any]) -> None:
        """Take up ``_way_state``, so that ``training`` is the one that it was."""


def mean_losses(rows: Sequence[SliceRow]) -> tuple[float, float]:
    """Image and task loss, means over slices."""
    return float(np.mean([row[LOSS_IMAGE] for row in rows])), float(np.mean([row[LOSS_TASK] for row in rows]))
