"""The examples of docs/extending.md run as they stand."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.config import SourceConfig
from study.trials.inputs import Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.errors import ConfigError
from taskct_core.losses import build_image_loss, build_task_loss
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.volumes import list_patients, read_volume

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for file in EXAMPLES.glob("*.py"):
        sys.modules.pop(file.stem, None)


def test_a_trial_of_own_reconstructor_loss_and_objective_learns(small: Any, tmp_path: Path) -> None:
    inputs = small.trial_inputs(shown=True, objectives=("own_objective:worst_psnr",))
    config = type(small.experiment.trial).parse(
        {
            "architecture": "own_reconstructor:ThreeLayers",
            "architecture_parameters": {"width": 4},
            "image_loss": "mse + 0.5*own_image_loss:edges",
            "epochs": 2,
            "batch_size": 4,
        }
    )
    rows: list[Any] = []
    run_trial(config, tmp_path, inputs, Worker(), rows.append)
    assert rows[-1]["loss"] < rows[0]["loss"] and np.isfinite(rows[-1]["own_objective:worst_psnr"])


def test_an_own_task_network_gives_logits_for_its_classes() -> None:
    config = TaskNetworkConfig(architecture="own_task_network:Thresholds", classes="liver_tumour")
    network = TaskNetwork.from_config(config)
    assert network.predict(torch.rand(2, 1, 32, 32)).shape == (2, 32, 32)


def test_an_own_source_lists_and_reads_patients(tmp_path: Path) -> None:
    hu = np.full((2, 64, 64), -1000, np.int16)
    hu[:, 8:56, 8:56] = -100
    hu[:, 10:54, 10:54] = 50
    hu[:, 44:50, 28:36] = 600
    labels = np.zeros(hu.shape, np.uint8)
    labels[:, 20:34, 14:28] = 1
    np.savez(tmp_path / "a.npz", hu=hu, labels=labels, spacing_mm=[5.0, 5.0, 5.0])
    source = SourceConfig(kind="own_source:boxes", path=str(tmp_path))
    (reference,) = list_patients(**source.keywords())
    volume = read_volume(reference)
    assert volume.patient == "a" and volume.spacing_mm == (5.0, 5.0, 5.0) and (volume.hu == hu).all()


def test_a_callback_is_told_of_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    import own_callback

    from study.search.events import TrialFinished

    own_callback.tell(TrialFinished(3, schema.COMPLETE, {}, None))
    assert capsys.readouterr().out == "trial 3: COMPLETE\n"


def test_a_plain_function_is_a_loss_and_says_what_it_must_return(monkeypatch: pytest.MonkeyPatch) -> None:
    import own_image_loss

    image, truth = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    loss = build_image_loss("own_image_loss:edges")
    assert loss(image, image) == 0 and loss(image, truth) > 0
    monkeypatch.setattr(own_image_loss, "per_pixel", lambda a, b: (a - b).square(), raising=False)
    monkeypatch.setattr(own_image_loss, "makes_one", lambda: torch.nn.L1Loss(), raising=False)
    with pytest.raises(ConfigError, match="one number"):
        build_image_loss("own_image_loss:per_pixel")(image, truth)
    assert build_image_loss("own_image_loss:makes_one")(image, image) == 0
    assert isinstance(build_task_loss("own_image_loss:edges"), torch.nn.Module)


def test_the_page_names_every_example() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    named = set(re.findall(r"examples/(\w+\.py)", page))
    assert named == {file.name for file in EXAMPLES.glob("*.py")}
