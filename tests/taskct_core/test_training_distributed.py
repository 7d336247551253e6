"""Two workers train what one worker trains: same batches, same images, within rounding."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow  # two workers in processes of their own

WORKER = Path(__file__).with_name("distributed_worker.py")
WORLD_SIZE = 2


def _load_worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distributed_worker", WORKER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


worker = _load_worker()


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(3):
        full_dose = torch.rand(4, 1, 32, 32, generator=generator) * 0.1 + 0.2
        noise = 0.02 * torch.randn(full_dose.shape, generator=generator)
        labels = torch.randint(0, 3, (4, 32, 32), generator=generator)
        batches.append({"full_dose": full_dose, "fbp": full_dose + noise, "labels": labels})
    return batches


@pytest.fixture(scope="module")
def by_two(
    batches: list[dict[str, torch.Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("workers")
    torch.save(batches, folder / "batches.pt")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-W", "ignore", str(WORKER), str(WORLD_SIZE), str(folder)]
    subprocess.run(command, env=environment, check=True, timeout=180)
    return [torch.load(folder / f"result-{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]


@pytest.mark.parametrize("case", worker.CASES)
def test_two_workers_train_the_same_as_one(
    case: str, batches: list[dict[str, torch.Tensor]], by_two: list[dict[str, Any]]
) -> None:
    alone = worker.train(case, batches)
    first, second = (result[case] for result in by_two)
    np.testing.assert_allclose(
        np.mean([first["losses"], second["losses"]], axis=0), alone["losses"], rtol=1e-3
    )
    for outputs in ("images", "logits"):
        torch.testing.assert_close(first[outputs], second[outputs], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            first[outputs], alone[outputs], rtol=1e-2, atol=1e-2 * alone[outputs].std()
        )
    assert first["scales"] == second["scales"]
