"""Splits are by patient, complete, disjoint and reproducible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.split import split_patients
from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import SPLITS

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


@given(count=st.integers(3, 200), seed=st.integers(0, 1000))
def test_shares_place_every_patient_once_near_its_share(count: int, seed: int) -> None:
    patients = [f"p{i}" for i in range(count)]
    split = split_patients(patients, SHARES, seed)
    assert sorted(name for names in split.values() for name in names) == sorted(patients)
    for name in SPLITS:
        assert abs(len(split[name]) - SHARES[name] * count) < 2


def test_same_seed_same_split_whatever_the_order() -> None:
    patients = [f"p{i}" for i in range(20)]
    assert split_patients(patients, SHARES, 4) == split_patients(patients[::-1], SHARES, 4)
    assert split_patients(patients, SHARES, 4) != split_patients(patients, SHARES, 5)


def test_named_patients_are_taken_as_they_are() -> None:
    split = {"train": ["b"], "validation": ["a"], "test": []}
    assert split_patients(["a", "b", "c"], split, 0) == split


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": ["a"], "validation": ["a"], "test": []}, "a named more than once"),
        ({"train": ["a"], "validation": ["z"], "test": []}, "z; the source has a, b"),
        ({"train": 0.0, "validation": 0.0, "test": 0.0}, "not all 0"),
        ({"train": 0.5, "validation": -0.5, "test": 1.0}, ">= 0"),
        ({"train": 0.6, "validation": 0.2, "test": 0.2}, "2 patients for train, validation, test"),
    ],
)
def test_refuses_leaks_and_nonsense(split: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_patients(["a", "b"], split, 0)


def test_studies_of_one_person_stay_in_one_split() -> None:
    patients = [f"p{i}" for i in range(12)]
    persons = {patient: f"person {i // 3}" for i, patient in enumerate(patients)}
    split = split_patients(patients, SHARES, 1, persons=persons)
    places = {(persons[patient], name) for name, chosen in split.items() for patient in chosen}
    assert len(places) == 4 and sorted(p for chosen in split.values() for p in chosen) == sorted(patients)
    named = {"train": ["p0"], "validation": ["p3"], "test": ["p1"]}
    with pytest.raises(DataError, match=r"p0 \(train\) and p1 \(test\).*trust_patient_id"):
        split_patients(patients, named, 0, persons=persons)
    assert split_patients(patients, named, 0) == named


def test_patients_without_labels_only_train() -> None:
    patients = [f"p{i}" for i in range(9)]
    unlabelled = ["p1", "p4", "p7"]
    for seed in range(20):
        split = split_patients(patients, SHARES, seed, unlabelled=unlabelled)
        assert set(unlabelled) <= set(split["train"]) and split["validation"] and split["test"]
    with pytest.raises(ConfigError, match="p4 in validation or test"):
        split_patients(
            patients, {"train": ["p0"], "validation": ["p4"], "test": []}, 0, unlabelled=unlabelled
        )
    named = {"train": ["p0"], "validation": ["p2"], "test": []}
    with pytest.raises(ConfigError, match=r"none of p1, p4, p7 in data\.split"):
        split_patients(patients, named, 0, unlabelled=unlabelled)
    named |= {"train": ["p0", "p4"]}
    assert split_patients(patients, named, 0, unlabelled=unlabelled) == named


def test_an_unlabelled_study_of_a_person_who_is_scored_does_not_train() -> None:
    patients = [f"p{i}" for i in range(6)]
    persons = {"p0": "x", "p5": "x"}
    for seed in range(20):
        split = split_patients(patients, SHARES, seed, persons=persons, unlabelled=["p5"])
        assert ("p5" in split["train"]) == ("p0" in split["train"])
