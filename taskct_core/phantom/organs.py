"""The abdominal organs, painted into the tissue map from the back layer to the front one."""

from __future__ import annotations

import numpy as np

from taskct_core.phantom.body import Build, Frame
from taskct_core.phantom.grid import Array, Grid, Point, smooth_cut, smooth_field, smooth_union
from taskct_core.phantom.tissues import Tissue

ORGAN_GAP_MM = 3.0  # of fat, between an organ and the wall or diaphragm


def draw_organs(
    tissue: np.ndarray, grid: Grid, build: Build, frame: Frame, rng: np.random.Generator
) -> None:
    """Paint gut, pancreas, stomach, spleen, kidneys, liver, gallbladder and the great vessels."""
    # Positive where organs may lie: inside the wall and below the diaphragm.
    room = np.minimum(frame.wall_depth, frame.below_diaphragm) - ORGAN_GAP_MM
    free = (room > 0) & (tissue == Tissue.FAT)
    kidneys = [_kidney(grid, build, side, rng) for side in (-1, 1)]

    _draw_bowel(tissue, grid, build, free, rng)
    _draw_pancreas(tissue, grid, build, free, rng)
    _draw_stomach(tissue, grid, build, free, rng)
    _draw_spleen(tissue, grid, build, free, rng)
    for kidney in kidneys:
        _paint_kidney(tissue, grid, *kidney, free)
    liver = _liver(grid, build, rng)
    for surface, _ in kidneys[:1]:
        liver = smooth_cut(liver, surface - 4, 6)
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
    hollow = grid.ellipsoid(_jitter(rng, (-34, 0.10 * b, 0.10 * a)), (72, 0.46 * b, 0.36 * a))
    spine = grid.ellipsoid((0, build.spine - 2, 2), (400, 36, 38))
    fissure = grid.ellipsoid((-5, -0.62 * b, -0.04 * a), (45, 0.30 * b, 2.5))
    for cut, blend in ((hollow, 14.0), (spine, 10.0), (fissure, 3.0)):
        liver = smooth_cut(liver, cut, blend)
    return liver + 1.2 * smooth_field(grid.axes, 22, rng)


def _kidney(grid: Grid, build: Build, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the bean's surface and its sinus; the left kidney lies higher than the right one."""
    height = -62.0 if side < 0 else -38.0
    centre = _jitter(rng, (height, build.spine + 4, side * 0.40 * build.half_width), 4)
    size = rng.uniform(0.9, 1.1)
    surface = grid.ellipsoid(centre, (56 * size, 29 * size, 27 * size))
    hilum = (centre[0], centre[1] - 8, centre[2] - side * 17)
    sinus = grid.ellipsoid(hilum, (20 * size, 9 * size, 17 * size))
    return surface, sinus


def _paint_kidney(tissue: np.ndarray, grid: Grid, surface: Array, sinus: Array, free: Array) -> None:
    pyramids = np.sin(grid.warped[0] / 4.5) + np.sin((grid.warped[1] + grid.warped[2]) / 4.5)
    tissue[(surface < 0) & free] = Tissue.KIDNEY_CORTEX
    tissue[(surface < -7) & free & (pyramids < 0.6)] = Tissue.KIDNEY_MEDULLA
    tissue[(surface < 0) & free & (sinus < 0)] = Tissue.FAT


def _draw_spleen(
    tissue: np.ndarray, grid: Grid, build: Build, free: Array, rng: np.random.Generator
) -> None:
    a, b = build.half_width, build.half_depth
    size = rng.uniform(0.85, 1.2)
    centre = _jitter(rng, (22, 0.30 * b, 0.62 * a))
    spleen = grid.ellipsoid(centre, (52 * size, 0.50 * b * size, 0.27 * a * size))
    hollow = grid.ellipsoid((20, 0.08 * b, 0.30 * a), (70, 0.46 * b, 0.30 * a))
    tissue[(smooth_cut(spleen, hollow, 10) < 0) & free] = Tissue.SPLEEN


def _draw_stomach(
    tissue: np.ndarray, grid: Grid, build: Build, free: Array, rng: np.random.Generator
) -> None:
    a, b = build.half_width, build.half_depth
    fill = rng.uniform(0.7, 1.1)
    fundus = grid.ellipsoid(_jitter(rng, (38, -0.16 * b, 0.40 * a)), (46, 0.40 * b * fill, 0.26 * a * fill))
    antrum = grid.ellipsoid(_jitter(rng, (-8, -0.48 * b, 0.20 * a)), (30, 0.22 * b * fill, 0.34 * a))
    _paint_hollow_organ(tissue, grid, smooth_union(fundus, antrum, 20), free, -0.48 * b, rng)


def _paint_hollow_organ(
    tissue: np.ndarray, grid: Grid, shape: Array, free: Array, gas_above_mm: float, rng: np.random.Generator
) -> None:
    """Wall, content and, as the patient lies on the back, gas in front of a level surface."""
    content = Tissue.GUT_FLUID if rng.random() < 0.6 else Tissue.STOOL
    wall_mm = rng.uniform(2.5, 4.5)
    level = grid.axes[1][None, :, None] < gas_above_mm
    tissue[(shape < 0) & free] = Tissue.GUT_WALL
    lumen = (shape < -wall_mm) & free
    tissue[lumen] = content
    tissue[lumen & level] = Tissue.GUT_GAS


def _draw_bowel(tissue: np.ndarray, grid: Grid, build: Build, free: Array, rng: np.random.Generator) -> None:
    """Loops of small bowel and colon in the lower abdomen, each a short bent tube."""
    a, b = build.half_width, build.half_depth
    for _ in range(16):
        centre = (rng.uniform(-95, -8), rng.uniform(-0.68, 0.12) * b, rng.uniform(-0.62, 0.68) * a)
        radii = (rng.uniform(12, 24), rng.uniform(11, 19), rng.uniform(14, 34))
        box = grid.box(centre, radii)
        part = Grid(tuple(axis[s] for axis, s in zip(grid.axes, box, strict=True)), tuple(w[box] for w in grid.warped))  # type: ignore[arg-type]
        gas_above = centre[1] + rng.uniform(-1.3, 0.3) * radii[1]
        _paint_hollow_organ(tissue[box], part, part.ellipsoid(centre, radii), free[box], gas_above, rng)


def _draw_pancreas(
    tissue: np.ndarray, grid: Grid, build: Build, free: Array, rng: np.random.Generator
) -> None:
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
    tissue: np.ndarray, grid: Grid, build: Build, free: Array, rng: np.random.Generator
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


def _draw_great_vessels(tissue: np.ndarray, grid: Grid, build: Build, free: Array) -> None:
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
        box = grid.box(middle, (abs(end[0] - start[0]) / 2 + radius, 35, 35))  # type: ignore[arg-type]
        shape = grid.capsule(start, end, (radius, radius), box)
        tissue[box][(shape < 0) & in_abdomen[box]] = kind
