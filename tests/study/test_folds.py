"""Cross-validation by patient: who stands in which fold, and what a fold reads as which split."""

from __future__ import annotations

from collections import Counter

import pytest

from study.config import ExperimentConfig
from study.data.config import DataConfig
from study.data.dataset import DatasetCard, ShardEntry
from study.data.folds import fold_card, fold_numbers
from study.experiment.inputs import open_inputs
from study.experiment.workspace import Workspace
from taskct_core.errors import ConfigError, DataError


def _card(validation: str = "fold", shards_a_patient: int = 5) -> DatasetCard:
    folds = {"a": 0, "b": 1, "c": 2, "d": 0}
    shards = [
        ShardEntry(path=f"train/{patient}-{place:05d}.parquet", patient=patient, rows=2, sha256="")
        for patient in (*folds, "unlabelled")
        for place in range(shards_a_patient)
    ]
    return DatasetCard(
        geometry={},
        simulation={},
        source={"split": {"folds": 3, "validation": validation}},
        patients={"train": [*folds, "unlabelled"], "validation": [], "test": []},
        counts={},
        image_shape=(8, 8),
        has_sinogram=False,
        shards={"train": shards, "validation": [], "test": []},
        data_hash="",
        versions={},
        folds=folds,
    )


@pytest.mark.parametrize(("patients", "folds"), [(3, 3), (7, 3), (8, 5)])
def test_folds_hold_everybody_once_and_evenly(patients: int, folds: int) -> None:
    names = [f"p{number}" for number in range(patients)]
    numbers = fold_numbers(names, folds, seed=4)
    sizes = Counter(numbers.values())
    assert set(numbers) == set(names)
    assert set(sizes) == set(range(folds))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert numbers == fold_numbers(names[::-1], folds, seed=4)


def test_studies_of_one_person_share_a_fold() -> None:
    names = ["a1", "a2", "b", "c"]
    for seed in range(5):
        numbers = fold_numbers(names, 3, seed, persons={"a1": "Ann", "a2": "Ann"})
        assert numbers["a1"] == numbers["a2"]
        assert len(set(numbers.values())) == 3


def test_fewer_people_than_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 patients"):
        fold_numbers(["a", "b", "c"], 3, 0, persons={"a": "Ann", "b": "Ann"})


@pytest.mark.parametrize("validation", ["fold", "slices"])
def test_nobody_is_tested_by_what_saw_them_and_everybody_is_tested_once(validation: str) -> None:
    card = _card(validation)
    tested = []
    for fold in range(3):
        view = fold_card(card, fold)
        placed = [shard.path for split in view.shards.values() for shard in split]
        assert sorted(placed) == sorted(shard.path for shard in card.shards["train"])
        tested += view.patients["test"]
        assert not set(view.patients["test"]) & {*view.patients["train"], *view.patients["validation"]}
        assert "unlabelled" in view.patients["train"]
        assert "unlabelled" not in view.patients["validation"]
        if validation == "fold":
            assert not set(view.patients["train"]) & set(view.patients["validation"])
    assert sorted(tested) == sorted(card.folds)


def test_a_fold_without_validation_samples_is_refused() -> None:
    with pytest.raises(DataError, match="none for validation in fold 0"):
        fold_card(_card("slices", shards_a_patient=2), 0)


@pytest.mark.parametrize(
    "split",
    [
        {"folds": 2},
        {"folds": 1, "validation": "slices"},
        {"folds": 3, "validation": "patients"},
        {"folds": 3, "train": 0.5},
        {"folds": 2.5},
        {"train": "a", "validation": 0.5, "test": 0.5},
    ],
)
def test_what_is_no_split_is_refused(split: dict) -> None:
    with pytest.raises(ConfigError, match="split"):
        DataConfig.parse({"split": split})


def test_two_folds_do_where_slices_validate() -> None:
    assert DataConfig.parse({"split": {"folds": 2, "validation": "slices"}}).folds == 2


@pytest.mark.parametrize(
    "values",
    [
        {"data": {"split": {"folds": 3}}},  # its own task network would know all who are tested
        {"study": {"repeats": {"folds": "all"}}},
        {"study": {"repeats": {"seeds": 2}, "trainable": "a.b:c"}},
        {"study": {"repeats": {"seeds": 2}}, "execution": {"stack": 2}},
        {"study": {"repeats": {"seeds": 2}, "objectives": ["hypervolume_of_trial"]}},
        {"pretrained": "p", "data": {"split": {"folds": 3}, "synthetic_lesions": {"splits": ["train"]}}},
    ],
)
def test_settings_that_do_not_go_with_folds_are_refused(values: dict) -> None:
    with pytest.raises(ConfigError):
        ExperimentConfig.parse(values)


def test_patients_of_folds_count_as_tested() -> None:
    assert _card().scored_patients["test"] == ["a", "b", "c", "d"]


def test_a_single_trial_on_folds_is_told_of_repeats() -> None:
    workspace = Workspace.of(ExperimentConfig())
    with pytest.raises(DataError, match=r"study\.repeats"):
        open_inputs(_card(), workspace)
