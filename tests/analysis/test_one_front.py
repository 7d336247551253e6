"""One front, chosen on validation, and means over the structures that all methods have: tables with known answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from study_factory import Recipe, write_study

import analysis
from analysis.console import methods_console
from analysis.figures import FIGURES
from analysis.figures.front_data import compute_chosen_front, compute_front, compute_tested_front
from analysis.figures.parameters import compute_parallel
from analysis.method_scores import GAP_CLOSED, methods_table, printed_methods
from analysis.report.page import render_page
from analysis.report.table_html import front_html
from analysis.report.trial_store import trial_columns, trial_store
from analysis.sample_scores import align, metric_statistic
from analysis.statistics import as_observed, bootstrap
from analysis.summary import summarise
from taskct_core import schema as S
from taskct_core.metrics.summary import summarise as score_slices

# (Dice, PSNR) on validation and on test. Validation chooses 0 and 1; 2 has been lucky on test, 1 has not.
SCORES = {
    0: ((0.80, 30.0), (0.78, 30.0)),
    1: ((0.70, 32.0), (0.60, 31.0)),
    2: ((0.69, 29.0), (0.90, 35.0)),
    3: ((0.60, 28.0), (0.58, 28.0)),
}
CHOSEN, LUCKY = [0, 1], 2
# One chart of each section of the page, and those that name a metric in their title.
SHOWN_FIGURES = {
    **{spec.section: name for name, spec in reversed(FIGURES.items())},
    **{name: name for name in ("front_dice_psnr", "differences_dice", "learning_dice")},
}.values()


@pytest.fixture
def chosen(tmp_path: Path) -> Any:
    recipe = Recipe(
        trials=4, pruned=0, failed=0, running=0, panels=False, samples=False, architectures=("unet",)
    )
    table = analysis.load(write_study(tmp_path / "study", recipe))
    rows = table.rows.copy()
    for trial, scores in SCORES.items():
        for split, (dice, psnr) in zip(("validation", "test"), scores, strict=True):
            of_trial = (rows[S.TRIAL] == trial) & (rows[S.SPLIT] == split)
            rows.loc[of_trial, [S.PRIMARY_DICE, S.PRIMARY_PSNR]] = dice, psnr
            rows.loc[of_trial, ["dice_liver_patient_nnunet", "dice_tumour_patient_nnunet"]] = dice
    rows["config_width"] = rows[S.TRIAL].astype(float)  # many configurations, of which some are chosen
    rows["config_image_loss"] = [("mse", "l1")[trial % 2] for trial in rows[S.TRIAL]]
    return analysis.ResultsTable(table.folder, rows, table.samples, table.study)


def test_every_table_and_chart_has_the_front_that_validation_chose(chosen: Any, tmp_path: Path) -> None:
    assert analysis.front_trials(chosen) == CHOSEN
    assert sorted(analysis.front_table(chosen).index) == CHOSEN
    assert trial_store(chosen)["front"] == CHOSEN
    assert sorted(row["trial"] for row in front_html(chosen)["rows"]) == CHOSEN
    files = analysis.export_front_configs(chosen, tmp_path / "front")
    assert [path.name for path in files] == ["trial-0000.yaml", "trial-0001.yaml"]
    for compute in (compute_front, compute_chosen_front):
        assert sorted(compute(chosen, S.PRIMARY_PSNR, S.PRIMARY_DICE).fronts["all trials"]) == CHOSEN
    lines = compute_parallel(chosen).lines
    assert sorted(lines.loc[lines["on_front"], "trial"]) == CHOSEN
    assert {*CHOSEN} <= set(methods_table(chosen).index)


def test_test_scores_are_shown_for_what_validation_chose(chosen: Any) -> None:
    front = analysis.front_table(chosen)
    assert front[S.PRIMARY_DICE].to_dict() == {trial: SCORES[trial][1][0] for trial in CHOSEN}
    assert analysis.trials_table(chosen)[S.PRIMARY_DICE].to_dict() == {t: s[0][0] for t, s in SCORES.items()}
    tested = compute_tested_front(chosen, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    points = tested.points.set_index("trial")
    assert tested.split == "test" and not tested.fronts and LUCKY not in points.index
    assert points.loc[CHOSEN, S.PRIMARY_DICE].tolist() == [SCORES[trial][1][0] for trial in CHOSEN]
    joined = compute_chosen_front(chosen, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    assert joined.points.set_index("trial")[S.PRIMARY_PSNR].to_dict() == {0: 30.0, 1: 31.0}
    scored = [column for column in trial_columns(chosen) if column.group == "score"]
    shown = {
        trial: {column.split for column in scored if column.values[row] is not None}
        for row, trial in enumerate(chosen.trials.index)
    }
    assert shown[LUCKY] == {"validation"} and shown[0] == {"validation", "test"}


def test_a_trial_that_breaks_a_constraint_is_on_no_front(chosen: Any) -> None:
    config = chosen.study.config | {"study": {"constraints": {S.PARAMETERS: 1e5}}}
    study = chosen.study.model_copy(update={"config": config})
    rows = chosen.rows.copy()
    rows.loc[rows[S.TRIAL] == 1, S.PARAMETERS] = 2e5
    table = analysis.ResultsTable(chosen.folder, rows, chosen.samples, study)
    assert analysis.front_trials(table) == [0] and analysis.front_trials(chosen) == CHOSEN


def test_the_optimism_of_the_choice_is_told(chosen: Any) -> None:
    """Dice falls by 0.06 on the front (0.02, 0.10) and by -0.0175 over all: 0.0775 more."""
    text = " ".join(summarise(chosen))
    assert "2 of 4 complete trials are non-dominated" in text and "on validation" in text
    assert "The choice itself is optimistic: on validation the front looks +0.078 in Dice mean" in text


# --- means alike ----------------------------------------------------------------------------------

LIVER, TUMOUR, MEAN = (f"dice_{name}_patient_nnunet" for name in ("liver", "tumour", "mean"))
FULL_DOSE, FBP = -1, -2


@pytest.fixture
def without_tumours(tmp_path: Path) -> Any:
    """A test split without tumours: full dose and trial 1 draw none, FBP and the others draw false ones."""
    recipe = Recipe(
        trials=4, pruned=0, failed=0, running=0, panels=False, samples=False, architectures=("unet",)
    )
    table = analysis.load(write_study(tmp_path / "study", recipe))
    rows = table.rows.copy()
    told = {FULL_DOSE: (0.95, math.nan), FBP: (0.80, 0.0), -3: (0.79, 0.0), 1: (0.90, math.nan)}
    for trial in rows[S.TRIAL].unique():
        liver, tumour = told.get(trial, (0.85, 0.0))
        of_trial = (rows[S.TRIAL] == trial) & (rows[S.SPLIT] == "test")
        mean = liver if math.isnan(tumour) else (liver + tumour) / 2
        rows.loc[of_trial, [LIVER, TUMOUR, MEAN]] = liver, tumour, mean
        rows.loc[of_trial, "tumour_false_positives"] = 0.0 if math.isnan(tumour) else 1.5
    return analysis.ResultsTable(table.folder, rows, table.samples, table.study)


def test_a_mean_is_over_structures_that_all_methods_have(without_tumours: Any) -> None:
    scores = without_tumours.scores("test", [MEAN])[MEAN]
    assert (scores[FULL_DOSE], scores[FBP], scores[0], scores[1]) == (0.95, 0.80, 0.85, 0.90)
    assert without_tumours.mean_structures("test") == ("liver",)
    assert without_tumours.mean_structures("validation") == ("liver", "tumour")


def test_a_gap_is_over_structures_that_all_methods_have(without_tumours: Any) -> None:
    frame = methods_table(without_tumours)
    lower = frame.index[frame[GAP_CLOSED] == 0][0]
    for trial, gap in frame[GAP_CLOSED].items():
        liver = without_tumours.scores("test", [LIVER])[LIVER]
        expected = (liver[trial] - liver[lower]) / (liver[FULL_DOSE] - liver[lower])
        assert gap == pytest.approx(expected, nan_ok=True), trial


def test_the_report_says_which_structures_and_counts_false_tumours(without_tumours: Any) -> None:
    text = " ".join(summarise(without_tumours))
    assert "Mean Dice and gaps are of the liver alone" in text
    assert "False tumours are counted as such: up to 1.5 a slice" in text
    columns = methods_table(without_tumours).columns
    assert "tumour_false_positives" in columns and TUMOUR not in columns


@pytest.fixture
def livers_alone(tmp_path: Path) -> Any:
    """A study whose task network knows no tumours, as the quickstart's."""
    recipe = Recipe(
        trials=4, pruned=0, failed=0, running=0, panels=False, samples=False, architectures=("unet",)
    )
    table = analysis.load(write_study(tmp_path / "study", recipe))
    rows = table.rows.drop(columns=[name for name in table.rows if "tumour" in name])
    for name in (name for name in rows if name.startswith("dice_mean_")):
        rows[name] = rows[name.replace("mean", "liver")]
    return analysis.ResultsTable(table.folder, rows, table.samples, table.study)


