"""The abdominal organs, painted into the tissue map from the back layer to the front one."""

from __future__ import annotations

import numpy as np

from taskct_core.phantom.body import Build, Frame
from taskct_core.phantom.grid import (
    Array,
    Grid,
    Mask,
    Point,
    TissueMap,
    smooth_cut,
    smooth_union,
)
from taskct_core.phantom.tissues import Tissue

WALL_GAP_MM, DIAPHRAGM_GAP_MM = 2.5, 0.5  # of fat, around the organs
NUM_BOWEL_LOOPS, NUM_MESENTERIC_VESSELS = 80, 60


def draw_organs(tissue: TissueMap, grid: Grid, build: Build, frame: Frame, rng: np.random.Generator) -> None:
    """Paint gut, pancreas, stomach, spleen, kidneys, liver, gallbladder and the great vessels."""
    inside = (frame.wall_depth > WALL_GAP_MM) & (frame.below_diaphragm > DIAPHRAGM_GAP_MM)
    free = inside & (tissue == Tissue.FAT)
    kidneys = [_kidney(grid, build, side, rng) for side in (-1, 1)]

    _draw_mesenteric_vessels(tissue, grid, build, free, rng)
    _draw_bowel(tissue, grid, build, free, rng)
    _draw_pancreas(tissue, grid, build, free, rng)
    _draw_stomach(tissue, grid, build, free, rng)
    _draw_spleen(tissue, grid, build, free, rng)
    for kidney in kidneys:
        _paint_kidney(tissue, grid, *kidney, free)
    liver = _liver(grid, build, rng)
    liver = smooth_cut(liver, kidneys[0][0] - 2, 4)
    _draw_great_vessels(tissue, grid, build, free)
    tissue[(liver < 0) & free & ~np.isin(tissue, (Tissue.AORTA, Tissue.VENA_CAVA))] = Tissue.LIVER
    _draw_gallbladder(tissue, grid, build, free, rng)


def _jitter(rng: np.random.Generator, point: Point, std_mm: float = 5.0) -> Point:
    z, y, x = (float(p + np.clip(rng.normal(0, std_mm), -2 * std_mm, 2 * std_mm)) for p in point)
    return z, y, x


def _liver(grid: Grid, build: Build, rng: np.random.Generator) -> Array:
    """Right and left lobe, hollowed from below and behind by the stomach, duodenum and spine."""
    a, b = build.half_width, build.half_depth
    size = rng.uniform(0.92, 1.06)
    left_reach = rng.uniform(0.38, 0.62) * a  # how far the left lobe crosses the midline
    right = grid.ellipsoid(_jitter(rng, (-4, 0.0, -0.47 * a)), (88 * size, 0.84 * b, 0.50 * a * size))
    left = grid.ellipsoid(_jitter(rng, (34, -0.44 * b, -0.02 * a)), (48 * size, 0.40 * b, left_reach))
    liver = smooth_union(right, left, 25)
    pancreas_bed = grid.ellipsoid(_jitter(rng, (-34, 0.10 * b, 0.10 * a)), (72, 0.46 * b, 0.36 * a))
    bowel_bed = grid.ellipsoid(_jitter(rng, (-95, -0.30 * b, 0.0)), (75, 0.75 * b, 0.50 * a))
    kidney_bed = grid.ellipsoid((-68, build.spine + 14, -0.30 * a), (84, 46, 0.34 * a))
    spine = grid.ellipsoid((0, build.spine - 2, 2), (400, 36, 38))
    fissure = grid.ellipsoid((-5, -0.62 * b, -0.04 * a), (45, 0.30 * b, 2.5))
    cuts = ((pancreas_bed, 14.0), (bowel_bed, 14.0), (kidney_bed, 10.0), (spine, 10.0), (fissure, 3.0))
    for cut, blend_mm in cuts:
        liver = smooth_cut(liver, cut, blend_mm)
    return liver + 1.2 * grid.smooth_field(22, rng)


