"""A perceptual loss on what the frozen task network sees, in place of a network for photographs."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.errors import ConfigError
from taskct_core.losses.image import PERCENT
from taskct_core.task_networks.network import TaskNetwork

LAYERS = 4


class PerceptualLoss(nn.Module):
    """Relative squared distance of feature maps, mean over ``LAYERS`` convolutions and over samples.

    The convolutions are spread evenly over the task network, its last excluded. The distance of a sample at
    a layer is |f - g|^2 / |g|^2, with g the features of the full-dose image; so 0 is equal, and features
    that vanish are at 1.

    Args:
        task_network: frozen.

    Raises:
        ConfigError: if there is no task network, or it has too few convolutions to look into, as
            TorchScript networks have.
    """

    def __init__(self, task_network: TaskNetwork | None) -> None:
        super().__init__()
        convolutions = [] if task_network is None else _convolutions(task_network)
        if task_network is None or len(convolutions) <= LAYERS:
            raise ConfigError(
                f"the perceptual loss needs a task network with more than {LAYERS} Conv2d layers",
                "no task network" if task_network is None else f"one with {len(convolutions)}",
                "Choose another image loss or task network.",
            )
        self.task_network = task_network
        stride = (len(convolutions) - 1) / LAYERS
        self._chosen = [convolutions[int(stride * layer)] for layer in range(LAYERS)]

    def forward(self, reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = self._features(full_dose / PERCENT)
        found = self._features(reconstruction / PERCENT)
        distances = [_relative_distance(f, g) for f, g in zip(found, wanted, strict=True)]
        return torch.stack(distances).mean()

    def _features(self, image: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda _module, _inputs, output: features.append(output))
            for layer in self._chosen
        ]
        try:
            self.task_network(image)
        finally:
            for hook in hooks:
                hook.remove()
        return features


def _convolutions(network: TaskNetwork) -> list[nn.Conv2d]:
    return [module for module in network.network.modules() if isinstance(module, nn.Conv2d)]


def _relative_distance(features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    difference = (features - wanted).flatten(1).square().sum(1)
    return (difference / wanted.flatten(1).square().sum(1).clamp(min=1e-12)).mean()
