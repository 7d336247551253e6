"""Splits are by patient, complete, disjoint and reproducible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.split import split_patients
from taskct_core.errors import ConfigError
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
