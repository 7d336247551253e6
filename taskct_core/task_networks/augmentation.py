"""Random variants of training slices, so that a task network generalises from few patients.

Rotation, zoom and shift as between patients and tables; contrast, offset and noise as between scanners and
contrast phases. No mirroring: the liver lies on one side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from taskct_core.hounsfield import MU_MAX, MU_PER_HU
from taskct_core.transfer import on_device

_PER_HU = MU_PER_HU / MU_MAX  # one HU in normalised attenuation

ROTATION_RAD = math.radians(10)
ZOOM = 0.1  # relative
SHIFT = 0.06  # of the side
CONTRAST = 0.05  # relative
OFFSET_HU = 15.0
NOISE_HU = 25.0  # largest standard deviation


def augment(
    images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random variant of every slice, one draw each.

    Args:
        images: ``(B, 1, H, W)`` normalised attenuation.
        labels: ``(B, H, W)`` integers.
        generator: on the CPU; all randomness comes from it.
    """
    images, labels = _move(images, labels, generator)
    batch = len(images)
    contrast, offset, noise = (_uniform(batch, generator, images.device) for _ in range(3))
    grain = on_device(torch.randn(images.shape, generator=generator), images.device)
    images = images * (1 + CONTRAST * contrast) + OFFSET_HU * _PER_HU * offset
    return images + NOISE_HU * _PER_HU * noise.abs() * grain, labels


def _move(
    images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    angle, zoom, down, right = (_uniform(len(images), generator, images.device).flatten() for _ in range(4))
    scale = 1 + ZOOM * zoom
    cos, sin = scale * torch.cos(ROTATION_RAD * angle), scale * torch.sin(ROTATION_RAD * angle)
    rows = torch.stack([cos, -sin, 2 * SHIFT * right, sin, cos, 2 * SHIFT * down], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    moved_labels = F.grid_sample(
        labels.unsqueeze(1).to(images.dtype), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return moved, moved_labels[:, 0].long()


def _uniform(batch: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """``(B, 1, 1, 1)`` draws in [-1, 1]."""
    return on_device(2 * torch.rand(batch, 1, 1, 1, generator=generator) - 1, device)
