"""Several judges of an experiment: which are refused, and that a trial goes on with those it began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.config import ExperimentConfig
from study.experiment.experiment import Experiment
from study.experiment.preflight import check_space
from study.trials import epoch_log
from study.trials.inputs import TrialInputs, Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import ParallelBeam
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.storage import save_task_network


class Killed(Exception):
    """Stands for a process that ends after an epoch."""


def network_folder(folder: Path, seed: int, patients: dict[str, list[str]] | None = None) -> str:
    config = TaskNetworkConfig(architecture_parameters={"width": 4}, seed=seed)
    save_task_network(build_task_network(config), folder, data_hash="", scores={}, patients=patients)
    return str(folder)


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("judges")
    return [network_folder(root / str(seed), seed) for seed in (5, 6)]


def experiment_of(small: Any, **changes: Any) -> ExperimentConfig:
    return ExperimentConfig.parse(small.experiment.model_dump() | changes)


def inputs_of(small: Any, judges: list[str]) -> TrialInputs:
    return TrialInputs(
        feeds={split: small.feed(split, slices=8) for split in ("train", "validation")},
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
        further_judges=tuple(judges),
    )


def test_a_killed_trial_goes_on_with_the_judge_of_each_step(
    small: Any, judges: list[str], tmp_path: Path
) -> None:
    def die(row: EpochRow) -> None:
        if row[schema.EPOCH] == 1:
            raise Killed

    config = small.experiment.trial.model_copy(update={"epochs": 2, "judges": "random", "alpha": 0.9})
    inputs = inputs_of(small, judges)
    run_trial(config, tmp_path / "whole", inputs, Worker(), lambda row: None)
    with pytest.raises(Killed):
        run_trial(config, tmp_path / "parts", inputs, Worker(), die)
    run_trial(config, tmp_path / "parts", inputs, Worker(), lambda row: None)
    whole, parts = (epoch_log.read(tmp_path / name)[-1] for name in ("whole", "parts"))
    for name in (schema.LOSS, schema.VALIDATION_LOSS, schema.PRIMARY_PSNR):
        assert whole[name] == parts[name]
    hashes = str(whole[schema.FURTHER_JUDGES_HASH]).split()
    assert len(set(hashes)) == 2
    with pytest.raises(DataError, match="task network hash further"):
        run_trial(config, tmp_path / "parts", inputs_of(small, judges[:1]), Worker(), lambda row: None)


def test_a_judge_is_another_network_each_time(small: Any, judges: list[str]) -> None:
    first = str(small.workspace.task_network)
    found = Experiment(experiment_of(small, further_judges=judges, audit=None))
    assert list(found.further_judges) == judges
    with pytest.raises(ConfigError, match="further_judges must name other"):
        _ = Experiment(experiment_of(small, further_judges=[first])).further_judges
    with pytest.raises(ConfigError, match="further_judges must name other"):
        _ = Experiment(experiment_of(small, further_judges=[judges[0], judges[0]])).further_judges
    with pytest.raises(ConfigError, match="audit must name another"):
        _ = Experiment(experiment_of(small, further_judges=judges, audit=judges[1])).audit


def test_a_judge_that_knows_a_scored_patient_is_refused(small: Any, tmp_path: Path) -> None:
    tested = {"train": small.card.patients["test"][:1]}
    folder = network_folder(tmp_path, 7, tested)
    with pytest.raises(DataError, match="further task network"):
        _ = Experiment(experiment_of(small, further_judges=[folder])).further_judges


def test_several_judges_need_several_networks_before_anything_starts(small: Any, judges: list[str]) -> None:
    trial = small.experiment.trial.model_dump() | {"judges": "ensemble"}
    with pytest.raises(ConfigError, match="name their folders in further_judges"):
        experiment_of(small, trial=trial)
    space = {"judges": {"kind": "choice", "values": ["first", "random"]}}
    study = small.experiment.study.model_dump() | {"space": space}
    with pytest.raises(ConfigError, match="further_judges names none"):
        check_space(experiment_of(small, study=study))
    check_space(experiment_of(small, study=study, further_judges=judges))
