"""Fronts that are trained as one network with alpha as an input, drawn anew for every batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.losses.mixing import MIXINGS, Mixer
from taskct_core.modes import Phase
from taskct_core.reconstructors import inputs_of
from taskct_core.schema import KEPT_EPOCH, VALIDATION_LOSS
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.front.base import FrontTraining, Scores, Weights, mean_losses
from taskct_core.training.judged import Judged
from taskct_core.training.keep import ValidationObjective
from taskct_core.training.measured import Measured
from taskct_core.training.trial import Training
from taskct_core.training.trial_networks import Wrap

_STREAM = 14  # of random numbers, apart from those that other parts draw with the same seed


class FrontNetwork(nn.Module, ABC):
    """A reconstructor whose parameters are a function of alpha; called as the plain one is.

    Args:
        plain: the reconstructor. Its buffers serve every alpha.

    Attributes:
        alpha: in [0, 1], that the next call is for.
    """

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain
        self.inputs = inputs_of(plain)
        self.alpha = 0.0

    @abstractmethod
    def parameters_at(self, alpha: float) -> dict[str, torch.Tensor]:
        """The plain reconstructor's parameters at ``alpha``, with gradients."""

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = functional_call(self.plain, self.parameters_at(self.alpha), tensors)
        return image

    @torch.no_grad()
    def weights_at(self, alpha: float) -> Weights:
        """``parameters_at`` with the buffers, as a state_dict of the plain reconstructor."""
        return {**self.plain.state_dict(), **self.parameters_at(alpha)}


class DrawnFront(FrontTraining):
    """Trains a ``FrontNetwork`` on alphas that follow from (seed, epoch, step), the same in every worker."""

    def __init__(
        self,
        config: TrialConfig,
        plain: nn.Module,
        task_network: TaskNetwork,
        device: torch.device,
        wrap: Wrap,
    ) -> None:
        super().__init__(config, plain, task_network, device, wrap)
        network = self.make_network(plain).to(device)
        self._training = _DrawingTraining(config, network, task_network, None, device, wrap)
        self._training.draw = self.draw
        self._objectives = {
            alpha: ValidationObjective(MIXINGS[config.mixing], alpha) for alpha in self.epoch_alphas
        }

    @abstractmethod
    def make_network(self, plain: nn.Module) -> FrontNetwork:
        """The network that learns."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> float:
        """The alpha of a batch."""

    @property
    def training(self) -> Training:
        return self._training

    @property
    def epoch_alphas(self) -> tuple[float, ...]:
        """The trial's own alpha, then the ends."""
        return tuple(dict.fromkeys((self.config.alpha, 0.0, 1.0)))

    def keep(self, rows: Mapping[float, Sequence[SliceRow]], scores: Scores) -> dict[str, float]:
        """The epoch is judged by its mean over ``epoch_alphas``."""
        columns = {
            alpha: objective.columns(*mean_losses(rows[alpha]))
            for alpha, objective in self._objectives.items()
        }
        own = columns[self.config.alpha]
        losses = own | {VALIDATION_LOSS: float(np.mean([c[VALIDATION_LOSS] for c in columns.values()]))}
        self._training.offer(scores | losses)
        return losses | {KEPT_EPOCH: self._training.kept.epoch}

    def use_kept(self) -> None:
        self._training.use_kept()

    def weights_at(self, position: float) -> Weights:
        return self._training.network.weights_at(position)

    def show(self, position: float) -> None:
        self._training.network.alpha = position

    def show_while_training(self, alpha: float) -> None:
        self.show(alpha)

    def _way_state(self) -> list[Any]:
        return [objective.scales for objective in self._objectives.values()]

    def _load_way_state(self, state: list[Any]) -> None:
        for objective, scales in zip(self._objectives.values(), state, strict=True):
            objective.scales = scales

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.path is not None:
            self.use_kept()


class _DrawingTraining(Training):
    """A training that draws an alpha for every batch."""

    draw: Any

    @property
    def network(self) -> FrontNetwork:
        """Whose weights are scored."""
        network = self.scored_reconstructor
        assert isinstance(network, FrontNetwork)
        return network

    def offer(self, scores: Mapping[str, float]) -> None:
        """Keep this epoch if these scores are better than those of the kept one."""
        self.kept.offer(self.epoch, dict(scores), [], self._scored_weights())

    def _step(self, batch: Batch, judged: Judged, phase: Phase, mixer: Mixer, step: int) -> Measured:
        rng = np.random.default_rng([self.config.seed, _STREAM, self.epoch, step])
        mixer.alpha = self.draw(rng)
        self.reconstructor.alpha = mixer.alpha  # type: ignore[assignment]  # a plain attribute of FrontNetwork
        return super()._step(batch, judged, phase, mixer, step)
