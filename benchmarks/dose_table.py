"""What noise and bias, in HU, do how many photons give, and which share of the reference dose are they?

    python benchmarks/dose_table.py                     # the table of docs/physics.md
    python benchmarks/dose_table.py --json result.json  # flat keys

A water cylinder of 300 mm is scanned by each preset with a field of 400 mm. ``noise``: standard deviation of FBP in the
liver region, predicted (``taskct_core.simulation.exposure``) and measured over draws. ``bias``: mean difference from the
noise-free FBP in the middle of an ellipse of water as large as a wide patient, 280 x 380 mm, with the default logarithm
and with zero replacement alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
from bench_record import write_result
from numpy.typing import NDArray

from taskct_core.hounsfield import MU_AIR, MU_MAX, MU_WATER
from taskct_core.schema import FBP
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.exposure import LIVER_RADIUS_MM, dose_in_words
from taskct_core.simulation.slices import geometry_of, simulate_slices

FIELD_MM = 400.0
PHOTONS = {
    "tiny": (200.0, 800.0, 4e3, 1e5),
    "small": (1e3, 4e3, 2e4, 1e5),
    "lodopab": (4e3, 2e4, 6e4, 2.4e5),
}
DRAWS = {"tiny": 40, "small": 20, "lodopab": 6}
HU_PER_UNIT = MU_MAX * 1000 / (MU_WATER - MU_AIR)


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| preset | photons a ray | dose fraction | noise predicted | measured | bias | zero replacement |")
    print("|---|---|---|---|---|---|---|")
    result: dict[str, Any] = {}
    for preset, levels in PHOTONS.items():
        for photons in levels:
            row = measure(preset, photons)
            result |= {f"{preset}_{photons:g}_{name}": value for name, value in row.items()}
            print(
                f"| `{preset}` | {photons:g} | {100 * row['dose_fraction']:.2g} % | {row['noise_predicted']:.1f} | "
                f"{row['noise']:.1f} | {row['bias']:+.1f} | {row['bias_zero_replacement']:+.1f} |",
                flush=True,
            )
    if options.json:
        write_result(options.json, result)


def measure(preset: str, photons: float) -> dict[str, float]:
    """One row of the table."""
    config = SimulationConfig.parse(
        {
            "preset": preset,
            "field_of_view_mm": FIELD_MM,
            "photons_per_ray": photons,
            "dequantisation_noise": False,
        }
    )
    plain = config.model_copy(update={"logarithm": "zero_replacement"})
    words = dose_in_words(config, geometry_of(config))
    return {
        "dose_fraction": float(np.max(words["dose_fraction"])),
        "noise_predicted": float(np.max(words["noise_hu"])),
        "noise": _noise(config),
        "bias": _bias(config),
        "bias_zero_replacement": _bias(plain),
    }


def _noise(config: SimulationConfig) -> float:
    images, distance = _scan(config, 300, 300, DRAWS[config.preset])
    ring = np.abs(distance - LIVER_RADIUS_MM) < 10
    return float(np.sqrt(images[:, ring].var(axis=0, ddof=1).mean()))


def _bias(config: SimulationConfig) -> float:
    images, distance = _scan(config, 280, 380, DRAWS[config.preset])
    exact, _ = _scan(config.model_copy(update={"photons_per_ray": 1e10}), 280, 380, 1)
    middle = distance < 40
    return float(images[:, middle].mean() - exact[:, middle].mean())


def _scan(
    config: SimulationConfig, height_mm: float, width_mm: float, draws: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FBP of an ellipse of water in HU, and each pixel's distance from the centre in mm."""
    rows, columns = (np.indices((512, 512)) - 255.5) * (FIELD_MM / 512)
    inside = (2 * rows / height_mm) ** 2 + (2 * columns / width_mm) ** 2 < 1
    hu = np.repeat(np.where(inside, 0, -1000).astype(np.int16)[None], draws, axis=0)
    samples = simulate_slices(
        hu,
        np.zeros(hu.shape, np.uint8),
        spacing_mm=(FIELD_MM / 512,) * 2,
        patient="water",
        slice_indices=range(draws),
        config=config,
    )
    pixels = samples[FBP].shape[1]
    distance = np.hypot(*(np.indices((pixels, pixels)) - (pixels - 1) / 2)) * (FIELD_MM / pixels)
    return samples[FBP].astype(np.float64) * HU_PER_UNIT, distance


if __name__ == "__main__":
    main()
