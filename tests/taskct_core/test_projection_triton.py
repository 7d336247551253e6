"""The Triton projector in Triton's interpreter on the CPU, or compiled where there is a GPU.

Triton chooses its interpreter as it is imported, so the checks run in a process of their own.
"""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from taskct_core.geometry import PRESETS
from taskct_core.projection.symmetric import SymmetricProjector

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SCAN = dataclasses.replace(PRESETS["tiny"], image_shape=(10, 12), num_bins=19, num_angles=8)
SCANS = {
    "rectangular image": SCAN,
    "odd image, even and dense detector": dataclasses.replace(
        SCAN, image_shape=(9, 9), num_bins=12, bin_spacing_mm=2.0
    ),
    "sparse detector": dataclasses.replace(SCAN, bin_spacing_mm=9.0),
}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_matches_the_matrix_and_is_adjoint() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1" if DEVICE.type == "cpu" else "0"}
    command = [sys.executable, __file__]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def check(name: str) -> None:
    from taskct_core.projection.triton_projector import TritonProjector

    scan = SCANS[name]
    projector = TritonProjector(scan, DEVICE)
    matrix = SymmetricProjector(scan, torch.float32, DEVICE)
    for batch in (0, 3):
        images = torch.rand(batch, *scan.image_shape, device=DEVICE)
        sinograms = torch.rand(batch, *scan.sinogram_shape, device=DEVICE)
        projected, backprojected = projector.project(images), projector.backproject(sinograms)
        torch.testing.assert_close(projected, matrix.project(images), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(backprojected, matrix.backproject(sinograms), rtol=1e-4, atol=1e-6)
        left, right = (projected.double() * sinograms).sum(), (images.double() * backprojected).sum()
        assert abs(left - right) <= 1e-6 * abs(left)


if __name__ == "__main__":
    for name in SCANS:
        print(name, flush=True)  # in the captured output of a failure
        check(name)
