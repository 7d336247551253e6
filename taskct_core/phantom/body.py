"""The frame of the abdomen: outline, fat, muscular wall, diaphragm with lungs and heart, ribs, spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taskct_core.phantom.grid import Array, Grid, TissueMap
from taskct_core.phantom.tissues import Tissue

SKIN_MM = 2.2
RIB_PITCH_MM = 27.0
VERTEBRA_PITCH_MM = 33.0


@dataclass(frozen=True)
class Build:
    """One patient's proportions, in mm; the origin is the middle of the trunk at mid-liver height."""

    half_width: float
    half_depth: float
    fat: float  # subcutaneous
    wall: float  # abdominal muscles
    dome: float  # top of the right hemidiaphragm

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        half_width = rng.uniform(148, 192)
        return cls(
            half_width=half_width,
            half_depth=half_width * rng.uniform(0.67, 0.79),
            fat=rng.uniform(6, 14) + max(half_width - 160, 0) * rng.uniform(0.2, 0.6),
            wall=rng.uniform(9, 14),
            dome=rng.uniform(70, 84),
        )

    @property
    def spine(self) -> float:
        """Position of the vertebral bodies' centre from front to back."""
        return self.half_depth - self.fat - 57

    def draw_head_to_toe(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return the lowest and highest position to scan: a slab that holds most of the liver."""
        return -66 + rng.uniform(-6, 6), self.dome - rng.uniform(6, 14)


@dataclass(frozen=True)
class Frame:
    """What organs are fitted into.

    Attributes:
        wall_depth: mm inside the inner surface of the abdominal wall (negative in the wall and outside).
        below_diaphragm: mm below the diaphragm (negative above it).
    """

    wall_depth: Array
    below_diaphragm: Array


def draw_body(tissue: TissueMap, grid: Grid, build: Build, rng: np.random.Generator) -> Frame:
    """Paint everything that is no abdominal organ into the tissue map and return what bounds the organs."""
    skin_depth, angle = _skin_depth(grid, build, rng)
    lumpy = grid.smooth_field(45, rng)
    # Fat is thick at the flanks and back, thin over the sternum; the wall thins towards the midline.
    fat = build.fat * np.clip(1 + 0.25 * np.sin(angle) + 0.12 * lumpy, 0.5, 1.8)
    wall = build.wall * np.clip(1 - 0.08 * lumpy + 0.15 * np.cos(2 * angle), 0.6, 1.5)
    wall_depth = (skin_depth - fat - wall).astype(np.float32)

    tissue[skin_depth > 0] = Tissue.SKIN
    tissue[skin_depth > SKIN_MM] = Tissue.FAT
    tissue[skin_depth > fat] = Tissue.MUSCLE
    tissue[wall_depth > 0] = Tissue.FAT  # visceral; the organs are drawn over it

    below_diaphragm = _below_diaphragm(grid, build)
    _draw_chest(tissue, grid, build, wall_depth, below_diaphragm)
    _draw_ribs(tissue, grid, (wall_depth + wall / 2).astype(np.float32), angle)
    _draw_back_muscles(tissue, grid, build)
    _draw_spine(tissue, grid, build, rng)
    return Frame(wall_depth, below_diaphragm)


def _skin_depth(grid: Grid, build: Build, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the radial depth under the skin in mm, and the angle around the trunk (pi/2 at the back)."""
    z, y, x = np.meshgrid(*grid.axes, indexing="ij", sparse=True)
    waist = 1 + np.float32(0.03) * np.sin(z / 60 + rng.uniform(0, 6))
    back_groove = 7 * np.exp(-((x / 16) ** 2)) * (y > 0)
    # A superellipse: squarer at the back, on which the patient lies.
    exponent = np.where(y > 0, 2.4, 2.1).astype(np.float32)
    reach_x = np.abs(x) / (build.half_width * waist)
    reach_y = np.abs(y + back_groove) / (build.half_depth * waist)
    norm = (reach_x**exponent + reach_y**exponent) ** (1 / exponent)
    norm = np.maximum(norm + np.float32(0.012) * grid.smooth_field(90, rng), 0.05)
    radius = np.sqrt(x**2 + y**2)
    return radius * (1 / norm - 1), np.broadcast_to(np.arctan2(y, x), norm.shape)


def _below_diaphragm(grid: Grid, build: Build) -> Array:
    """Depth under a surface of two domes that fall steeply towards the wall."""
    z, y, x = grid.warped
    a, b = build.half_width, build.half_depth
    right = build.dome - 62 * (((x + 0.42 * a) / (0.46 * a)) ** 2 + ((y + 0.02 * b) / (0.78 * b)) ** 2)
    left = build.dome - 14 - 62 * (((x - 0.42 * a) / (0.44 * a)) ** 2 + ((y - 0.02 * b) / (0.78 * b)) ** 2)
    centre = build.dome - 22 - 75 * ((x / (0.45 * a)) ** 2 + ((y + 0.3 * b) / (0.6 * b)) ** 2)
    return np.maximum(np.maximum(right, left), centre) - z


def _draw_chest(tissue: TissueMap, grid: Grid, build: Build, wall_depth: Array, below: Array) -> None:
    inside = wall_depth > 1
    tissue[inside & (below < 0)] = Tissue.MUSCLE  # the diaphragm, seen as a thin line under the lung
    tissue[inside & (below < -2.5)] = Tissue.LUNG
    mediastinum = grid.ellipsoid((build.dome, build.spine - 30, 0), (90, 42, 26))
    tissue[inside & (below < -2.5) & (mediastinum < 0)] = Tissue.FAT
    heart = (build.dome + 14, -0.42 * build.half_depth, 0.2 * build.half_width)
    shape = grid.ellipsoid(heart, (44, 0.44 * build.half_depth, 0.34 * build.half_width))
    tissue[inside & (below < -2.5) & (shape < 5)] = Tissue.FAT
    tissue[inside & (below < -2.5) & (shape < 0)] = Tissue.HEART


def _draw_ribs(tissue: TissueMap, grid: Grid, mid_wall: Array, angle: Array) -> None:
    """All ribs from one periodic shape: they descend from the spine forwards, one every ``RIB_PITCH_MM``."""
    z = grid.warped[0]
    from_back = np.abs(np.arctan2(np.cos(angle), np.sin(angle)))  # 0 at the spine, pi at the sternum
    descent = 58 * np.clip(from_back, 0, 2.3)
    height = (z + descent) % RIB_PITCH_MM - RIB_PITCH_MM / 2
    shape = np.sqrt((height / 6.5) ** 2 + (mid_wall / 4.2) ** 2)
    # The costal margin: the lower the slice, the earlier the ribs end.
    margin = np.clip(1.75 + z / 75, 0.9, 2.75)
    on_arc = (from_back > 0.32) & (from_back < margin) & (np.abs(mid_wall) < 5)
    bony = from_back < np.minimum(margin, 2.15)
    tissue[on_arc & (shape < 1) & ~bony] = Tissue.CARTILAGE
    tissue[on_arc & (shape < 1) & bony] = Tissue.CORTICAL_BONE
    tissue[on_arc & (shape < 0.6) & bony] = Tissue.MARROW


def _draw_back_muscles(tissue: TissueMap, grid: Grid, build: Build) -> None:
    z, y, x = grid.warped
    side = np.abs(x)
    in_body = (tissue == Tissue.FAT) | (tissue == Tissue.MUSCLE)
    erector = ((side - 31) / 30) ** 2 + ((y - build.spine - 37) / 19) ** 2
    psoas_width, psoas_depth = np.clip(13 - z / 8, 3, 20), np.clip(15 - z / 8, 3, 22)
    psoas = ((side - 33) / psoas_width) ** 2 + ((y - build.spine - 8) / psoas_depth) ** 2
    crus = ((side - 13) / 6) ** 2 + ((y - build.spine + 20) / 12) ** 2
    below_hilum, above_kidneys = z < 5, z > -45
    muscle = (erector < 1) | ((psoas < 1) & below_hilum) | ((crus < 1) & above_kidneys)
    tissue[muscle & in_body] = Tissue.MUSCLE


def _draw_spine(tissue: TissueMap, grid: Grid, build: Build, rng: np.random.Generator) -> None:
    z, y, x = grid.warped
    y = y - np.float32(build.spine)
    phase = (z + rng.uniform(0, VERTEBRA_PITCH_MM)) % VERTEBRA_PITCH_MM
    in_disc = phase < 6
    at_pedicle = (phase > 13) & (phase < 27)
    # Vertebral body: an ellipse flattened at the back, waisted between its end plates.
    waist = 1 - 0.06 * np.sin(np.pi * np.clip((phase - 6) / 27, 0, 1))
    body = (np.sqrt((x / 21) ** 2 + (y / 16) ** 2) / waist - 1) * 16
    body = np.maximum(body, y - 12)
    canal = (np.sqrt((x / 11) ** 2 + ((y - 20) / 8.5) ** 2) - 1) * 8.5
    arch = np.maximum(canal - 6, -(y - 9))
    arch = np.where(at_pedicle, arch, np.maximum(arch, 17 - y))  # foramina between the pedicles
    spinous = np.maximum(np.abs(x) - 3.5, np.abs(y - 41) - 14)
    transverse = np.maximum(np.abs(y - 19 - 0.15 * np.abs(x)) - 4, np.abs(x) - 36)
    bone = np.minimum(np.minimum(arch, spinous), np.where(at_pedicle, transverse, 99))
    tissue[bone < 0] = Tissue.CORTICAL_BONE
    tissue[bone < -2.4] = Tissue.MARROW
    tissue[body < 0] = np.where(in_disc, Tissue.DISC, Tissue.CORTICAL_BONE)[body < 0]
    tissue[(body < -1.6) & ~in_disc] = Tissue.MARROW
    tissue[canal < 0] = Tissue.SPINAL_CANAL
