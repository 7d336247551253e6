"""A task network of one's own: `--set task_network.architecture=own_task_network:Thresholds`."""

import torch
from torch import nn


class Thresholds(nn.Module):
    """Called with the windowed image, float32 (B, 1, H, W) in [0, 1]; returns logits (B, classes, H, W), background first.

    Args:
        num_classes: how many classes; given by the platform.
        width: from `task_network.architecture_parameters`.
    """

    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, num_classes, 5, padding=2)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(image)
        return logits
