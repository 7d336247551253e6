"""A trial of mode ``front`` in a study: its rows, its exact resumption, its network at an alpha, the study's objective."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from analysis import write_report
from analysis.loading import load
from study.results import export_results
from study.scoring.evaluate import load_trained
from study.scoring.network_export import export_network
from study.search.storage.records import TrialRecord
from study.trials import epoch_log
from study.trials.front import hypervolume_of_trial
from study.trials.inputs import TrialInputs, Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import ConfigError
from taskct_core.modes import FRONT_WAYS
from taskct_core.reconstructors import build_reconstructor
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import FrontTraining

ALPHAS = (0.0, 0.4, 1.0)
VOLATILE = {schema.SECONDS, schema.SECONDS_PER_SLICE, schema.PEAK_MEMORY_MB, schema.FINISHED_AT}


@pytest.fixture(scope="module")
def inputs(small: Any) -> TrialInputs:
    return small.trial_inputs(shown=True, slices=2)


def config_of(small: Any, **changes: Any) -> TrialConfig:
    quick = {"mode": "front", "epochs": 3, "front_alphas": ALPHAS, "front_positions": 3, "alpha": 0.4}
    quick |= {"front_anchors": [0.5, 0.9]}
    return TrialConfig.parse(small.experiment.trial.model_dump() | quick | changes)


@pytest.fixture(scope="module")
def study(small: Any, inputs: TrialInputs, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Trial 0 a front, trial 1 of one alpha, as a study of both leaves them; the second judge is the first once more."""
    folder = StudyFolder(tmp_path_factory.mktemp("study"))
    inputs = replace(inputs, audit=str(small.workspace.task_network))
    run_trial(config_of(small), folder.trial(0), inputs, Worker(), lambda row: None, 0)
    plain = config_of(small, mode="task_adaptive", epochs=1)
    run_trial(plain, folder.trial(1), inputs, Worker(), lambda row: None, 1)
    records = [_record(0), _record(1)]
    export_results(folder, "fronts", records)
    return folder


def _record(trial: int) -> TrialRecord:
    return TrialRecord(trial, schema.COMPLETE, {}, {}, 3, None, 0, None, None, True)


def test_each_alpha_is_a_row_beside_the_trials_own(study: StudyFolder) -> None:
    table = load(study.path)
    points = table.front_points
    assert set(points[schema.TRIAL]) == {0}
    for split in ("validation", "test"):
        here = points[points[schema.SPLIT] == split]
        assert tuple(here[schema.ALPHA]) == ALPHAS
        own = table.scores(split).loc[0]
        at_own_alpha = here[here[schema.ALPHA] == 0.4].iloc[0]
        assert own[schema.PRIMARY_PSNR] == at_own_alpha[schema.PRIMARY_PSNR]
    # Who reads one row a trial, epoch and split finds just these.
    assert not table.rows.duplicated([schema.TRIAL, schema.SPLIT, schema.EPOCH]).any()
    assert list(table.complete_scores("validation").index) == [0, 1]


def test_a_second_judge_scores_the_network_of_the_trials_own_alpha(study: StudyFolder) -> None:
    own, *points = [row for row in read_rows(study.trial(0).final) if row[schema.SPLIT] == "test"]
    audited = schema.PRIMARY_DICE + schema.AUDIT_NETWORK_SUFFIX
    assert own[audited] == own[schema.PRIMARY_DICE] and all(audited not in point for point in points)
    assert points[1][schema.ALPHA] == 0.4 and points[1][schema.PRIMARY_DICE] == own[schema.PRIMARY_DICE]
    slices = pd.read_parquet(study.trial(0).samples)
    for name in ("liver_overlap_pixels", "tumour_predicted_pixels"):
        pd.testing.assert_series_equal(
            slices[name], slices[name + schema.AUDIT_NETWORK_SUFFIX], check_names=False
        )


def test_the_last_epoch_is_scored_by_the_whole_front(study: StudyFolder) -> None:
    row = epoch_log.kept_row(epoch_log.read(study.trial(0)))
    final = [r for r in read_rows(study.trial(0).final) if r[schema.SPLIT] == "validation"]
    assert row[schema.EPOCH] == 3
    for name in (schema.PRIMARY_DICE, schema.PRIMARY_PSNR, schema.HYPERVOLUME):
        assert row[name] == pytest.approx(final[0][name], nan_ok=True)
    assert schema.HYPERVOLUME not in epoch_log.read(study.trial(1))[-1]  # nobody asked for it


def test_the_shown_slices_are_kept_for_every_alpha(study: StudyFolder) -> None:
    arrays = np.load(study.front_panel(0))
    own = np.load(study.panel(0))["image"]
    assert arrays["image"].shape == arrays["prediction"].shape == (3, *own.shape)
    assert tuple(arrays["alpha"]) == ALPHAS
    np.testing.assert_array_equal(arrays["image"][1], own)


