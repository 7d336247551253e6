"""Hepatic and portal veins: two random trees of tapering rods inside the liver."""

from __future__ import annotations

import numpy as np

from taskct_core.phantom.body import Build
from taskct_core.phantom.grid import Grid, Point, TissueMap
from taskct_core.phantom.tissues import Tissue

MIN_RADIUS_MM = 1.2


def draw_liver_vessels(tissue: TissueMap, grid: Grid, build: Build, rng: np.random.Generator) -> None:
    """Paint both trees, and the portal trunk up to its entrance, into the tissue map."""
    a, b = build.half_width, build.half_depth
    confluence = (58.0, build.spine - 44, -28.0)  # of the hepatic veins with the vena cava
    for target in ((5.0, 0.15 * b, -0.72 * a), (0.0, -0.35 * b, -0.42 * a), (30.0, -0.5 * b, 0.1 * a)):
        _grow(tissue, grid, confluence, _towards(confluence, target), 5.0, 4, rng)
    hilum = (-4.0, -0.02 * b, -0.20 * a)
    for target in ((14.0, 0.22 * b, -0.75 * a), (-45.0, 0.05 * b, -0.66 * a), (22.0, -0.48 * b, 0.05 * a)):
        _grow(tissue, grid, hilum, _towards(hilum, target), 6.0, 4, rng)


def _towards(start: Point, target: Point) -> np.ndarray:
    return 0.5 * (np.asarray(target) - np.asarray(start))


def _grow(
    tissue: TissueMap,
    grid: Grid,
    start: Point,
    step: np.ndarray,
    radius: float,
    generations: int,
    rng: np.random.Generator,
) -> None:
    """Draw one rod and the two branches at its end; flow splits by Murray's law (r^3 = 2 r'^3)."""
    length = float(np.linalg.norm(step))
    end = np.asarray(start) + step
    tip: Point = (float(end[0]), float(end[1]), float(end[2]))
    next_radius = radius * 0.5 ** (1 / 3)
    _paint_rod(tissue, grid, start, tip, (radius, next_radius))
    if generations == 0 or next_radius < MIN_RADIUS_MM:
        return
    for turn in (0.35, 0.8):
        direction = step / length + turn * rng.standard_normal(3) / np.sqrt(3)
        branch = direction / np.linalg.norm(direction) * length * rng.uniform(0.7, 0.95)
        _grow(tissue, grid, tip, branch, next_radius, generations - 1, rng)


def _paint_rod(tissue: TissueMap, grid: Grid, start: Point, end: Point, radii: tuple[float, float]) -> None:
    middle = tuple((s + e) / 2 for s, e in zip(start, end, strict=True))
    reach = tuple(abs(e - s) / 2 + radii[0] for s, e in zip(start, end, strict=True))
    box = grid.box(middle, reach)
    part = tissue[box]
    if part.size:
        part[(grid.capsule(start, end, radii, box) < 0) & (part == Tissue.LIVER)] = Tissue.LIVER_VESSEL
