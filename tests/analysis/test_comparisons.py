"""Intervals, paired differences and the words about them, on studies whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from study_factory import Recipe, plain_scores, write_study

import analysis
from analysis import paired_differences, sample_scores, selection
from analysis.contestants import contestant
from analysis.method_scores import (
    GAP_CLOSED,
    interval_basis,
    methods_table,
    printed_methods,
    shown_rows,
    with_interval,
)
from analysis.report.table_html import with_minus_signs
from analysis.statistics import as_observed, resamples
from analysis.summary import summarise
from analysis.unavailable import Unavailable
from taskct_core import schema as S


@pytest.fixture(scope="module")
def many_patients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return analysis.load(write_study(folder, Recipe(patients=12, seeds=3, panels=False)))


def test_point_estimates_equal_the_plain_scores_for_every_metric(table):
    samples = sample_scores.align(table, [0, 5, -2], "test")
    whole = table.samples[(table.samples[S.SPLIT] == "test") & (table.samples[S.TRIAL] == 5)]
    expected = plain_scores(whole)
    resampled = [metric for metric in S.METRICS if sample_scores.can_resample(samples, metric)]
    others = {"tumour_false_positives", *S.IMAGE_QUALITY_METRICS}
    assert set(resampled) == {
        name for name in S.METRICS if name not in others and not name.startswith("bias")
    }
    for metric in resampled:
        found = sample_scores.metric_statistic(samples, metric)(as_observed(samples.patients))[0]
        assert found[samples.trials.index(5)] == pytest.approx(expected[metric], nan_ok=True), metric


def test_a_draw_equals_the_plain_scores_of_the_drawn_slices(table):
    samples = sample_scores.align(table, [5], "test")
    metric = "dice_tumour_patient_nnunet"
    part = resamples(samples.patients, draws=3, seed=0)
    found = sample_scores.metric_statistic(samples, metric)(part)[:, 0]
    whole = table.samples[(table.samples[S.SPLIT] == "test") & (table.samples[S.TRIAL] == 5)]
    whole = whole.sort_values([S.PATIENT, S.SLICE_INDEX]).reset_index(drop=True)
    blocks = part.blocks.toarray().astype(bool)
    for draw, counts in enumerate(part.counts.toarray().astype(int)):
        drawn = [
            whole.loc[blocks[patient]].assign(patient=f"{patient} {k}")
            for patient, count in enumerate(counts)
            for k in range(count)
        ]
        assert found[draw] == pytest.approx(plain_scores(pd.concat(drawn))[metric])


def test_differences_are_those_of_the_ground_truth(many_patients):
    pairs = [
        (
            contestant(many_patients, 30),
            contestant(many_patients, 0),
        ),  # alpha 1, 0
        (contestant(many_patients, 0), contestant(many_patients, 0)),
    ]
    rows = paired_differences.compare_methods(many_patients, pairs).rows
    dice = rows[rows["metric"] == S.PRIMARY_DICE].iloc[0]
    psnr = rows[rows["metric"] == S.PRIMARY_PSNR].iloc[0]
    assert dice["difference"] == pytest.approx(0.25, abs=0.02) and dice["low"] < 0.25 < dice["high"] + 0.01
    assert psnr["low"] < -3.0 < psnr["high"] and psnr["p_holm"] < 0.05
    same = rows[rows["name"] == rows["other"]]
    assert (same["difference"] == 0).all() and (same["p_holm"] == 1).all()


def test_seeds_of_a_configuration_count_together_and_repeats_of_a_seed_once(many_patients):
    assert contestant(many_patients, 0).trials == (0, 1, 2)
    assert contestant(many_patients, -2).trials == (-2,)
    repeated = many_patients.rows.assign(config_seed=0.0)
    again = analysis.ResultsTable(many_patients.folder, repeated, many_patients.samples, many_patients.study)
    assert contestant(again, 0).trials == (0,)


def test_a_configuration_is_one_row_whichever_of_its_seeds_was_chosen(many_patients):
    trials = [one.trials for one in shown_rows(many_patients)]
    assert any(len(of_one) == 3 for of_one in trials) and len(set(trials)) == len(trials)
    named = [name for name in printed_methods(many_patients)["method"] if name.startswith("trial ")]
    assert named and all("task-adaptive, alpha " in name or "reconstruction-only" in name for name in named)


def test_no_interval_promises_a_difference_that_scores_cannot_have(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(patients=2, slices=1, noise=6.0, panels=False)))
    rows = analysis.compare_methods(table).rows
    widths = {S.PRIMARY_DICE: 1, S.PRIMARY_SSIM: 2}
    for metric, most in widths.items():
        found = rows[rows["metric"] == metric]
        assert len(found) and found["low"].min() >= -most and found["high"].max() <= most
    assert rows.loc[rows["metric"] == S.PRIMARY_DICE, "high"].max() == 1  # which it would otherwise pass


def test_minus_signs_are_for_numbers_and_not_for_names():
    assert with_minus_signs("volume-4: -3.2 to -1 dB (-12 %)") == "volume-4: −3.2 to −1 dB (−12 %)"


def test_choices_are_made_on_validation_not_on_test(tmp_path):
    folder = write_study(tmp_path, Recipe(panels=False))
    table = analysis.load(folder)
    rows = table.rows.copy()
    rows.loc[(rows[S.SPLIT] == "test") & (rows[S.TRIAL] == 2), S.PRIMARY_DICE] = 0.99
    lucky = analysis.ResultsTable(table.folder, rows, table.samples, table.study)
    assert selection.picks(lucky) == selection.picks(table)
    assert 2 not in [pick.trial for pick in selection.picks(lucky)]
    assert selection.front_trials(lucky) == selection.front_trials(table)


def test_the_baseline_is_the_best_trial_without_task_loss(table):
    assert selection.baseline(table).trial in (2, 3)  # alpha 0, learned primal-dual
    assert selection.baseline(analysis.load(table.folder.path)) == selection.baseline(table)


def test_intervals_of_one_patient_are_over_slices_and_say_so_and_make_no_claim(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(patients=1, panels=False)))
    found = paired_differences.compare_methods(table)
    assert "slices of the one patient" in found.basis and not found.enough_patients
    text = " ".join(summarise(table))
    assert "nothing is said of other patients" in text and "higher by" not in text
    assert "slices of the one patient" in interval_basis(table)
    with pytest.raises(Unavailable, match="one patient"):
        sample_scores.intervals(table, [0], [S.PRIMARY_DICE])


def test_few_patients_make_no_claim(many_patients, tmp_path):
    recipe = Recipe(patients=5, trials=4, panels=False, configs=False)
    few = " ".join(summarise(analysis.load(write_study(tmp_path, recipe))))
    assert "no difference is called one" in few and "higher by" not in few
    assert "higher by" in " ".join(summarise(many_patients))


def test_equal_trials_make_no_claim(tmp_path):
    table = analysis.load(
        write_study(tmp_path, Recipe(equal=True, patients=8, panels=False, references=False))
    )
    text = " ".join(summarise(table))
    assert "higher by" not in text and "lower by" not in text


def test_validation_only_is_called_optimistic(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(test_split=False, panels=False)))
    assert any("optimistic" in sentence for sentence in summarise(table))


def test_methods_table_holds_intervals_and_the_gap_closed(many_patients):
    frame = methods_table(many_patients)
    # Training for the image alone beats TV and FBP, so the gap is measured from it.
    plain = frame[frame["why"].str.contains("no task loss")].iloc[0]
    lower, upper = plain[S.PRIMARY_DICE], frame.loc[-1, S.PRIMARY_DICE]
    assert lower > frame.loc[-3, S.PRIMARY_DICE] and plain[GAP_CLOSED] == pytest.approx(0)
    assert frame.loc[-1, GAP_CLOSED] == pytest.approx(1)
    assert frame.loc[-2, GAP_CLOSED] < frame.loc[-3, GAP_CLOSED] < 0
    best = frame[frame["why"].str.contains("best Dice")].iloc[0]
    assert best[f"{S.PRIMARY_DICE}_low"] < best[S.PRIMARY_DICE] < best[f"{S.PRIMARY_DICE}_high"]
    expected = (best[S.PRIMARY_DICE] - lower) / (upper - lower)
    assert best[GAP_CLOSED] == pytest.approx(expected) and expected > 0.4
    assert best[f"{GAP_CLOSED}_low"] < best[GAP_CLOSED] < best[f"{GAP_CLOSED}_high"]


def test_gap_interval_holds_the_share_and_needs_both_references(many_patients, tmp_path):
    share, low, high = analysis.gap_closed_interval(many_patients, 20, S.PRIMARY_DICE)
    assert low < share < high
    table = analysis.load(write_study(tmp_path, Recipe(references=False, panels=False)))
    with pytest.raises(Unavailable, match="The gap needs"):
        analysis.gap_closed_interval(table, 0, S.PRIMARY_DICE)


@pytest.mark.parametrize(
    ("values", "text"),
    [((0.8, 0.7, 0.9), "0.800 (0.700 to 0.900)"), ((np.inf, np.nan, np.nan), "∞"), ((np.nan, 0, 1), "–")],
)
def test_scores_with_intervals_as_text(values, text):
    assert with_interval(*values) == text