def test_the_trained_trial_is_read_again(study: StudyFolder, small: Any, inputs: TrialInputs) -> None:
    network, _ = load_task_network(small.workspace.task_network)
    training = load_trained(study.trial(0), small.card, network)
    assert isinstance(training, FrontTraining)
    shown = training.reconstruct(inputs.panel).squeeze(1).numpy().astype(np.float16)
    np.testing.assert_array_equal(shown, np.load(study.panel(0))["image"])


def test_a_study_with_a_front_has_a_report(study: StudyFolder, tmp_path: Path) -> None:
    table = load(study.path)
    assert table.trials.at[0, "config_front_alphas"] == "0.0, 0.4, 1.0"
    assert not [name for name in table.searched if "front_" in name]
    page = write_report(study.path, tmp_path / "report.html").read_text()
    assert 'id="front-alpha"' in page


@pytest.mark.parametrize("way", FRONT_WAYS)
def test_a_killed_front_ends_as_an_uninterrupted_one(
    way: str, small: Any, inputs: TrialInputs, tmp_path: Path
) -> None:
    config = config_of(small, front_way=way)

    def die_at(epoch: int) -> Callable[[Any], None]:
        def die(row: Any) -> None:
            if row[schema.EPOCH] == epoch:
                raise KeyboardInterrupt

        return die

    for epoch in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            run_trial(config, tmp_path / "parts", inputs, Worker(), die_at(epoch))
    run_trial(config, tmp_path / "parts", inputs, Worker(), lambda row: None)
    run_trial(config, tmp_path / "whole", inputs, Worker(), lambda row: None)
    one, other = (
        [{k: v for k, v in row.items() if k not in VOLATILE} for row in read_rows(TrialFolder(folder).final)]
        for folder in (tmp_path / "parts", tmp_path / "whole")
    )
    assert one == other and len(one) == 2 * (1 + len(ALPHAS))


def test_the_hypervolume_is_the_area_beyond_fbp() -> None:
    dice, psnr = schema.PRIMARY_DICE, schema.PRIMARY_PSNR
    points = [{dice: 0.5, psnr: 30.0}, {dice: 0.6, psnr: 28.0}, {dice: 0.55, psnr: 20.0}]
    area = hypervolume_of_trial(points, {dice: 0.3, psnr: 26.0})[schema.HYPERVOLUME]
    assert area == pytest.approx(0.2 * 4 + 0.1 * 2)  # the third is worse than FBP in PSNR


def test_a_trial_of_one_alpha_has_the_hypervolume_of_its_point(
    small: Any, inputs: TrialInputs, tmp_path: Path
) -> None:
    searched = replace(inputs, objectives=(schema.HYPERVOLUME,))
    plain = config_of(small, mode="task_adaptive", epochs=1)
    run_trial(plain, tmp_path, searched, Worker(), lambda row: None)
    row = epoch_log.read(tmp_path)[-1]
    fbp = small_fbp(small, inputs)
    gains = [max(0.0, row[name] - fbp[name]) for name in (schema.PRIMARY_DICE, schema.PRIMARY_PSNR)]
    assert row[schema.HYPERVOLUME] == pytest.approx(gains[0] * gains[1])


def small_fbp(small: Any, inputs: TrialInputs) -> dict[str, float]:
    from study.data.batches import Share
    from taskct_core.metrics import summarise
    from taskct_core.metrics.slices import evaluate_images

    network, _ = load_task_network(small.workspace.task_network)
    return summarise(evaluate_images(network, inputs.feeds["validation"].ordered(4, share=Share()), "fbp"))


def test_a_network_at_an_alpha_is_exported_as_plain_weights(
    study: StudyFolder, small: Any, inputs: TrialInputs, tmp_path: Path
) -> None:
    folders = {"dataset": str(small.workspace.dataset), "task_network": str(small.workspace.task_network)}
    StudyCard(name="fronts", folders=folders).write(study.card)
    trial, (weights, card) = export_network(study, tmp_path, alpha=1.0)
    assert trial == 0  # the only front
    known = json.loads(card.read_text())
    module = build_reconstructor(known["architecture"], known["architecture_parameters"])
    module.load_state_dict(safetensors.torch.load_file(weights))
    with torch.no_grad():
        image = module.eval()(inputs.panel["fbp"]).squeeze(1).numpy().astype(np.float16)
    np.testing.assert_allclose(image, np.load(study.front_panel(0))["image"][-1], atol=1e-3)
    with pytest.raises(ConfigError, match="only a trial of mode front"):
        export_network(study, tmp_path, alpha=0.9, trial=1)
    with pytest.raises(ConfigError, match=r"alpha must lie in \[0, 1\]"):
        export_network(study, tmp_path, alpha=1.5)