def test_a_study_of_livers_alone_speaks_of_livers(livers_alone: Any, monkeypatch: Any) -> None:
    assert livers_alone.only_structure == "liver"
    titles = printed_methods(livers_alone).columns.tolist()
    assert titles.count("Dice liver (patient, nnunet)") == 1
    heads = [str(column.header) for column in methods_console(livers_alone).columns]
    assert heads.count("liver\nDice") == 1 and "mean\nDice" not in heads
    monkeypatch.setattr("analysis.report.page.FIGURES", {name: FIGURES[name] for name in SHOWN_FIGURES})
    page = render_page(livers_alone)
    assert "Dice liver (patient, nnunet)" in page
    assert "Dice mean" not in page and "mean Dice" not in page


def test_a_test_split_without_tumours_has_one_column_of_dice(without_tumours: Any) -> None:
    """Where validation has none either, the mean is the liver's, whatever false tumours FBP drew."""
    rows = without_tumours.rows[without_tumours.rows[S.SPLIT] == "test"].assign(**{S.SPLIT: "validation"})
    alone = analysis.ResultsTable(
        without_tumours.folder, rows, without_tumours.samples, without_tumours.study
    )
    assert alone.only_structure == "liver" and without_tumours.only_structure is None
    titles = printed_methods(alone).columns.tolist()
    assert [title for title in titles if title.startswith("Dice")] == ["Dice liver (patient, nnunet)"]


