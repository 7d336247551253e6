"""How many times faster than the ODL/ASTRA route is the simulation of low-dose slices on one core?

    python benchmarks/simulation.py
    python benchmarks/simulation.py --json result.json   # flat keys

Both take the same 512-pixel slices through LoDoPaB-CT's whole procedure, 1000-pixel guard and FBP
included: ours is ``simulate_slices``; the other is written out below with scikit-image, ODL and ASTRA
as the data set's own scripts use them. They take turns, on the same core with one thread; seconds are
medians a slice.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import odl
import torch
from numpy.typing import NDArray
from projector import measure, odl_operators, pin, provenance
from skimage.transform import resize

from taskct_core.geometry import PRESETS
from taskct_core.hounsfield import MU_MAX
from taskct_core.projection.guarded import GUARD_PIXELS, project_guarded
from taskct_core.schema import FBP, FULL_DOSE
from taskct_core.simulation.config import LODOPAB_PHOTONS_PER_RAY, SimulationConfig
from taskct_core.simulation.photons import ZERO_COUNT_REPLACEMENT, normalise_hu
from taskct_core.simulation.slices import simulate_slices

GOAL = 20
LODOPAB_SLICES = 42_895
SCAN = PRESETS["lodopab"]
CONFIG = SimulationConfig(
    preset="lodopab", field_of_view="crop", logarithm="zero_replacement", fbp_filter="ram-lak"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slices", type=int, default=8, help="slices of one call of ours")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    pin("cpu")
    hu = body_slices(options.slices)
    route = odl_route()
    began = time.perf_counter()
    columns = ours(hu)
    first_call = time.perf_counter() - began
    seconds = measure(
        {"ours": (lambda: ours(hu), len(hu)), "odl_astra": (lambda: route(hu[0]), 1)}, options.repeats, "cpu"
    )
    after_few = resident_gib()
    for _ in range(3):
        ours(hu)
    result: dict[str, Any] = {
        "simulation_ratio": seconds["odl_astra"] / seconds["ours"],
        **{f"{name}_ms_per_slice": 1000 * value for name, value in seconds.items()},
        "lodopab_core_hours": LODOPAB_SLICES * seconds["ours"] / 3600,
        **accuracy(hu[0], columns, route(hu[0])),
        "first_call_s": first_call,
        "peak_memory_gib": resident_gib(),
        "memory_growth_gib": resident_gib() - after_few,
        **provenance("cpu"),
    }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def body_slices(count: int) -> NDArray[np.int16]:
    """Slices of 512 pixels with an elliptic body and random round organs, inside LoDoPaB's crop."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:512, :512] - 255.5
    slices = np.full((count, 512, 512), -1000, np.int16)
    for image in slices:
        image[(rows / 120) ** 2 + (columns / 165) ** 2 < 1] = 20
        for _ in range(12):
            row, column, radius = rng.uniform(-70, 70), rng.uniform(-110, 110), rng.uniform(5, 35)
            image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.integers(-120, 300)
    return slices


def ours(hu: NDArray[np.int16]) -> dict[str, NDArray[Any]]:
    labels = np.zeros(hu.shape, np.uint8)
    return simulate_slices(
        hu, labels, spacing_mm=(0.7, 0.7), patient="benchmark", slice_indices=range(len(hu)), config=CONFIG
    )


def odl_route() -> Callable[[NDArray[np.int16]], tuple[NDArray[Any], NDArray[Any]]]:
    """A function from a slice to (noise-free line integrals, FBP), with ODL on ASTRA's CPU projector."""
    half_image, half_detector = 0.13, SCAN.num_bins * SCAN.bin_spacing_mm / 2000
    fine = odl.uniform_discr([-half_image] * 2, [half_image] * 2, (GUARD_PIXELS,) * 2, dtype="float32")
    tomo = odl.applications.tomo
    scan = tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, SCAN.num_angles),
        odl.uniform_partition(-half_detector, half_detector, SCAN.num_bins),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the CPU is slow is the question
        project_fine = tomo.RayTransform(fine, scan, impl="astra_cpu")
    coarse, fbp = odl_operators(SCAN)
    rng = np.random.default_rng(0)

    def simulate(hu: NDArray[np.int16]) -> tuple[NDArray[Any], NDArray[Any]]:
        image = normalise_hu(hu[75:-75, 75:-75] + rng.random((362, 362))).astype(np.float32)
        fine_image = resize(image * MU_MAX, (GUARD_PIXELS,) * 2, order=1)
        line_integrals = np.array(project_fine(fine.element(fine_image)).data)
        counts = rng.poisson(LODOPAB_PHOTONS_PER_RAY * np.exp(-line_integrals)).astype(np.float32)
        counts[counts == 0] = ZERO_COUNT_REPLACEMENT
        observed = -np.log(counts / LODOPAB_PHOTONS_PER_RAY) / MU_MAX
        return line_integrals / MU_MAX, np.array(fbp(coarse.range.element(observed)).data)

    return simulate


def accuracy(
    hu: NDArray[np.int16], columns: dict[str, NDArray[Any]], route: tuple[NDArray[Any], NDArray[Any]]
) -> dict[str, float]:
    """How the two routes' results compare: exactly before the noise, in PSNR after it."""
    line_integrals, fbp = route
    full_dose = columns[FULL_DOSE][0]
    projected = project_guarded(SCAN, torch.from_numpy(full_dose)[None])[0].numpy()
    return {
        # The routes draw different dequantisation noise, below 1 HU.
        "noise_free_error": float(
            np.linalg.norm(projected - line_integrals) / np.linalg.norm(line_integrals)
        ),
        "fbp_psnr_ours": psnr(columns[FBP][0], full_dose),
        "fbp_psnr_odl_astra": psnr(fbp, full_dose),
    }


def psnr(image: NDArray[Any], reference: NDArray[Any]) -> float:
    return float(-10 * np.log10(np.mean((image - reference) ** 2)))


def resident_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(result: dict[str, Any]) -> None:
    ratio = result["simulation_ratio"]
    verdict = "reached" if ratio >= GOAL else f"missed by a factor of {GOAL / ratio:.2f}"
    print(
        f"LoDoPaB-CT slices on {result['hardware']}: ours {result['ours_ms_per_slice']:.0f} ms, "
        f"ODL/ASTRA {result['odl_astra_ms_per_slice']:.0f} ms: {ratio:.1f}x, goal {GOAL}x {verdict}"
    )
    print(f"all {LODOPAB_SLICES} slices: {result['lodopab_core_hours']:.2f} core-hours (goal 2)")
    print(f"noise-free sinograms differ by {result['noise_free_error']:.1e} (relative L2)")
    print(f"FBP PSNR: ours {result['fbp_psnr_ours']:.2f} dB, ODL/ASTRA {result['fbp_psnr_odl_astra']:.2f} dB")
    print(f"peak memory {result['peak_memory_gib']:.2f} GiB, growing {result['memory_growth_gib']:.2f} GiB")


if __name__ == "__main__":
    main()
