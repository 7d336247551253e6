"""Another study's history informs a study's sampler, in another space too, and is never a trial of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lookup_trainable import SPACE, row_at
from studies import Killed, killed_at_write, run_here, study_config, table

from study.config import StudyConfig
from study.monitor.status import study_status
from study.search.space import SearchSpace
from study.search.storage.warm_start import WarmStart, warm_start
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, DataError, StudyError
from taskct_core.schema import COMPLETE, PARAMETERS, PRIMARY_DICE, PRIMARY_PSNR

DIRECTIONS = dict.fromkeys((PRIMARY_DICE, PRIMARY_PSNR), "maximize")


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pilot")
    run_here(study_config(trials=12, sampler={"name": "random"}), folder)
    return folder


def taken(folder: Path, pilot: Path, **settings: Any) -> WarmStart:
    config = study_config(warm_start=str(pilot), **settings)
    return warm_start(folder, config, SearchSpace.parse(config.space), DIRECTIONS)


def test_of_the_same_space_all_is_known(tmp_path: Path, pilot: Path) -> None:
    start, space = taken(tmp_path, pilot), SearchSpace.parse(SPACE)
    records = run_here(study_config(trials=12, sampler={"name": "random"}), pilot).trials
    assert start.dropped == 0 and len(start.known) == 12
    for known, trial, record in zip(start.known, start.trials(space), records, strict=True):
        assert space.values_of(known.parameters) == record.values
        assert known.values == [record.objectives[name] for name in DIRECTIONS]
        assert trial.number == record.trial - 12 and trial.values == known.values


def test_in_another_space_what_lies_outside_is_dropped_and_counted(tmp_path: Path, pilot: Path) -> None:
    space = {
        "alpha": {"kind": "uniform", "low": 0.3, "high": 1.0},
        "architecture": {
            "kind": "choice",
            "values": {"unet": {"width": {"kind": "int", "low": 8, "high": 32}}},
        },
        "batch_size": {"kind": "int", "low": 1, "high": 8},
    }
    records = run_here(study_config(trials=12, sampler={"name": "random"}), pilot).trials
    inside = [r for r in records if r.values["alpha"] >= 0.3 and r.values["architecture"] == "unet"]
    start = taken(tmp_path, pilot, space=space)
    assert 0 < len(inside) < 12 and start.dropped == 12 - len(inside)
    expected = [
        {
            "alpha": r.values["alpha"],
            "architecture": "unet",
            "unet.width": r.values["architecture_parameters"]["width"],
        }
        for r in inside
    ]
    assert [known.parameters for known in start.known] == expected


def test_constraints_are_those_of_this_study(tmp_path: Path, pilot: Path) -> None:
    start = taken(tmp_path, pilot, constraints={PARAMETERS: 10_000.0})
    space = SearchSpace.parse(SPACE)
    for known, trial in zip(start.known, start.trials(space), strict=True):
        expected = row_at(space.values_of(known.parameters), 4)[PARAMETERS] - 10_000.0
        assert trial.constraints == {PARAMETERS: expected}


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_first_proposal_is_informed_and_nothing_of_the_other_is_shown(
    tmp_path: Path, pilot: Path, sampler: str
) -> None:
    """Only what the other study says differs between the two: its best alphas stand at opposite ends."""
    first = {}
    for name, low, high in (("low", 0.0, 0.2), ("high", 0.8, 1.0)):
        other = tmp_path / f"other-{name}"
        narrow = {"alpha": {"kind": "uniform", "low": low, "high": high}}
        run_here(study_config(trials=10, space=narrow, sampler={"name": "random"}), other)
        space = {"alpha": {"kind": "uniform", "low": 0.0, "high": 1.0}}
        config = study_config(
            trials=1, space=space, warm_start=str(other), sampler={"name": sampler, "startup_trials": 4}
        )
        summary = run_here(config, tmp_path / name)
        assert [record.trial for record in summary.trials] == [0] and summary.trials[0].status == COMPLETE
        status = study_status(tmp_path / name)
        assert status.trials == 1 and status.counts == {COMPLETE: 1} and len(status.front) == 1
        first[name] = summary.trials[0].values["alpha"]
    assert first["low"] != first["high"]


def test_a_study_goes_on_when_the_other_is_gone(tmp_path: Path, pilot: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(pilot, other)
    config = study_config(trials=5, warm_start=str(other))
    expected = table(run_here(config, tmp_path / "whole").trials)
    with pytest.raises(Killed), killed_at_write(40):
        run_here(config, tmp_path / "killed")
    shutil.rmtree(other)
    assert table(run_here(config, tmp_path / "killed").trials) == expected
    with pytest.raises(StudyError, match=r"warm start: .* -> absent"):
        run_here(study_config(trials=5), tmp_path / "killed")


def test_what_cannot_inform_is_refused(tmp_path: Path, pilot: Path) -> None:
    with pytest.raises(ConfigError, match="objectives"):
        taken(tmp_path, pilot, objectives=[PRIMARY_PSNR, PRIMARY_DICE])
    with pytest.raises(ConfigError, match="none in the space"):
        taken(tmp_path, pilot, space={"batch_size": {"kind": "int", "low": 1, "high": 8}})
    with pytest.raises(StudyError, match="taskct study run"):
        taken(tmp_path, tmp_path / "nowhere")
    assert not StudyFolder(tmp_path).warm_start.exists()
    for name in ("random", "qmc", "grid", "nsga2", "nsga3"):
        with pytest.raises(ConfigError, match="learns from other trials"):
            StudyConfig.parse({"warm_start": "other", "sampler": {"name": name}})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"known": [{"parameters": 3, "values": [1, 2], "constraints": {}}], "dropped": 0}',
        '{"known": [{"parameters": {"alpha": 7}, "values": [1, 2], "constraints": {}}], "dropped": 0}',
        '{"known": [{"parameters": {"alpha": 0.5}, "values": [NaN, 2], "constraints": {}}], "dropped": 0}',
        '{"known": [{"parameters": {"alpha": 0.5}, "values": [1], "constraints": {}}], "dropped": 0}',
    ],
)
def test_damage_is_told(tmp_path: Path, pilot: Path, content: str) -> None:
    StudyFolder(tmp_path).warm_start.write_text(content)
    with pytest.raises(DataError, match="remove it"):
        taken(tmp_path, pilot)
    StudyFolder(tmp_path).warm_start.unlink()
    assert json.loads(json.dumps(taken(tmp_path, pilot).dropped)) == 0
