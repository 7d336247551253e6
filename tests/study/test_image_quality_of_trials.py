"""Image quality on inserted lesions: the same numbers from a trial, from ``taskct evaluate`` and for the references."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd
import pytest

from study.config import ExperimentConfig
from study.data.batches import Share
from study.scoring.evaluate import evaluate_study
from study.scoring.references import write_references
from study.trials import epoch_log
from study.trials.inputs import TrialInputs, Worker
from study.trials.repeats import means_over_runs
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import ConfigError
from taskct_core.geometry import ParallelBeam
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.probes import make_probes
from taskct_core.simulation.config import SimulationConfig

QUALITY = ImageQualityConfig(
    backgrounds=10, lesion_diameter_mm=24, edge_diameter_mm=24, lesion_contrast_hu=-200
)


@pytest.fixture(scope="module")
def inputs(small: Any) -> TrialInputs:
    feeds = {split: small.feed(split) for split in schema.SPLITS}
    geometry = ParallelBeam.from_dict(small.card.geometry)
    simulation = SimulationConfig.of_dataset(small.card.simulation)
    probes = {
        split: make_probes(partial(feeds[split].ordered, 3, share=Share()), geometry, simulation, QUALITY)
        for split in ("validation", "test")
    }
    return TrialInputs(
        feeds=feeds,
        geometry=geometry,
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
        image_quality=QUALITY,
        probes=probes,
    )


@pytest.fixture(scope="module")
def study(small: Any, inputs: TrialInputs, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    study = StudyFolder(tmp_path_factory.mktemp("image_quality"))
    config = small.experiment.trial.model_copy(update={"epochs": 2, "keep_metric": schema.DPRIME})
    run_trial(config, study.trial(0), inputs, Worker(), lambda row: None)
    write_references(study, inputs)
    StudyCard(
        name="lesions",
        objectives=[schema.PRIMARY_DICE, schema.DPRIME],
        dataset={"patients": small.card.patients},
        folders={"dataset": str(small.workspace.dataset), "task_network": str(small.workspace.task_network)},
    ).write(study.card)
    return study


def test_every_epoch_is_measured_and_the_best_kept(study: StudyFolder) -> None:
    rows = epoch_log.read(study.trial(0))
    scores = [row[schema.DPRIME] for row in rows]
    assert min(scores) > 0, scores
    assert rows[-1][schema.KEPT_EPOCH] == 1 + scores.index(max(scores))


def test_the_record_has_intervals_and_curves(study: StudyFolder) -> None:
    for row in read_rows(study.trial(0).final):
        assert row["dprime_cho_low"] <= row[schema.DPRIME] <= row["dprime_cho_high"]
        assert row[schema.NOISE_HU] > 0 and row[schema.TRANSFER_FREQUENCY] > 0
    curves = pd.read_parquet(study.trial(0).image_quality)
    assert set(zip(curves[schema.SPLIT], curves[schema.CURVE], strict=True)) == {
        (split, curve) for split in ("validation", "test") for curve in ("nps", "ttf")
    }


def test_references_bound_it(study: StudyFolder) -> None:
    rows = {(row[schema.METHOD], row[schema.SPLIT]): row for row in read_rows(study.references)}
    assert rows["fbp", "test"][schema.DPRIME] > 0
    full_dose = rows["full_dose", "test"]
    assert full_dose[schema.NOISE_HU] == 0 and math.isnan(full_dose[schema.DPRIME])
    assert full_dose[schema.TRANSFER_FREQUENCY] == pytest.approx(
        rows["fbp", "test"][schema.TRANSFER_FREQUENCY], abs=0.2
    )
    methods = pd.read_parquet(study.reference_image_quality)[schema.METHOD]
    assert set(methods) == {"full_dose", "fbp"}


def test_an_evaluation_gives_the_trial_its_own_numbers(study: StudyFolder) -> None:
    """The lesions, their places and the noise follow from the dataset alone."""
    evaluated = evaluate_study(study, trials=[0], image_quality=QUALITY)
    again = evaluated.set_index(schema.TRIAL).loc[0]
    own = next(row for row in read_rows(study.trial(0).final) if row[schema.SPLIT] == "test")
    for name in (*schema.IMAGE_QUALITY_METRICS, "dprime_cho_low", "dprime_cho_high"):
        assert again[name] == pytest.approx(own[name], rel=1e-5), name
    assert set(pd.read_parquet(study.evaluation_image_quality)[schema.TRIAL]) == {0, -1, -2}


@pytest.mark.parametrize(
    "changes", [{"study": {"objectives": [schema.DPRIME]}}, {"trial": {"keep_metric": schema.NOISE_HU}}]
)
def test_what_is_never_measured_cannot_be_searched_by(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"image_quality\.backgrounds"):
        ExperimentConfig.parse(changes)
    ExperimentConfig.parse(changes | {"image_quality": {"backgrounds": 40}})


def test_runs_of_a_repeated_trial_are_averaged() -> None:
    runs = [{schema.DPRIME: 1.0}, {schema.DPRIME: 2.0, schema.NOISE_HU: float("nan")}]
    means = means_over_runs(runs, schema.IMAGE_QUALITY_METRICS)
    assert means[schema.DPRIME] == 1.5 and math.isnan(means[schema.NOISE_HU])
    assert set(means) == {schema.DPRIME, schema.NOISE_HU}
