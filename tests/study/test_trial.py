"""One trial: learns, resumes exactly, leaves its record, and refuses what does not belong together."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study.data.fresh_samples import FreshSamples
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from study.trials import epoch_log
from study.trials.inputs import TrialInputs, Worker
from study.trials.panels import PANEL_SLICES, choose_panel
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.errors import DataError, TrainingError
from taskct_core.geometry import ParallelBeam
from taskct_core.simulation.config import FreshDrawConfig, SimulationConfig
from taskct_core.task_networks import load_task_network_card

VOLATILE = {
    schema.SECONDS,
    schema.SECONDS_PER_SLICE,
    schema.PEAK_MEMORY_MB,
    schema.FINISHED_AT,
    schema.GIT_COMMIT,
    schema.GIT_CHANGED,
}


class Killed(Exception):
    """Stands for a process that ends after an epoch was logged, checkpointed and reported."""


@pytest.fixture(scope="module")
def inputs(small) -> TrialInputs:
    feeds = {split: small.feed(split) for split in schema.SPLITS}
    return TrialInputs(
        feeds=feeds,
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
        panel=choose_panel(feeds),
    )


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in epoch_log.read(folder)]


def _config(small, **changes: Any):
    return small.experiment.trial.model_copy(update={"epochs": 3, "learning_rate": 5e-3} | changes)


def test_a_trial_improves_on_fbp_and_leaves_its_record(small, inputs: TrialInputs, tmp_path: Path) -> None:
    reported: list[dict[str, Any]] = []
    config = _config(small, alpha=0.5, epochs=6)
    run_trial(config, tmp_path, inputs, Worker(), reported.append, trial=7)
    rows = epoch_log.read(tmp_path)
    assert [row[schema.EPOCH] for row in reported] == [1, 2, 3, 4, 5, 6]
    assert reported == rows
    assert rows[-1][schema.LOSS] < rows[0][schema.LOSS]
    assert rows[-1][schema.PRIMARY_PSNR] > rows[0][schema.PRIMARY_PSNR]
    card = load_task_network_card(small.workspace.task_network)
    assert {row[schema.TASK_NETWORK_HASH] for row in rows} == {card.content_hash}
    assert all(row[schema.SECONDS_PER_SLICE] > 0 and row[schema.PEAK_MEMORY_MB] > 50 for row in rows)
    assert {row[schema.TRIAL] for row in rows} == {7}
    final = json.loads((tmp_path / TrialFolder.final).read_text())
    assert [row[schema.SPLIT] for row in final] == ["validation", "test"]
    assert final[0][schema.PRIMARY_PSNR] == epoch_log.kept_row(rows)[schema.PRIMARY_PSNR]


@pytest.mark.slow
def test_the_epoch_that_validation_prefers_is_what_a_trial_leaves(
    small, inputs: TrialInputs, tmp_path: Path
) -> None:
    """Killed and continued after each epoch: the kept epoch, its rows and its test scores are the same."""
    config = _config(small, epochs=4, learning_rate=0.05, learning_rate_schedule="constant")
    run_trial(config, tmp_path / "whole", inputs, Worker(), lambda row: None)
    for _ in range(4):
        with suppress(Killed):
            run_trial(
                config, tmp_path / "killed", inputs, Worker(), _kill_after_new_epoch(tmp_path / "killed")
            )
    run_trial(config, tmp_path / "killed", inputs, Worker(), lambda row: None)
    rows = epoch_log.read(tmp_path / "whole")
    losses = [row[schema.VALIDATION_LOSS] for row in rows]
    best = losses.index(min(losses)) + 1
    assert rows[-1][schema.KEPT_EPOCH] == best
    whole, killed = (
        json.loads((tmp_path / name / TrialFolder.final).read_text()) for name in ("whole", "killed")
    )
    assert [row[schema.EPOCH] for row in whole] == [best, best]
    assert whole[0][schema.PRIMARY_DICE] == rows[best - 1][schema.PRIMARY_DICE]
    for one, other in zip(whole, killed, strict=True):
        assert {k: v for k, v in one.items() if k not in VOLATILE} == {
            k: v for k, v in other.items() if k not in VOLATILE
        }


def _kill_after_new_epoch(folder: Path) -> Callable[[dict[str, Any]], None]:
    """Dies at the first epoch that was not there when it began."""
    known = len(epoch_log.read(folder))

    def report(row: dict[str, Any]) -> None:
        if row[schema.EPOCH] > known:
            raise Killed

    return report


def test_samples_add_up_to_the_summary(small, inputs: TrialInputs, tmp_path: Path) -> None:
    run_trial(_config(small), tmp_path, inputs, Worker(), lambda row: None)
    samples = pd.read_parquet(tmp_path / StudyFolder.samples)
    for row in json.loads((tmp_path / TrialFolder.final).read_text()):
        part = samples[samples[schema.SPLIT] == row[schema.SPLIT]]
        assert len(part) == small.card.counts[row[schema.SPLIT]]["samples"]
        assert part[schema.PRIMARY_PSNR].mean() == pytest.approx(row[schema.PRIMARY_PSNR])
        pooled = part.groupby(schema.PATIENT)[[name for name in samples if name.startswith("liver_")]].sum()
        dice = (
            2
            * pooled["liver_overlap_pixels"]
            / (pooled["liver_true_pixels"] + pooled["liver_predicted_pixels"])
        )
        assert dice.mean() == pytest.approx(row["dice_liver_patient_nnunet"])
    panel = np.load(tmp_path / TrialFolder.panel)
    shown = min(PANEL_SLICES, small.card.counts["test"]["samples"])
    assert panel["image"].shape == panel["prediction"].shape == (shown, 64, 64)


def test_an_interrupted_trial_ends_as_an_uninterrupted_one(
    small, inputs: TrialInputs, tmp_path: Path
) -> None:
    config = _config(small, alpha=0.7, mixing="share")  # whose running scales must come back too
    run_trial(config, tmp_path / "whole", inputs, Worker(), lambda row: None)

    def die_after(epoch: int):
        def report(row: dict[str, Any]) -> None:
            if row[schema.EPOCH] == epoch:
                raise Killed

        return report

    for epoch in (1, 2):
        with pytest.raises(Killed):
            run_trial(config, tmp_path / "parts", inputs, Worker(), die_after(epoch))
    reported: list[int] = []
    run_trial(config, tmp_path / "parts", inputs, Worker(), lambda row: reported.append(row[schema.EPOCH]))
    assert reported == [1, 2, 3]  # finished epochs are reported again
    assert _rows(tmp_path / "parts") == _rows(tmp_path / "whole")
    a, b = (np.load(tmp_path / name / TrialFolder.panel)["image"] for name in ("whole", "parts"))
    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_with_the_fresh_samples_that_it_would_have_had(
    small, inputs: TrialInputs, tmp_path: Path
) -> None:
    shards = SplitShards.of(small.card, small.workspace.dataset, "train")
    draw = FreshDrawConfig(dose_factor=(0.5, 2.0), lesion_share=0.5, tumour_share=0.5)
    simulation = SimulationConfig.parse(small.card.simulation).model_copy(update={"fresh_draw": draw})
    fresh = FreshSamples(inputs.geometry, simulation, has_tumour=shards.column(schema.TUMOUR_PIXELS) > 0)

    def with_fresh() -> TrialInputs:  # with nothing read ahead, as in a new process
        return dataclasses.replace(inputs, feeds={**inputs.feeds, "train": StreamFeed(shards, fresh)})

    config = _config(small)
    run_trial(config, tmp_path / "whole", with_fresh(), Worker(), lambda row: None)
    with pytest.raises(Killed):
        run_trial(config, tmp_path / "parts", with_fresh(), Worker(), _raise_killed)
    assert len(epoch_log.read(tmp_path / "parts")) == 1
    run_trial(config, tmp_path / "parts", with_fresh(), Worker(), lambda row: None)
    assert _rows(tmp_path / "parts") == _rows(tmp_path / "whole")


def test_killed_between_log_and_checkpoint_the_epoch_is_trained_again(
    small, inputs: TrialInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(small)
    run_trial(config, tmp_path / "whole", inputs, Worker(), lambda row: None)
    with monkeypatch.context() as patch:
        patch.setattr("study.trials.trial.save_checkpoint", _raise_killed)
        with pytest.raises(Killed):
            run_trial(config, tmp_path / "parts", inputs, Worker(), lambda row: None)
    assert len(epoch_log.read(tmp_path / "parts")) == 1
    assert not (tmp_path / "parts" / TrialFolder.checkpoint).exists()
    run_trial(config, tmp_path / "parts", inputs, Worker(), lambda row: None)
    assert _rows(tmp_path / "parts") == _rows(tmp_path / "whole")


def _raise_killed(*arguments: object) -> None:
    raise Killed


def test_a_trial_does_not_go_on_with_samples_drawn_otherwise(
    small, inputs: TrialInputs, tmp_path: Path
) -> None:
    run_trial(_config(small, epochs=1), tmp_path, inputs, Worker(), lambda row: None)
    with pytest.raises(DataError, match=r"drawn as.*turn_degrees 5.*stored samples"):
        fresh = dataclasses.replace(inputs, fresh="turn_degrees 5")
        run_trial(_config(small, epochs=1), tmp_path, fresh, Worker(), lambda row: None)


def test_a_checkpoint_of_another_configuration_is_refused(small, inputs: TrialInputs, tmp_path: Path) -> None:
    run_trial(_config(small), tmp_path, inputs, Worker(), lambda row: None)
    with pytest.raises(DataError, match="config hash"):
        run_trial(_config(small, seed=1), tmp_path, inputs, Worker(), lambda row: None)
    with pytest.raises(DataError, match="data hash"):
        other = dataclasses.replace(inputs, data_hash="0" * 64)
        run_trial(_config(small), tmp_path, other, Worker(), lambda row: None)


def test_alpha_moves_the_trade_off(small, inputs: TrialInputs, tmp_path: Path) -> None:
    """With the task loss alone nothing asks for a faithful image, so its image loss must be the worse."""
    losses = {}
    for alpha in (0.0, 1.0):
        run_trial(_config(small, alpha=alpha), tmp_path / str(alpha), inputs, Worker(), lambda row: None)
        last = epoch_log.read(tmp_path / str(alpha))[-1]
        losses[alpha] = last[schema.PRIMARY_PSNR]
    assert losses[0.0] > losses[1.0] + 1


def test_a_diverging_trial_fails_with_step_and_values(small, inputs: TrialInputs, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step \d+ of epoch 1"):
        run_trial(_config(small, learning_rate=1e30), tmp_path, inputs, Worker(), lambda row: None)
    assert all(math.isfinite(row[schema.LOSS]) for row in epoch_log.read(tmp_path))
