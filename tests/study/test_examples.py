"""The examples of docs/extending.md run as they stand."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studies import run_here, study_config

from study.config import SourceConfig
from study.trials.inputs import Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.errors import ConfigError
from taskct_core.losses import build_image_loss, build_task_loss
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.pretraining import Pretraining
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


def test_an_own_task_network_is_pretrained_and_segments() -> None:
    config = TaskNetworkConfig(architecture="own_task_network:Thresholds", classes="liver_tumour", epochs=2)
    pretraining = Pretraining(config)
    labels = torch.zeros(4, 32, 32, dtype=torch.int64)
    labels[:, 8:24, 8:24] = 1
    batch: Any = {"full_dose": 0.2 + 0.1 * labels[:, None], "labels": labels}
    losses = [pretraining.train_epoch([batch] * 10)["loss"] for _ in range(2)]
    assert losses[1] < losses[0]
    assert pretraining.network.predict(torch.rand(2, 1, 32, 32)).shape == (2, 32, 32)


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


def test_a_study_searches_with_an_own_sampler(tmp_path: Path) -> None:
    def distinct_rates(keep: float) -> int:
        """Among the learning rates of twelve trials; one that is as another in all is replaced."""
        sampler = {"name": "own_sampler:Crossover", "options": {"keep": keep}}
        config = study_config(trials=12, sampler=sampler, pruner={"name": "none"})
        trials = run_here(config, tmp_path / str(keep)).trials
        rates = [trial.values["learning_rate"] for trial in trials if trial.status == schema.COMPLETE]
        assert len(rates) == 12
        return len(set(rates))

    assert distinct_rates(0) == 12
    assert distinct_rates(0.7) < 8  # taken from trials of the front, not drawn


def test_a_callback_is_told_of_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    import own_callback

    from study.search.events import TrialFinished

    own_callback.tell(TrialFinished(3, schema.COMPLETE, {}, None))
    assert capsys.readouterr().out == "trial 3: COMPLETE\n"


@pytest.mark.slow
def test_the_callback_s_file_runs_a_study(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["own_callback.py", str(tmp_path / "study")])
    runpy.run_path(str(EXAMPLES / "own_callback.py"), run_name="__main__")
    assert sorted(capsys.readouterr().out.splitlines()) == [f"trial {n}: COMPLETE" for n in range(3)]


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