def slices(true: list[int], predicted: list[int]) -> list[dict[str, Any]]:
    """Slices of one patient each: a liver half found, and tumour pixels of which none overlaps."""
    return [
        {
            S.PATIENT: f"p{number}",
            S.SLICE_INDEX: 0,
            "liver_true_pixels": 100,
            "liver_predicted_pixels": 100,
            "liver_overlap_pixels": 50,
            "tumour_true_pixels": t,
            "tumour_predicted_pixels": p,
            "tumour_overlap_pixels": 0,
            "tumour_components_true": int(t > 0),
            "tumour_components_hit": 0,
            "tumour_components_false": int(p > 0),
        }
        for number, (t, p) in enumerate(zip(true, predicted, strict=True))
    ]


@pytest.mark.parametrize("predicted", [[0, 0], [0, 7]])
def test_a_false_pixel_does_not_halve_an_objective(predicted: list[int]) -> None:
    found = score_slices(slices([0, 0], predicted))
    assert found[MEAN] == found["dice_mean_slice_nnunet"] == 0.5
    assert found["tumour_false_positives"] == sum(pixels > 0 for pixels in predicted) / 2
    assert score_slices(slices([3, 0], predicted))[MEAN] == 0.25  # where the truth has one, a miss counts


def test_intervals_are_over_structures_that_a_draw_has(without_tumours: Any) -> None:
    """Two methods, alike but for a false tumour: no draw may tell their means apart where the truth has none."""
    rows = [
        {**row, S.TRIAL: trial, S.METHOD: "task_adaptive", S.SPLIT: "test"}
        for trial, predicted in ((0, [0, 0, 0]), (1, [0, 7, 7]))
        for row in slices([0, 0, 0], predicted)
    ]
    table = analysis.ResultsTable(
        without_tumours.folder, without_tumours.rows, pd.DataFrame(rows), without_tumours.study
    )
    samples = align(table, [0, 1], "test")
    statistic = metric_statistic(samples, MEAN)
    assert statistic(as_observed(samples.patients)).tolist() == [[0.5, 0.5]]
    _, draws = bootstrap(samples.patients, statistic, draws=50)
    assert (draws == 0.5).all()
