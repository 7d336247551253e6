"""The comparison of training modes: every method over its seeds, under every network, on one patient."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from seed_table import METHODS, REFERENCE_TRUTH, SEEDS, write_seed_table

import analysis
from analysis.figures.alpha import compute_alpha_curve
from analysis.figures.judges import OTHER, compute_judges, draw_judges
from analysis.judges import network_scores
from analysis.method_scores import GAP_CLOSED, interval_basis
from analysis.summary import summarise
from analysis.unavailable import NotApplicable, Unavailable
from taskct_core import schema as S

OWN_DICE = S.PRIMARY_DICE + S.OWN_NETWORK_SUFFIX
AUDIT_DICE = S.PRIMARY_DICE + S.AUDIT_NETWORK_SUFFIX


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_seed_table(tmp_path_factory.mktemp("seed") / "study")


@pytest.fixture(scope="module")
def table(folder):
    return analysis.load(folder)


@pytest.fixture(scope="module")
def methods(table):
    return analysis.methods_table(table).set_index("name")


def _mean(dice: tuple[float, float]) -> float:
    return sum(dice) / 2


def test_every_method_is_one_row_over_its_seeds_and_in_the_order_of_the_modes(methods):
    assert methods.index.tolist() == [
        "Full dose",
        "reconstruction-only",
        "task-adaptive, alpha 0.5",
        "task-adaptive, alpha 0.9",
        "task-adaptive, alpha 0.99",
        "joint, alpha 0.5, own network scratch",
        "sequential, own network pretrained",
        "end-to-end, own network pretrained",
        "fine-tune, alpha 0.9",
        "SIRT",
        "TV",
        "FBP",
    ]
    trained = methods[methods["trials"] != ""]
    assert (trained["seeds"] == SEEDS).all() and trained.loc[
        "sequential, own network pretrained", "trials"
    ] == "5, 13, 21"


def test_scores_are_those_of_the_ground_truth_under_every_network(methods):
    for name, truth in (
        ("task-adaptive, alpha 0.99", METHODS["task_adaptive", 0.99]),
        ("joint, alpha 0.5, own network scratch", METHODS["joint", 0.5]),
    ):
        row = methods.loc[name]
        assert row[S.PRIMARY_DICE] == pytest.approx(_mean(truth.frozen), abs=0.03)
        assert row[AUDIT_DICE] == pytest.approx(_mean(truth.audit), abs=0.03)
        assert row[S.PRIMARY_PSNR] == pytest.approx(truth.psnr, abs=0.3)
    assert methods.loc["joint, alpha 0.5, own network scratch", OWN_DICE] == pytest.approx(
        _mean((0.86, 0.38)), abs=0.03
    )
    assert np.isnan(methods.loc["task-adaptive, alpha 0.99", OWN_DICE])
    assert methods.loc["Full dose", AUDIT_DICE] == pytest.approx(
        _mean(REFERENCE_TRUTH["full_dose"].audit), abs=0.01
    )


def test_the_gap_is_measured_from_the_best_that_knows_nothing_of_the_task(methods):
    dice = methods[S.PRIMARY_DICE]
    assert dice["reconstruction-only"] > max(dice[["TV", "SIRT", "FBP"]])
    lower, upper = dice["reconstruction-only"], dice["Full dose"]
    expected = (dice - lower) / (upper - lower)
    pd.testing.assert_series_equal(methods[GAP_CLOSED], expected, check_names=False)
    best = methods.loc["task-adaptive, alpha 0.99"]
    assert best[f"{GAP_CLOSED}_low"] < best[GAP_CLOSED] < best[f"{GAP_CLOSED}_high"]
    assert methods.loc[["reconstruction-only", "Full dose"], f"{GAP_CLOSED}_low"].isna().all()


def test_intervals_hold_slices_and_seeds_and_own_network_too(methods, table):
    one = methods.loc["joint, alpha 0.5, own network scratch"]
    seeds = table.scores("validation").loc[[4, 12, 20], S.PRIMARY_DICE]
    # Student's t of three seeds alone is already wider than their range.
    assert one[f"{S.PRIMARY_DICE}_high"] - one[f"{S.PRIMARY_DICE}_low"] > np.ptp(seeds)
    assert one[f"{OWN_DICE}_low"] < one[OWN_DICE] < one[f"{OWN_DICE}_high"]
    words = interval_basis(table)
    assert "49 slices of the one patient" in words and "seeds" in words and "none over patients" in words


def test_several_patients_and_seeds_are_both_named(tmp_path):
    words = interval_basis(analysis.load(write_seed_table(tmp_path, patients=3, slices=4)))
    assert "3 patients" in words and "training runs" in words and "one patient" not in words


def test_the_summary_says_what_the_second_network_sees(table):
    (sentence,) = [s for s in summarise(table) if s.startswith("A second task network")]
    methods = analysis.methods_table(table).set_index("name")
    one, other = methods.loc["task-adaptive, alpha 0.99"], methods.loc["reconstruction-only"]
    assert f"{one[AUDIT_DICE] - other[AUDIT_DICE]:+.3g}" in sentence
    assert f"{one[S.PRIMARY_DICE] - other[S.PRIMARY_DICE]:+.3g}" in sentence
    seen = (one[AUDIT_DICE] - other[AUDIT_DICE]) / (one[S.PRIMARY_DICE] - other[S.PRIMARY_DICE])
    assert f"{max(seen, 0):.0%} of the gain" in sentence
    assert ("fools its judge" in sentence) == (seen < 0.5)


@pytest.mark.parametrize(
    ("gain", "seen", "words"),
    [
        (0.1, 0.05, "50% of the gain, so it is no trick"),
        (0.1, 0.049, "49% of the gain, less than half, so the method fools its judge"),
        (0.1, -0.2, "0% of the gain, less than half"),
        (-0.1, 0.2, ""),
    ],
)
def test_a_gain_that_the_second_judge_does_not_half_see_is_called_a_trick(gain, seen, words):
    from analysis.summary import _verdict

    assert words in _verdict(gain, seen) and bool(words) == bool(_verdict(gain, seen))


def test_the_judges_chart_holds_every_trial_and_the_diagonal(table):
    data = compute_judges(table, S.AUDIT_NETWORK_SUFFIX)
    points = data.points.set_index("trial")
    assert len(points) == 24 and set(data.references["method"]) == set(REFERENCE_TRUTH)
    fooled = points[points["method"] == "task_adaptive"]
    assert (fooled[OTHER] < fooled[S.PRIMARY_DICE] - 0.05).all()
    figure = draw_judges(data)
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1) == (line.y0, line.y1) == figure.layout.xaxis.range == figure.layout.yaxis.range


def test_only_trials_with_a_network_of_their_own_are_in_its_chart(table, folder, tmp_path):
    data = compute_judges(table, S.OWN_NETWORK_SUFFIX)
    assert set(data.points["method"]) == {"joint", "sequential", "end_to_end"} and len(data.points) == 9
    without = analysis.ResultsTable(
        table.folder,
        table.rows.drop(columns=[c for c in table.rows if c.endswith(S.OWN_NETWORK_SUFFIX)]),
        table.samples,
        table.study,
    )
    with pytest.raises(NotApplicable):
        compute_judges(without, S.OWN_NETWORK_SUFFIX)
    with pytest.raises(Unavailable, match="taskct evaluate"):
        compute_judges(without, S.AUDIT_NETWORK_SUFFIX)


def test_an_audit_on_other_data_or_another_split_is_no_audit_of_this_study(table):
    for column, value in ((S.DATA_HASH, "other"), (S.SPLIT, "test")):
        rows = table.evaluations.assign(**{column: value})
        other = analysis.ResultsTable(table.folder, table.rows, table.samples, table.study, rows)
        assert network_scores(other, "validation", S.AUDIT_NETWORK_SUFFIX).empty


def test_no_interval_leaves_what_a_dice_can_be(tmp_path):
    table = analysis.load(write_seed_table(tmp_path / "few", slices=4))
    rows = table.samples.copy()
    liver = rows[S.TRIAL].isin([1, 9])  # two of three seeds are perfect in the liver, the third is poor
    rows.loc[liver, "liver_overlap_pixels"] = rows.loc[liver, "liver_predicted_pixels"]
    rows.loc[rows[S.TRIAL] == 17, "liver_overlap_pixels"] = 200
    spread = analysis.ResultsTable(table.folder, table.rows, rows, table.study, table.evaluations)
    ends = analysis.methods_table(spread)[[f"{S.PRIMARY_DICE}_{end}" for end in ("low", "high")]].dropna()
    assert len(ends) and ends.min(axis=None) >= 0 and ends.max(axis=None) == 1


def test_an_audit_keeps_its_slices_so_that_it_has_intervals(table, methods):
    counts = [f"{count}{S.AUDIT_NETWORK_SUFFIX}" for count in S.COUNTS]
    assert table.samples[counts].notna().all(axis=None)
    assert len(table.samples) == table.samples[S.TRIAL].nunique() * 49
    low, high = (methods.loc["task-adaptive, alpha 0.99", f"{AUDIT_DICE}_{end}"] for end in ("low", "high"))
    assert low < methods.loc["task-adaptive, alpha 0.99", AUDIT_DICE] < high


def test_of_two_audits_the_last_network_counts(table):
    second = table.evaluations.assign(
        **{f"{S.TASK_NETWORK_HASH}{S.AUDIT_NETWORK_SUFFIX}": "network-c", AUDIT_DICE: 0.5}
    )
    rows = pd.concat([table.evaluations, second[second[S.TRIAL] == 3]])
    both = analysis.ResultsTable(table.folder, table.rows, table.samples, table.study, rows)
    scores = network_scores(both, "validation", S.AUDIT_NETWORK_SUFFIX)[S.PRIMARY_DICE]
    assert scores.to_dict() == {3: 0.5}


def test_alpha_curves_join_no_modes_and_leave_out_those_without_an_alpha(table):
    data = compute_alpha_curve(table, S.PRIMARY_DICE)
    assert data.swept and data.curves["alpha"].tolist() == [0.0, 0.5, 0.9, 0.99]
    assert data.curves["trials"].tolist() == [SEEDS] * 4
    assert not {"sequential", "end_to_end"} & set(data.points["method"])


@pytest.mark.parametrize(("width", "intervals"), [(120, True), (80, False)])
def test_the_console_table_holds_every_method_and_is_not_cut(table, width, intervals):
    text = io.StringIO()
    Console(file=text, width=width).print(analysis.methods_console(table, intervals))
    for words in ("reconstruction-only", "end-to-end", "Full dose", "second", "100%", "only to full dose"):
        assert words in " ".join(text.getvalue().split()), words
    assert "…" not in text.getvalue() and ("49 slices" in text.getvalue()) == intervals


def test_a_liver_network_is_audited_by_liver_dice_alone(table):
    """Its mean Dice is the liver's, and another network's mean over liver and tumour is another thing."""
    without = [c for c in table.rows if "tumour" in c]
    rows = table.rows.assign(**dict.fromkeys(without, np.nan))
    liver = analysis.ResultsTable(table.folder, rows, table.samples, table.study, table.evaluations)
    assert compute_judges(liver, S.AUDIT_NETWORK_SUFFIX).metric == "dice_liver_patient_nnunet"
    methods = analysis.methods_table(liver)
    assert "dice_liver_patient_nnunet_audit" in methods and AUDIT_DICE not in methods
    assert "Dice liver" in next(s for s in summarise(liver) if s.startswith("A second task network"))
