"""A user's own objective and own trainable, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from own_plugins import WORST_PSNR
from studies import run_here, study_config

from study import objective
from study.trials import epoch_log
from study.trials.inputs import Worker
from study.trials.plugins import metric_directions, own_scores
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.errors import ConfigError, TrainingError
from taskct_core.schema import PRIMARY_DICE, PRIMARY_PSNR


def test_directions_are_those_declared() -> None:
    directions = metric_directions([PRIMARY_DICE, WORST_PSNR, "own_plugins:broken"])
    assert (directions[WORST_PSNR], directions["own_plugins:broken"]) == ("maximize", "minimize")
    assert directions[PRIMARY_DICE] == "maximize"
    with pytest.raises(ConfigError, match="maximize or minimize"):
        objective("upwards")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_plugins:undeclared", "declares its direction"),
        ("own_plugins:WORST_PSNR", "declares its direction"),
        ("own_plugins:absent", "importable"),
        ("no_such_module:f", "importable"),
    ],
)
def test_an_objective_that_is_none_is_refused_before_the_study_starts(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_here(study_config(objectives=[name]), tmp_path, directions=None)
    assert not list(tmp_path.iterdir())


def test_an_objective_that_raises_says_why() -> None:
    rows = [{PRIMARY_PSNR: 30.0}, {PRIMARY_PSNR: 20.0}]
    assert own_scores([PRIMARY_DICE, WORST_PSNR], rows) == {WORST_PSNR: 20.0}
    with pytest.raises(TrainingError, match="own_plugins:broken: KeyError: 'no_such_column'"):
        own_scores(["own_plugins:broken"], rows)


def test_an_own_objective_is_a_column_of_every_evaluation(small, tmp_path: Path) -> None:
    inputs = small.trial_inputs(slices=2)
    run_trial(
        small.experiment.trial,
        tmp_path,
        replace(inputs, objectives=(WORST_PSNR,)),
        Worker(),
        lambda row: None,
    )
    for row in [*epoch_log.read(tmp_path), *read_rows(tmp_path / TrialFolder.final)]:
        assert row[WORST_PSNR] <= row[PRIMARY_PSNR]
    samples = pd.read_parquet(tmp_path / StudyFolder.samples)
    assert row[WORST_PSNR] == pytest.approx(samples[samples[schema.SPLIT] == "test"][PRIMARY_PSNR].min())
