"""The methods section says what a paper must, in words of a paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seed_table import write_seed_table

import analysis
from analysis.report.methods_prose import methods_prose
from analysis.report.methods_text import methods_text
from taskct_core.contracts.study_card import StudyCard


def test_budget_and_points_are_told_without_dumps_of_records(tmp_path):
    table = analysis.load(write_seed_table(tmp_path / "study", slices=4))
    point = {"alpha": 0.5, "seed": 0}
    config = {
        "trial": {"epochs": 4, "learning_rate": 0.002, "weight_decay": 1 / 3},
        "study": {"trials": 24, "enqueue": [point] * 24, "objectives": ["a", "b"], "storage": None},
    }
    table = replace(table, study=StudyCard(config=config))
    blocks = {block["title"]: dict(block["items"]) for block in methods_text(table)}
    training = next(items for title, items in blocks.items() if title.startswith("Training"))
    assert training == {"epochs": "4", "learning_rate": "0.002", "weight_decay": "0.333333"}
    assert blocks["Search"]["enqueue"].startswith("24 points")
    assert blocks["Search"]["objectives"] == "a, b" and "storage" not in blocks["Search"]
    assert blocks["Evaluation"]["scored on"] == "1 patient, 4 slices"


def test_a_field_of_view_for_method_studies_is_called_that(tmp_path):
    table = analysis.load(write_seed_table(tmp_path / "study", slices=4))
    simulation = {"field_of_view": "resize", "photons_per_ray": None, "noise_hu": 20.0}
    dataset = {"simulation": simulation, "dose": {"photons_per_ray": 1234.5}}
    study = StudyCard(dataset=dataset, config={"simulation": {"field_of_view": "scanner"}})
    assert study.photons_per_ray == 1234.5  # whichever word the dose was given in
    facts = dict(methods_text(replace(table, study=study))[0]["items"])
    assert facts["simulation.field_of_view"].startswith("resize (method studies only")
    assert facts["dose.photons_per_ray"] == "1234.5"


@pytest.mark.parametrize("as_stored", [list, tuple])
def test_a_range_of_doses_is_told_with_both_ends(tmp_path, as_stored):
    dose = {"photons_per_ray": (500.0, 8000.0), "dose_fraction": (0.05, 0.8), "noise_hu": (62.5, 15.0)}
    dataset = {"dose": {word: as_stored(ends) for word, ends in dose.items()}}
    table = analysis.load(write_seed_table(tmp_path / "study", slices=4))
    scanner = methods_prose(replace(table, study=StudyCard(dataset=dataset)))[0]
    assert "with 500 to 8000 photons per ray" in scanner
    assert "5 to 80 % of the dose" in scanner and "62.5 to 15 HU" in scanner


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "proposed by TPE; the objectives"),
        (
            [{"alpha": 0.0}, {"alpha": [0.5, 0.9], "seed": [0, 1]}],
            "5 given beforehand, the others proposed by TPE",
        ),
        ([{"alpha": 0.5}] * 24, "all of them given beforehand"),
    ],
)
def test_trials_that_were_given_are_not_said_to_be_proposed(tmp_path, points, words):
    table = analysis.load(write_seed_table(tmp_path / "study", slices=4))
    config = {"study": {"enqueue": points, "sampler": {"name": "tpe"}}}
    assert words in " ".join(methods_prose(replace(table, study=StudyCard(config=config))))