def _kidney(grid: Grid, build: Build, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the bean's surface and its sinus; the left kidney lies higher than the right one."""
    height = -62.0 if side < 0 else -38.0
    centre = _jitter(rng, (height, build.spine + 4, side * 0.40 * build.half_width), 4)
    size = rng.uniform(0.9, 1.1)
    surface = grid.ellipsoid(centre, (56 * size, 29 * size, 27 * size))
    hilum = (centre[0], centre[1] - 8, centre[2] - side * 17)
    sinus = grid.ellipsoid(hilum, (20 * size, 9 * size, 17 * size))
    return surface, sinus


def _paint_kidney(tissue: TissueMap, grid: Grid, surface: Array, sinus: Array, free: Mask) -> None:
    pyramids = np.sin(grid.warped[0] / 4.5) + np.sin((grid.warped[1] + grid.warped[2]) / 4.5)
    tissue[(surface < 0) & free] = Tissue.KIDNEY_CORTEX
    tissue[(surface < -7) & free & (pyramids < 0.6)] = Tissue.KIDNEY_MEDULLA
    tissue[(surface < 0) & free & (sinus < 0)] = Tissue.FAT


def _draw_spleen(tissue: TissueMap, grid: Grid, build: Build, free: Mask, rng: np.random.Generator) -> None:
    a, b = build.half_width, build.half_depth
    size = rng.uniform(0.85, 1.2)
    centre = _jitter(rng, (22, 0.30 * b, 0.62 * a))
    spleen = grid.ellipsoid(centre, (52 * size, 0.50 * b * size, 0.27 * a * size))
    hollow = grid.ellipsoid((20, 0.08 * b, 0.30 * a), (70, 0.46 * b, 0.30 * a))
    tissue[(smooth_cut(spleen, hollow, 10) < 0) & free] = Tissue.SPLEEN


def _draw_stomach(tissue: TissueMap, grid: Grid, build: Build, free: Mask, rng: np.random.Generator) -> None:
    a, b = build.half_width, build.half_depth
    fill = rng.uniform(0.7, 1.1)
    fundus = grid.ellipsoid(_jitter(rng, (38, -0.16 * b, 0.40 * a)), (46, 0.40 * b * fill, 0.26 * a * fill))
    antrum = grid.ellipsoid(_jitter(rng, (-8, -0.48 * b, 0.20 * a)), (30, 0.22 * b * fill, 0.34 * a))
    _paint_hollow_organ(tissue, grid, smooth_union(fundus, antrum, 20), free, -0.48 * b, rng)


def _paint_hollow_organ(
    tissue: TissueMap, grid: Grid, shape: Array, free: Mask, gas_above_mm: float, rng: np.random.Generator
) -> None:
    """Wall, content and, as the patient lies on the back, gas in front of a level surface."""
    content = Tissue.GUT_FLUID if rng.random() < 0.6 else Tissue.STOOL
    wall_mm = rng.uniform(2.5, 4.5)
    level = grid.axes[1][None, :, None] < gas_above_mm
    tissue[(shape < 0) & free] = Tissue.GUT_WALL
    lumen = (shape < -wall_mm) & free
    tissue[lumen] = content
    tissue[lumen & level] = Tissue.GUT_GAS


def _draw_bowel(tissue: TissueMap, grid: Grid, build: Build, free: Mask, rng: np.random.Generator) -> None:
    """Loops of small bowel and colon in the lower abdomen, each a short bent tube."""
    a, b = build.half_width, build.half_depth
    for _ in range(NUM_BOWEL_LOOPS):
        centre = (rng.uniform(-110, 2), rng.uniform(-0.75, 0.25) * b, rng.uniform(-0.60, 0.80) * a)
        radii = (rng.uniform(12, 26), rng.uniform(10, 18), rng.uniform(12, 30))
        box = grid.box(centre, radii)
        part = grid.part(box)
        gas_above_mm = centre[1] + rng.uniform(-1.3, 0.3) * radii[1]
        _paint_hollow_organ(tissue[box], part, part.ellipsoid(centre, radii), free[box], gas_above_mm, rng)


def _draw_mesenteric_vessels(
    tissue: TissueMap, grid: Grid, build: Build, free: Mask, rng: np.random.Generator
) -> None:
    """Short rods that cross the visceral fat, as its many small vessels do."""
    for _ in range(NUM_MESENTERIC_VESSELS):
        start = (
            rng.uniform(-110, 40),
            rng.uniform(-0.5, 0.3) * build.half_depth,
            rng.uniform(-0.3, 0.7) * build.half_width,
        )
        end = _jitter(rng, start, 16)
        radius = rng.uniform(1.2, 3.2)
        box = grid.box(start, (35, 35, 35))
        rod = grid.capsule(start, end, (radius, radius), box)
        tissue[box][(rod < 0) & free[box]] = Tissue.VENA_CAVA


def _draw_pancreas(tissue: TissueMap, grid: Grid, build: Build, free: Mask, rng: np.random.Generator) -> None:
    a, front = build.half_width, build.spine - 45
    path = [
        _jitter(rng, (-42, front + 4, -0.20 * a)),
        _jitter(rng, (-20, front - 8, 0.02 * a)),
        _jitter(rng, (-2, front + 2, 0.26 * a)),
        _jitter(rng, (12, front + 22, 0.48 * a)),
    ]
    thickness = (15.0, 10.0, 9.0, 8.0)
    box = grid.box((-15, front + 5, 0.14 * a), (60, 60, 0.6 * a))
    for i in range(3):
        rod = grid.capsule(path[i], path[i + 1], (thickness[i], thickness[i + 1]), box)
        tissue[box][(rod < 0) & free[box]] = Tissue.PANCREAS


def _draw_gallbladder(
    tissue: TissueMap, grid: Grid, build: Build, free: Mask, rng: np.random.Generator
) -> None:
    if rng.random() < 0.12:  # removed by surgery
        return
    a, b = build.half_width, build.half_depth
    neck = _jitter(rng, (-12, -0.12 * b, -0.24 * a), 4)
    fundus = (neck[0] - 32, neck[1] - 30, neck[2] - 14)
    box = grid.box((neck[0] - 16, neck[1] - 15, neck[2] - 7), (40, 40, 35))
    shape = grid.capsule(neck, fundus, (6, rng.uniform(10, 16)), box)
    tissue[box][(shape < 1.5) & free[box]] = Tissue.GUT_WALL
    tissue[box][(shape < 0) & free[box]] = Tissue.GALLBLADDER


def _draw_great_vessels(tissue: TissueMap, grid: Grid, build: Build, free: Mask) -> None:
    """Aorta before the spine; the vena cava at its right, coming forward into the liver as it rises."""
    y = build.spine
    rods: list[tuple[Tissue, Point, Point, float]] = [
        (Tissue.AORTA, (-150, y - 27, 9), (150, y - 25, 14), 10.5),
        (Tissue.VENA_CAVA, (-150, y - 26, -22), (-20, y - 29, -24), 11.5),
        (Tissue.VENA_CAVA, (-20, y - 29, -24), (90, y - 48, -26), 12.5),
    ]
    in_abdomen = free | (tissue == Tissue.MUSCLE)  # they run beside the crura of the diaphragm
    for kind, start, end, radius in rods:
        middle = tuple((s + e) / 2 for s, e in zip(start, end, strict=True))
        box = grid.box(middle, (abs(end[0] - start[0]) / 2 + radius, 35, 35))
        shape = grid.capsule(start, end, (radius, radius), box)
        tissue[box][(shape < 0) & in_abdomen[box]] = kind
