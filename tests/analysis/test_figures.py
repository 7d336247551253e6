"""Figures: exact data where the truth is known. That each draws on every study, or says why not: test_report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edge_case_studies import OWN_OBJECTIVE, STUDIES
from study_factory import BONUS_DB, Recipe, plan, write_study

import analysis
from analysis import pareto
from analysis.figures import FIGURES
from analysis.figures.alpha import compute_alpha_curve
from analysis.figures.correlation import compute_rank_correlations
from analysis.figures.differences import compute_differences, compute_patient_differences
from analysis.figures.front import draw_front
from analysis.figures.front_data import compute_front, compute_fronts_by_architecture
from analysis.figures.history import compute_hypervolume, compute_learning_curves
from analysis.figures.parameters import compute_importance, compute_parallel
from analysis.figures.style import architecture_colours, colours_of
from analysis.importance import Importance
from analysis.search_history import hypervolume_history
from analysis.unavailable import Unavailable, attempt
from taskct_core import schema as S
from taskct_core.reconstructors import RECONSTRUCTORS


def test_a_full_study_has_every_figure(tmp_path):
    recipe = Recipe(trials=24, panels=False, configs=False)
    table = analysis.load(write_study(tmp_path, recipe))
    found = {
        name: attempt(spec.compute, table) for name, spec in FIGURES.items() if spec.section != "alpha-more"
    }
    missing = [name for name, one in found.items() if one.missing is not None]
    # One task network, one seed, one dose, two objectives, no images, no lesions inserted.
    of_doses = ["gain_over_dose", "gap_over_dose", "cost_over_dose", "alpha_over_dose"]
    of_lesions = ["lesions_against_dice", "image_quality_profile", "noise_power", "task_transfer"]
    assert missing == [
        *("front_objectives", "continuous_front", "attainment", *of_doses),
        *(
            "judge_audit",
            "judge_own",
            "image_panels",
            *of_lesions,
            "bias_by_tissue",
            "importance_3",
        ),
    ]


def test_an_own_objective_has_a_front_of_its_own_that_falls(tmp_path):
    table = analysis.load(STUDIES["own objective"](tmp_path))
    assert table.objectives == [S.PRIMARY_DICE, OWN_OBJECTIVE]
    data = FIGURES["front_objectives"].compute(table)
    assert (data.x, data.y) == (OWN_OBJECTIVE, S.PRIMARY_DICE)
    by_psnr = FIGURES["front_dice_psnr"].compute(table)
    assert sorted(data.fronts["all trials"]) == sorted(
        by_psnr.fronts["all trials"]
    )  # it is PSNR turned round
    figure = FIGURES["front_objectives"].draw(data)
    assert figure.layout.xaxis.title.text == "Blurred share, less is better"
    best = [pick for pick in analysis.picks(table) if "Blurred share" in pick.why]
    assert [pick.trial for pick in best] == [table.complete_scores("validation")[OWN_OBJECTIVE].idxmin()]


def test_front_data_is_exact(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(noise=0.0, panels=False)))
    data = compute_front(table, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    complete = data.points[data.points["status"] == S.COMPLETE]
    assert data.split == "validation" and len(complete) == 12
    points = complete[[S.PRIMARY_PSNR, S.PRIMARY_DICE]].to_numpy()
    front = {int(t) for t in complete["trial"][pareto.non_dominated(points, ["maximize"] * 2)]}
    # Without noise learned primal-dual is the better one at every alpha.
    better = {t["trial"] for t in plan(Recipe()) if t["architecture"] == "learned_primal_dual"}
    assert set(data.fronts["all trials"]) == front and front <= better | {10}
    x = data.points.set_index("trial").loc[data.fronts["all trials"], S.PRIMARY_PSNR]
    assert x.is_monotonic_increasing
    assert data.references["method"].tolist() == ["tv", "fbp"] and data.upper_bound == pytest.approx(
        0.875, abs=0.02
    )


def test_each_architecture_has_its_own_front(table):
    data = compute_fronts_by_architecture(table, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    by_trial = data.points.set_index("trial")["architecture"]
    assert set(data.fronts) == {"unet", "learned_primal_dual"}
    for name, trials in data.fronts.items():
        assert (by_trial[trials] == name).all()


def test_only_the_front_has_intervals_and_they_hold_the_score(table):
    points = compute_front(table, S.PRIMARY_PSNR, S.PRIMARY_DICE).points
    front = points[points["on_front"]]
    assert (front["x_low"] <= front[S.PRIMARY_PSNR]).all() and (
        front["x_high"] >= front[S.PRIMARY_PSNR]
    ).all()
    assert points.loc[~points["on_front"], "x_low"].isna().all()


def test_a_click_finds_the_trial_of_every_marker(table):
    figure = draw_front(compute_front(table, S.PRIMARY_PSNR, S.PRIMARY_DICE))
    clicked = [
        t for trace in figure.data if trace.mode == "markers" and trace.customdata for t in trace.customdata
    ]
    scored = table.scores("validation", [S.PRIMARY_PSNR, S.PRIMARY_DICE]).dropna()
    assert set(clicked) == set(scored.index) - set(table.references.index)


def test_alpha_curves_join_a_sweep_and_follow_the_ground_truth(tmp_path):
    recipe = Recipe(architectures=("unet",), seeds=3, noise=0.2, panels=False)
    folder = write_study(tmp_path, recipe)
    table = analysis.load(folder)
    rows = table.rows.assign(config_learning_rate=1e-3, config_image_loss="mse", config_width=16.0)
    rows.loc[rows[S.METHOD].isin(["fbp", "tv", "full_dose"]), "config_learning_rate"] = np.nan
    sweep = analysis.ResultsTable(table.folder, rows, table.samples, table.study)
    data = compute_alpha_curve(sweep, S.PRIMARY_PSNR)
    assert data.swept and data.curves["trials"].tolist() == [3] * 12
    truth = 32 - 3 * data.curves["alpha"] ** 2
    shift = (data.curves["centre"] - truth).mean()
    np.testing.assert_allclose(data.curves["centre"] - shift, truth, atol=0.15)
    assert (data.curves["low"] <= data.curves["centre"]).all()


def test_without_a_sweep_alpha_curves_are_medians_of_bins_and_say_so(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(trials=60, panels=False, configs=False)))
    rows = table.rows.assign(config_learning_rate=table.rows[S.TRIAL].astype(float))
    data = compute_alpha_curve(
        analysis.ResultsTable(table.folder, rows, table.samples, table.study), S.PRIMARY_DICE
    )
    assert not data.swept and set(data.curves["architecture"]) == {"unet", "learned_primal_dual"}
    edge = np.linspace(data.points["position"].min(), data.points["position"].max(), 6)[1]
    one = data.points[(data.points["architecture"] == "unet") & (data.points["position"] < edge)]
    first = data.curves[data.curves["architecture"] == "unet"].iloc[0]
    assert first["centre"] == one[S.PRIMARY_DICE].median() and first["trials"] == len(one)


def test_hypervolume_history_grows_to_the_hypervolume_of_all(table):
    history = hypervolume_history(table)
    data = compute_hypervolume(table)
    scores = table.complete_scores("validation", table.objectives).to_numpy()
    whole = pareto.hypervolume(scores, list(data.reference.values()), ["maximize"] * 2)
    assert history["hypervolume"].is_monotonic_increasing
    assert history["hypervolume"].iloc[-1] == pytest.approx(whole)
    assert len(history) == 24 and history["seconds"].is_monotonic_increasing


def test_seconds_count_failed_and_pruned_trials_too(table):
    spent = table.trials.loc[table.trials[S.STATUS] != S.RUNNING, S.SECONDS]
    order = table.trials[table.trials[S.STATUS] != S.RUNNING].sort_values(S.FINISHED_AT).index
    history = hypervolume_history(table).set_index("trial")["seconds"]
    last = history.index[-1]
    assert history[last] == spent.loc[order[: list(order).index(last) + 1]].sum()


def test_learning_curves_hold_every_epoch_and_thin_out_long_ones(table, tmp_path):
    data = compute_learning_curves(table, S.PRIMARY_DICE)
    assert data.curves[data.curves["trial"] == 0]["epoch"].tolist() == [1, 2, 3]
    assert "PRUNED" in set(data.curves["status"])
    recipe = Recipe(trials=2, epochs=100, samples=False, panels=False, pruned=0, failed=0, running=0)
    long = analysis.load(write_study(tmp_path, recipe))
    curve = compute_learning_curves(long, S.PRIMARY_DICE).curves
    epochs = curve[curve["trial"] == 0]["epoch"]
    assert len(epochs) <= 40 and epochs.max() == 100


def test_importance_finds_alpha_for_dice_and_nothing_in_noise(tmp_path):
    recipe = Recipe(trials=60, panels=False, configs=False, samples=False, references=False)
    table = analysis.load(write_study(tmp_path, recipe))
    found = compute_importance(table, 0)
    assert isinstance(found, Importance) and found.rows["parameter"].iloc[0] == "alpha"
    assert found.r_squared > 0.8 and found.rows["importance"].iloc[0] > 5 * found.rows["importance"].iloc[2]
    noise = np.random.default_rng(0).normal(size=len(table.rows))
    random = analysis.ResultsTable(
        table.folder, table.rows.assign(**{S.PRIMARY_DICE: noise}), table.samples, table.study
    )
    with pytest.raises(Unavailable, match="do not predict"):
        compute_importance(random, 0)


def test_parallel_axes_scale_parameters_and_put_conditional_ones_below(table):
    data = compute_parallel(table)
    titles = [axis.title for axis in data.axes]
    width = data.lines[str(titles.index("width"))]
    assert (width[table.trials.loc[data.lines["trial"], "config_width"].isna().to_numpy()] < 0).all()
    alpha = data.lines[str(titles.index("alpha"))]
    np.testing.assert_allclose(alpha, table.trials.loc[data.lines["trial"], "config_alpha"])
    rate = data.lines[str(titles.index("learning rate"))]
    assert sorted(set(np.round(rate, 6))) == [0.0, 0.5, 1.0]  # 1e-4, 1e-3, 1e-2 on a logarithmic axis


def test_rank_correlation_is_negative_where_dice_and_psnr_trade_off(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(architectures=("unet",), panels=False)))
    rows = compute_rank_correlations(table).rows
    assert len(rows) == 8 * 3 and (rows["high"] < 0).all()


def test_differences_of_the_report_share_one_holm_family(table):
    dice, psnr = (compute_differences(table, m) for m in (S.PRIMARY_DICE, S.PRIMARY_PSNR))
    assert dice.rows["name"].tolist() == psnr.rows["name"].tolist()
    smallest = min(dice.rows["p"].min(), psnr.rows["p"].min())
    assert dice.rows["p_holm"].min() >= 3 * len(dice.rows) * smallest - 1e-9


def test_patient_differences_name_every_patient(table):
    rows = compute_patient_differences(table).rows
    liver = rows[rows["metric"] == "dice_liver_patient_nnunet"]
    assert set(liver["patient"]) == {f"test-{k}" for k in range(8)} and (liver["difference"] > 0.1).all()


def test_colours_are_the_same_for_the_same_architectures():
    assert architecture_colours(["b", "a", "b"]) == architecture_colours({"a", "b"})
    assert len(set(architecture_colours(BONUS_DB).values())) == 3
    assert len(set(architecture_colours(RECONSTRUCTORS).values())) == len(RECONSTRUCTORS)
    assert len(set(architecture_colours(map(str, range(24))).values())) == 24


def test_an_architecture_has_one_colour_in_every_chart_whatever_trials_it_shows(tmp_path):
    architectures = ("dncnn", "learned_primal_dual", "unet")
    table = analysis.load(write_study(tmp_path, Recipe(architectures=architectures, panels=False)))
    rows = table.rows.copy()
    is_first = rows["config_architecture"] == "dncnn"
    rows.loc[is_first, S.STATUS] = S.PRUNED  # in the learning curves, and in no front
    rows = rows[~(is_first & (rows[S.SPLIT] == "test"))]
    pruned = analysis.ResultsTable(table.folder, rows, table.samples, table.study)
    points = compute_front(pruned, S.PRIMARY_PSNR, S.PRIMARY_DICE).points
    front = colours_of(points[points["status"] == S.COMPLETE])
    curves = colours_of(compute_learning_curves(pruned, S.PRIMARY_DICE).curves)
    lines = colours_of(compute_parallel(pruned).lines)
    assert set(front) == set(lines) == {"learned_primal_dual", "unet"} and set(curves) == set(architectures)
    assert front == lines == {name: curves[name] for name in front}


def test_an_interval_that_leaves_the_chart_is_not_drawn(tmp_path):
    data = compute_front(
        analysis.load(write_study(tmp_path, Recipe(panels=False))), S.PRIMARY_PSNR, S.PRIMARY_DICE
    )
    points = data.points.copy()
    points.loc[points["on_front"], ["y_low", "y_high"]] = [-9.0, 9.0]
    drawn, whole = (
        [trace for trace in draw_front(one).data if (trace.meta or {}).get("role") == "interval"]
        for one in (dataclasses.replace(data, points=points), data)
    )
    assert drawn and all(not any(trace.error_y.array) for trace in drawn)
    assert any(any(trace.error_y.array) for trace in whole)
    assert [trace.error_x.array for trace in drawn] == [trace.error_x.array for trace in whole]
