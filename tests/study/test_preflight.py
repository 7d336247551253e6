"""What cannot run is told before it starts, all of it at once."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from study.cli import stages
from study.config import ExperimentConfig
from study.experiment import preflight
from study.experiment.preflight import (
    check_before_study,
    check_room_for_trials,
    check_space,
    disk_problems,
    resource_problems,
)
from study.trials.inputs import TrialInputs
from taskct_core.errors import ResourceError
from taskct_core.geometry import ParallelBeam


def _experiment(small, **sections: dict[str, Any]) -> ExperimentConfig:
    values = small.experiment.model_dump()
    for section, changes in sections.items():
        values[section] |= changes
    return ExperimentConfig.parse(values)


@pytest.mark.parametrize(
    ("execution", "trials", "fits"),
    [
        ({"executor": "actor"}, 2, True),
        ({"executor": "actor"}, 3, False),
        ({"executor": "actor", "simulation_cpus": 1}, 1, True),
        ({"executor": "actor", "simulation_cpus": 1}, 2, False),
        ({"executor": "train"}, 1, True),
        ({"executor": "train"}, 2, True),  # the worker is the process that Ray Tune keeps
        ({"executor": "train", "cpus_per_worker": 0.9}, 2, True),
        ({"executor": "train", "workers_per_trial": 2}, 1, False),
        ({"executor": "actor", "use_gpu": True}, 1, False),
    ],
)
def test_trials_must_fit_a_machine_of_two_cpus(
    small, execution: dict[str, Any], trials: int, fits: bool
) -> None:
    experiment = _experiment(small, execution=execution, study={"max_concurrent_trials": trials})
    assert (resource_problems(experiment, {"CPU": 2.0}) == []) == fits


def test_disk_for_all_checkpoints(small, tmp_path: Path) -> None:
    study = small.experiment.study
    assert disk_problems(study, tmp_path / "not" / "yet", 1000) == []
    assert "GB free" in disk_problems(study, tmp_path, 10**15)[0]


class Broken(nn.Module):
    """A user's network that fails at the data's size."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.reshape(1, 2, 3)


def test_no_patient_is_simulated_for_trials_that_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(preflight, "alive_nodes", lambda: [{"Resources": {"CPU": 2.0}}])
    monkeypatch.setattr(stages, "_session", lambda _experiment: nullcontext())
    monkeypatch.setattr(stages, "_simulate", lambda _stage: pytest.fail("patients are simulated first"))
    source = {"kind": "phantom", "patients": 4, "slices_per_patient": 2, "pixels": 64}
    values = {"name": "crowded", "output": str(tmp_path), "data": {"source": source}}
    experiment = ExperimentConfig.parse(values | {"study": {"max_concurrent_trials": 4}})
    with pytest.raises(ResourceError, match="4 trials at a time need 4 CPU"):
        stages.run_all(experiment)
    assert not list(tmp_path.rglob("*.parquet"))


def test_every_problem_is_named_at_once(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(preflight, "_cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(preflight, "alive_nodes", lambda: [{"Resources": {"CPU": 0.5}}])
    values: dict[str, dict] = {"unet": {}, "learned_primal_dual": {}, "test_preflight:Broken": {}}
    experiment = _experiment(
        small,
        study={"max_concurrent_trials": 4, "space": {"architecture": {"kind": "choice", "values": values}}},
    )
    inputs = TrialInputs(
        feeds={"train": small.feed("train")},
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
    )
    with pytest.raises(ResourceError) as caught:
        check_before_study(experiment, tmp_path, inputs, check_space(experiment))
    message = str(caught.value)
    with pytest.raises(ResourceError, match=r"4 trials at a time need 4 CPU.*1 CPU on one node"):
        check_room_for_trials(experiment)
    growing = _experiment(small, execution={"autoscaling": True}, study={"max_concurrent_trials": 4})
    check_before_study(growing, tmp_path, inputs, check_space(growing))  # the nodes are still to come
    check_room_for_trials(growing)
    assert "4 trials at a time need 4 CPU" in message
    assert "test_preflight:Broken" in message
    assert "1 CPU on one node" in message
    assert "sinogram" in message
    assert "unet:" not in message
