"""What the tests of models, losses, metrics and training share: a few slices with a liver and tumours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taskct_core.geometry import ParallelBeam
from taskct_core.task_networks.config import TaskNetworkConfig

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves helper modules to be found

Batch = dict[str, Any]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_scan() -> ParallelBeam:
    """24 pixels, so that projecting reconstructors are quick."""
    return ParallelBeam(
        image_shape=(24, 24), pixel_spacing_mm=10.0, num_bins=35, bin_spacing_mm=10.0, num_angles=32
    )


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """``make_batch(count, side, seed)``: discs of body, liver and, in every second slice, tumour."""
    return _make_batch


@pytest.fixture
def network_config() -> TaskNetworkConfig:
    """A task network small enough for tests."""
    return TaskNetworkConfig(architecture_parameters={"width": 4})


def _make_batch(count: int = 4, side: int = 32, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    labels = np.zeros((count, side, side), dtype=np.int64)
    image = np.zeros((count, side, side), dtype=np.float32)
    for index in range(count):
        shift = rng.uniform(-0.05, 0.05, size=2)
        radius = np.hypot(rows - shift[0], columns - shift[1])
        image[index][radius < 0.42] = 0.245
        labels[index][radius < 0.25] = 1
        if index % 2:
            labels[index][np.hypot(rows - shift[0] - 0.1, columns - shift[1]) < 0.09] = 2
        image[index] += np.choose(labels[index], [0.0, 0.015, 0.005])
    full_dose = torch.from_numpy(image).unsqueeze(1)
    noise = torch.from_numpy(rng.normal(0, 0.02, (count, 1, side, side)).astype(np.float32))
    return {
        "full_dose": full_dose,
        "fbp": full_dose + noise,
        "labels": torch.from_numpy(labels),
        "patient": [f"patient-{index // 2}" for index in range(count)],
        "slice_index": list(range(count)),
    }
