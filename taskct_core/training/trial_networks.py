"""A trial's networks: those that learn, with their optimiser and the averages of their weights, and the frozen one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from taskct_core.modes import Phase
from taskct_core.reconstructors import count_parameters
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.computing import Computing
from taskct_core.training.config import TrialConfig
from taskct_core.training.weight_average import WeightAverage

Wrap = Callable[[nn.Module], nn.Module]
RECONSTRUCTOR, OWN_TASK_NETWORK = "reconstructor", "own_task_network"  # names in checkpoints


class TrialNetworks:
    """What a trial trains and what it is judged by.

    Attributes:
        reconstructor: the bare module, whatever ``wrap`` made of it.
        frozen_task_network: the pre-trained network, which never changes.
        own_task_network: the one that the trial trains, in the modes that do.
        optimiser: of all that learns.
        computing: how networks are called in training steps.
    """

    def __init__(
        self,
        config: TrialConfig,
        reconstructor: nn.Module,
        task_network: TaskNetwork,
        own_task_network: TaskNetwork | None,
        wrap: Wrap,
    ) -> None:
        self.reconstructor = reconstructor
        self.frozen_task_network = task_network
        self.own_task_network = own_task_network
        self.computing = Computing.of(config)
        self._learned: dict[str, nn.Module] = {RECONSTRUCTOR: reconstructor}
        if own_task_network is not None:
            self._learned[OWN_TASK_NETWORK] = own_task_network
        for module in (*self._learned.values(), task_network):
            self.computing.lay_out(module)
        self._learning = {name: self.computing.call(wrap(module)) for name, module in self._learned.items()}
        decay = config.weight_average
        self._averages = {
            name: WeightAverage(module, decay) for name, module in self._learned.items() if decay
        }
        self._gradient_clip = config.gradient_clip
        self._parameters = [
            parameter for module in self._learned.values() for parameter in module.parameters()
        ]
        # Of a GPU's optimiser, one kernel; on a CPU plain AdamW, whose numbers earlier studies have.
        is_on_gpu = all(parameter.device.type == "cuda" for parameter in self._parameters)
        self.optimiser = torch.optim.AdamW(
            self._parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True if is_on_gpu else None,
        )

    @property
    def scored_reconstructor(self) -> nn.Module:
        """The module whose images are scored: the average of weights, where there is one."""
        return self._scored(RECONSTRUCTOR)

    @property
    def parameter_count(self) -> int:
        """How many numbers the reconstructor learns."""
        return count_parameters(self.reconstructor)

    def _put_in_mode(self, phase: Phase) -> None:
        """What learns in a phase in train mode, and what does not in eval mode."""
        self.reconstructor.train(phase.reconstructor_learns)
        if self.own_task_network is not None:
            self.own_task_network.train(phase.task_network_learns)

    def _take_step(self, phase: Phase) -> None:
        """One step along the gradients, of what learns in the phase and of its averages."""
        if self._gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip)
        self.optimiser.step()
        learns = {RECONSTRUCTOR: phase.reconstructor_learns, OWN_TASK_NETWORK: phase.task_network_learns}
        for name, averaged in self._averages.items():
            if learns[name]:
                averaged.update(self._learned[name])

    def _scored(self, name: str) -> nn.Module:
        """The module whose weights count: the average, where there is one."""
        return self._averages[name].module if name in self._averages else self._learned[name]

    def _scored_weights(self) -> dict[str, dict[str, torch.Tensor]]:
        return {name: self._scored(name).state_dict() for name in self._learned}

    def state_dict(self) -> dict[str, Any]:
        """Weights, averages and the optimiser's state."""
        own = self.own_task_network
        return {
            "averages": {name: averaged.state_dict() for name, averaged in self._averages.items()},
            "reconstructor": self.reconstructor.state_dict(),
            "own_task_network": None if own is None else own.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``; one of before weights were averaged starts the averages at the weights."""
        for name, averaged in self._averages.items():
            if "averages" in state:
                averaged.load_state_dict(state["averages"][name])
            else:
                averaged.module.load_state_dict(state[name])
        self.reconstructor.load_state_dict(state["reconstructor"])
        if self.own_task_network is not None:
            self.own_task_network.load_state_dict(state["own_task_network"])
        self.optimiser.load_state_dict(state["optimiser"])
