"""Turning, scaling and shifting a slice in the scanner: how a movement is drawn, and images and labels moved by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.hounsfield import AIR_HU
from taskct_core.simulation.config import FreshDrawConfig
from taskct_core.simulation.fresh_base import FINER

Positions = NDArray[np.float32]


@dataclass(frozen=True)
class Movement:
    """Of a patient about the field's centre: turned, then scaled, then shifted.

    Attributes:
        turn_rad: from the rows' axis towards the columns' axis.
        scale: of all lengths.
        shift_mm: ``(row, column)``.
    """

    turn_rad: float
    scale: float
    shift_mm: tuple[float, float]

    def undo(self, rows: Positions, columns: Positions, unit_mm: float) -> tuple[Positions, Positions]:
        """Where what lies at these positions was before; all in units of ``unit_mm`` from the centre."""
        down, right = (mm / unit_mm for mm in self.shift_mm)
        cosine, sine = math.cos(self.turn_rad) / self.scale, math.sin(self.turn_rad) / self.scale
        rows, columns = rows - np.float32(down), columns - np.float32(right)
        return (
            np.float32(cosine) * rows + np.float32(sine) * columns,
            np.float32(cosine) * columns - np.float32(sine) * rows,
        )


def draw_movement(
    config: FreshDrawConfig,
    half_body_mm: tuple[float, float],
    half_field_mm: float,
    rng: np.random.Generator,
) -> Movement:
    """A movement uniform in the configured ranges, but for what would take the body out of the field.

    Args:
        half_body_mm: half ``(height, width)`` of the body, taken for an ellipse about the field's centre.
        half_field_mm: half of the field's edge.
    """
    turn, scale, down, right = (float(value) for value in rng.uniform(-1, 1, 4))
    turn_rad = turn * math.radians(config.turn_degrees)
    height, width = half_body_mm
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    turned = math.hypot(height * cosine, width * sine), math.hypot(height * sine, width * cosine)
    largest = half_field_mm / max(*turned, 1e-6)
    factor = min(1 + scale * config.scale, max(largest, 1.0))
    room = [max(half_field_mm - factor * extent, 0.0) for extent in turned]
    shift_mm = down * min(config.shift_mm, room[0]), right * min(config.shift_mm, room[1])
    return Movement(turn_rad, factor, shift_mm)


class Mover:
    """Takes images and labels on the scanner's pixels from bases (``taskct_core.simulation.fresh_base``) and a movement.

    Args:
        pixels: edge of the scanner's image.
    """

    def __init__(self, pixels: int) -> None:
        self._points = _grid(FINER * pixels, 1.0)  # as fine as the base
        self._centres = _grid(pixels, float(FINER))

    def image(
        self, hu: NDArray[np.integer | np.floating], movement: Movement, spacing_mm: float
    ) -> Positions:
        """Means of the cubic interpolation at ``FINER`` squared points a pixel, in HU; beyond the base is air.

        Args:
            hu: of the base.
            spacing_mm: of the scanner's pixels.
        """
        rows, columns = movement.undo(*self._points, spacing_mm / FINER)
        grid = torch.from_numpy(np.stack([columns, rows], axis=-1) * np.float32(2 / len(hu)))
        above_air = torch.from_numpy(hu.astype(np.float32) - np.float32(AIR_HU))
        sampled = torch.nn.functional.grid_sample(
            above_air[None, None], grid[None], mode="bicubic", padding_mode="zeros", align_corners=False
        )
        means: Positions = torch.nn.functional.avg_pool2d(sampled, FINER)[0, 0].numpy()
        return means + np.float32(AIR_HU)

    def labels(self, labels: NDArray[np.uint8], movement: Movement, spacing_mm: float) -> NDArray[np.uint8]:
        """The nearest label of the base at each pixel's centre; beyond the base is background."""
        edge = len(labels)
        indices = [
            np.floor(position + np.float32(edge / 2)).astype(np.int32)
            for position in movement.undo(*self._centres, spacing_mm / FINER)
        ]
        inside = np.logical_and.reduce([(index >= 0) & (index < edge) for index in indices])
        rows, columns = (np.where(inside, index, 0) for index in indices)
        return np.where(inside, labels[rows, columns], np.uint8(0))


def _grid(count: int, step: float) -> tuple[Positions, Positions]:
    """Rows and columns of ``count`` squared points about the centre, a step apart."""
    axis = ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns
