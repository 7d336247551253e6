"""A front between fine-tuned networks: a bent line through the weights of a few anchors.

Reconstruction only first; from that network, each anchor is fine-tuned with its own alpha. Weights between neighbours
are interpolated (rewarded soups, Rame et al. 2023, arXiv 2306.04488; deep network interpolation, Wang et al. 2019,
arXiv 1811.10515), which works because all anchors begin at one network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import nn

from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.schema import KEPT_EPOCH
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.front.base import FrontTraining, Scores, Weights
from taskct_core.training.trial import Training
from taskct_core.training.trial_networks import Wrap


class InterpolatedFront(FrontTraining):
    """Trains its stages one after the other, each as a trial of its own would be, and keeps each one's best epoch."""

    def __init__(
        self,
        config: TrialConfig,
        plain: nn.Module,
        task_network: TaskNetwork,
        device: torch.device,
        wrap: Wrap,
    ) -> None:
        super().__init__(config, plain, task_network, device, wrap)
        self._ends = stage_ends(config)
        self._alphas = (0.0, *config.front_anchors)
        self._anchors: list[Weights] = []  # of the stages that are over
        self._training = self._stage(0)

    @property
    def training(self) -> Training:
        return self._training

    @property
    def epoch_alphas(self) -> tuple[float, ...]:
        return (self._alphas[self._index],)

    @property
    def _index(self) -> int:
        """The stage that the last trained epoch belongs to."""
        return int(np.searchsorted(self._ends, max(self.epoch, 1)))

    def train_epoch(self, batches: Iterable[Batch]) -> dict[str, float]:
        if self.epoch in self._ends[:-1]:
            self._end_stage()
            self._training = self._stage(len(self._anchors))
        return super().train_epoch(batches)

    def keep(self, rows: Mapping[float, Sequence[SliceRow]], scores: Scores) -> dict[str, float]:
        columns = self._training.keep(list(rows[self.epoch_alphas[0]]), scores)
        before = self._ends[self._index - 1] if self._index else 0
        return columns | {KEPT_EPOCH: before + columns[KEPT_EPOCH]}

    def use_kept(self) -> None:
        if len(self._anchors) < len(self._alphas):
            self._end_stage()

    def weights_at(self, position: float) -> Weights:
        place = position * (len(self._anchors) - 1)
        first = min(int(place), len(self._anchors) - 2)
        return interpolated(self._anchors[first], self._anchors[first + 1], place - first)

    def show(self, position: float) -> None:
        self._training.scored_reconstructor.load_state_dict(self.weights_at(position))

    def show_while_training(self, alpha: float) -> None:
        """There is one network, that of the stage."""

    def positions(self) -> list[float]:
        """As many as are asked for, or more, so that every anchor is one of them."""
        segments = len(self._alphas) - 1
        steps = -(-(self.config.front_positions - 1) // segments)
        return [step / (segments * steps) for step in range(segments * steps + 1)]

    def _end_stage(self) -> None:
        self._anchors.append(deepcopy(self._training.kept.weights["reconstructor"]))

    def _stage(self, index: int) -> Training:
        """A fresh training of a stage, with an optimiser, a learning rate's course and an average of its own."""
        before = self._ends[index - 1] if index else 0
        changes = {
            "mode": "task_adaptive" if index else "reconstruction_only",
            "alpha": self._alphas[index],
            "epochs": self._ends[index] - before,
        }
        reconstructor = deepcopy(self._plain)
        if index:
            reconstructor.load_state_dict(self._anchors[0])
        stage = self.config.model_copy(update=changes)
        return Training(stage, reconstructor, self.frozen_task_network, None, self.device, self._wrap)

    def _way_state(self) -> list[Weights]:
        return self._anchors

    def _load_way_state(self, state: list[Any]) -> None:
        self._anchors = state
        self._training = self._stage(self._index)


def stage_ends(config: TrialConfig) -> list[int]:
    """The last epoch of each stage: ``first_phase_share`` of the epochs is the first's, the anchors share the rest."""
    anchors = len(config.front_anchors)
    first = min(max(round(config.first_phase_share * config.epochs), 1), config.epochs - anchors)
    rest = config.epochs - first
    return [first + rest * anchor // anchors for anchor in range(anchors + 1)]


def interpolated(one: Weights, other: Weights, share: float) -> Weights:
    """``(1 - share) one + share other``; of what is not a real number, such as a count, the nearer one's."""
    nearer = one if share < 0.5 else other
    return {
        name: tensor.lerp(other[name], share) if tensor.is_floating_point() else nearer[name]
        for name, tensor in one.items()
    }
