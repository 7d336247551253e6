"""Figures of image quality and over dose, on studies whose truth is known."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from study_factory import Recipe, write_study, write_table

import analysis
from analysis.attainment import attainment, excess_of_drawn_medians, surfaces
from analysis.figures import FIGURES
from analysis.figures.across_tasks import BETTER, MIDDLE, compute_across_tasks, draw_across_tasks
from analysis.figures.over_dose import (
    compute_studies_over_dose,
    draw_alpha_over_dose,
    draw_over_dose,
    words_of,
)
from analysis.image_quality import ends_over_runs, image_quality, image_quality_curves
from analysis.over_dose import over_dose, starts_to_pay
from analysis.report.page import _figures
from analysis.results_table import ResultsTable
from analysis.sample_scores import AlignedSamples
from analysis.several_studies import compare
from analysis.unavailable import NotApplicable
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

MEASURED = ("lesions_against_dice", "image_quality_profile", "noise_power", "task_transfer", "bias_by_tissue")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> ResultsTable:
    """A study that measured image quality: d' falls with alpha, the fat of every image is 5 HU too bright."""
    folder = StudyFolder(
        write_study(tmp_path_factory.mktemp("measured"), Recipe(panels=False, configs=False))
    )
    rows, samples = pd.read_parquet(folder.results), pd.read_parquet(folder.samples)
    alpha = rows[f"{S.CONFIG_PREFIX}alpha"].fillna(0).astype(float)
    rows[S.DPRIME] = 3 - alpha
    rows[f"{S.DPRIME}_low"], rows[f"{S.DPRIME}_high"] = rows[S.DPRIME] - 0.4, rows[S.DPRIME] + 0.5
    rows[S.NOISE_HU], rows[S.TRANSFER_FREQUENCY] = 12.0, 0.3
    samples["fat_error_pixels"] = 100.0
    samples["fat_error_sum_hu"] = np.where(samples[S.TRIAL] >= 0, 500.0, -200.0)
    write_table(folder.results, rows)
    write_table(folder.samples, samples)
    curves = [
        {S.TRIAL: trial, S.METHOD: "m", S.SPLIT: "test", S.CURVE: curve, S.FREQUENCY: f, S.VALUE: 1 - f}
        for trial in rows[S.TRIAL].unique()
        for curve in ("nps", "ttf")
        for f in (0.1, 0.2)
    ]
    write_table(folder.image_quality, pd.DataFrame(curves))
    return analysis.load(folder.path)


@pytest.mark.parametrize("name", MEASURED)
def test_a_study_that_measured_it_shows_it(measured: ResultsTable, name: str) -> None:
    figure = FIGURES[name].draw(FIGURES[name].compute(measured))
    assert figure.layout.height and sum(len(trace.x) for trace in figure.data) > 0


def test_the_winner_in_dice_need_not_be_the_one_in_lesions(measured: ResultsTable) -> None:
    data = FIGURES["lesions_against_dice"].compute(measured)
    alphas = measured.trials[f"{S.CONFIG_PREFIX}alpha"]
    assert alphas[data.best_dice] > alphas[data.best_dprime] == 0
    assert {"FBP", "Full dose"} <= set(data.rows["name"])
    sentence = next(text for text in analysis.summarise(measured) if "inserted" in text)
    assert "has d' 2.00 (1.60 to 2.50), the one with the best d' there 3.00" in sentence


def test_ends_of_a_mean_over_runs_hold_places_and_runs() -> None:
    """The half width is the root of the sum of squares of what places leave open and of Student's t over runs."""
    ends = {f"{S.DPRIME}_low": [1.6, 1.6, 1.6], f"{S.DPRIME}_high": [2.5, 2.5, 2.5]}
    equal = pd.DataFrame({S.DPRIME: [2.0, 2.0, 2.0], **ends})
    assert ends_over_runs(equal, S.DPRIME) == pytest.approx((1.6, 2.5))
    assert ends_over_runs(equal[:1], S.DPRIME) == pytest.approx((1.6, 2.5))
    reach = 4.302653 * 0.3 / np.sqrt(3)  # t of two degrees of freedom times the error of the mean
    low, high = ends_over_runs(equal.assign(**{S.DPRIME: [1.7, 2.0, 2.3]}), S.DPRIME)
    assert (low, high) == pytest.approx((2 - np.hypot(0.4, reach), 2 + np.hypot(0.5, reach)))
    assert all(map(np.isnan, ends_over_runs(equal, S.NOISE_HU)))


def test_a_repeated_trial_has_the_ends_of_its_mean_over_folds(measured: ResultsTable) -> None:
    """Folds have places of their own, so that what they leave open is added as the errors of a mean are."""
    trial = int(measured.trials.index[0])
    folds = pd.DataFrame({S.FOLD: [0, 1], S.DPRIME: [1.0, 3.0], S.DPRIME_GABOR: [0.5, 0.5]})
    ends = {
        f"{S.DPRIME}_low": [0.7, 2.6], f"{S.DPRIME}_high": [1.6, 3.8],
        f"{S.DPRIME_GABOR}_low": 0.0, f"{S.DPRIME_GABOR}_high": [1.0, np.nan],
    }  # fmt: skip
    runs = folds.assign(**ends, **{S.TRIAL: trial, S.SPLIT: measured.claim_split, S.RUN: "run"})
    found = image_quality(dataclasses.replace(measured, runs=runs)).loc[trial]
    assert found[f"{S.DPRIME}_low"] == pytest.approx(2 - np.hypot(0.3, 0.4) / 2)
    assert found[f"{S.DPRIME}_high"] == pytest.approx(2 + np.hypot(0.6, 0.8) / 2)


def test_d_prime_without_an_interval_is_told_without_one(measured: ResultsTable) -> None:
    ends = [f"{S.DPRIME}_low", f"{S.DPRIME}_high"]
    table = dataclasses.replace(measured, rows=measured.rows.drop(columns=ends))
    sentence = next(text for text in analysis.summarise(table) if "inserted" in text)
    assert "has d' 2.00, the one" in sentence and "nan" not in sentence


def test_a_curve_is_the_mean_over_a_trial_s_runs(measured: ResultsTable, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    rows = pd.read_parquet(measured.folder.image_quality)
    other = rows[rows[S.TRIAL] == 0].assign(**{S.VALUE: 0.0})
    write_table(folder.image_quality, pd.concat([rows, other]))
    found = image_quality_curves(dataclasses.replace(measured, folder=folder)).set_index(
        [S.TRIAL, S.FREQUENCY]
    )
    assert (found.loc[(0, 0.1), S.VALUE] == 0.45).all() and (found.loc[(1, 0.1), S.VALUE] == 0.9).all()


def test_bias_has_its_sign(measured: ResultsTable) -> None:
    rows = FIGURES["bias_by_tissue"].compute(measured).rows.set_index("name")
    assert set(rows["metric"]) == {"fat"}
    assert rows.loc["FBP", "score"] == pytest.approx(-2) and "Full dose" not in rows.index
    assert (rows.drop(index=["FBP", "TV"])["score"] == 5).all()


def test_a_study_that_measured_nothing_says_nothing(table: ResultsTable) -> None:
    for name in MEASURED:
        with pytest.raises(NotApplicable):
            FIGURES[name].compute(table)


@pytest.mark.parametrize(
    ("low_ends", "expected"),
    [([0.2, 0.1, -0.1], 2000.0), ([0.2, 0.1, 0.05], np.inf), ([-0.1, 0.2, 0.3], None)],
)
def test_it_starts_to_pay_where_the_low_end_crosses_zero(
    low_ends: list[float], expected: float | None
) -> None:
    found = starts_to_pay(np.array([100.0, 1000.0, 4000.0]), np.array(low_ends))
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.fixture(scope="module")
def doses(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three studies of three doses that differ in alpha alone, with three seeds each."""
    root = tmp_path_factory.mktemp("doses")
    shape: dict[str, Any] = {"seeds": 3, "trials": 4, "patients": 8, "slices": 2, "epochs": 1}
    shape |= {"architectures": ("unet",), "panels": False, "configs": False, "test_split": True}
    folders = []
    for number, photons in enumerate((500.0, 2000.0, 8000.0)):
        name = f"dose-{photons:g}"
        recipe = Recipe(name=name, photons_per_ray=photons, data_hash=name, seed=number, **shape)
        folder = write_study(root / name, recipe)
        rows = pd.read_parquet(folder / StudyFolder.results)
        same = {"image_loss": "mse", "learning_rate": 1e-3, "width": 16.0}
        write_table(
            folder / StudyFolder.results,
            rows.assign(**{S.CONFIG_PREFIX + key: value for key, value in same.items()}),
        )
        folders.append(folder)
    return folders


def test_studies_of_several_doses_show_gain_gap_and_alpha(doses: list[Path]) -> None:
    data = compute_studies_over_dose(compare(doses, side_by_side=True))
    assert data.rows[S.PHOTONS_PER_RAY].tolist() == [500, 2000, 8000]
    # Dice of the factory's studies rises with alpha at every dose: the recommended trial beats alpha 0 at all.
    assert (data.rows["gain"] > 0.05).all() and (data.rows["cost"] < 0).all()
    assert data.starts_to_pay == np.inf and "every dose" in words_of(data)
    assert data.rows["alpha"].between(0.01, 1).all() and data.rows["gap"].between(0, 1).all()
    for what in ("gain", "gap", "cost"):
        figure = draw_over_dose(data, what)
        assert figure.data[0].x == figure.layout.xaxis.tickvals == (500, 2000, 8000)
        assert figure.layout.xaxis.ticktext == ("500", "2,000", "8,000")


def test_the_axis_of_alpha_over_dose_has_ticks_about_its_values(doses: list[Path]) -> None:
    axis = draw_alpha_over_dose(compute_studies_over_dose(compare(doses, side_by_side=True))).layout.yaxis
    assert sum(axis.range[0] <= tick <= axis.range[1] for tick in axis.tickvals) >= 2


def test_with_too_few_patients_no_gain_is_called_one(doses: list[Path]) -> None:
    def first_five(folder: Path) -> analysis.ResultsTable:
        table = analysis.load(folder)
        names = sorted(table.samples[table.samples[S.SPLIT] == "test"][S.PATIENT].unique())[:5]
        return dataclasses.replace(table, samples=table.samples[table.samples[S.PATIENT].isin(names)])

    data = over_dose([(500.0, first_five(doses[0])), (2000.0, first_five(doses[1]))])
    assert data.patients == 5 and data.starts_to_pay is None and (data.rows["gain_low"] > 0).any()
    assert "5 patients" in words_of(data) and "above 0" not in words_of(data)


def judged_twice(folder: Path, trials: Sequence[int]) -> analysis.ResultsTable:
    """A study with a second network, which saw in some trials what the first did, and in the others half of it."""
    table = analysis.load(folder)
    samples = table.samples.copy()
    for name in S.COUNTS:
        seen = np.where(samples[S.TRIAL].isin(trials) | ("overlap" not in name), 1.0, 0.5)
        samples[name + S.AUDIT_NETWORK_SUFFIX] = samples[name] * seen
    return dataclasses.replace(table, samples=samples)


def test_the_second_judge_has_its_own_gain_over_dose(doses: list[Path]) -> None:
    every = list(range(12))
    alike = over_dose([(500.0, judged_twice(doses[0], every)), (2000.0, judged_twice(doses[1], every))])
    for end in ("", "_low", "_high"):
        assert alike.rows[f"gain_audit{end}"].tolist() == pytest.approx(alike.rows[f"gain{end}"].tolist())
    plain = [0, 1, 2]  # the three seeds at alpha 0, which alone it sees as the first does
    fooled = over_dose([(500.0, judged_twice(doses[0], plain)), (2000.0, judged_twice(doses[1], plain))])
    assert (fooled.rows["gain"] > 0.05).all() and (fooled.rows["gain_audit"] < -0.1).all()
    frozen, second = draw_over_dose(fooled, "gain").data
    assert frozen.y == tuple(fooled.rows["gain"]) and second.y == tuple(fooled.rows["gain_audit"])
    assert second.customdata == frozen.x == (500, 2000)


def test_without_a_second_judge_none_is_drawn(doses: list[Path]) -> None:
    data = compute_studies_over_dose(compare(doses, side_by_side=True))
    assert not data.has_second_judge and len(draw_over_dose(data, "gain").data) == 1


def test_a_page_of_several_doses_begins_with_what_is_gained_at_each(
    doses: list[Path], tmp_path: Path
) -> None:
    page = analysis.write_comparison(doses, tmp_path / "page.html", side_by_side=True).read_text()
    assert page.index("What task-adaptive training gains at each dose") < page.index("What differs")
    gained = page[page.index('aria-label="Gain at each dose"') : page.index("What differs")]
    assert [dose in gained for dose in ("500", "2,000", "8,000")] == [True] * 3 and "every dose" in page


def test_a_page_of_several_doses_has_the_second_judge_beside_the_first(
    doses: list[Path], tmp_path: Path
) -> None:
    judged = []
    for folder in doses[:2]:
        copy = shutil.copytree(folder, tmp_path / folder.name)
        write_table(copy / StudyFolder.samples, judged_twice(folder, [0, 1, 2]).samples)
        judged.append(copy)
    page = analysis.write_comparison(judged, tmp_path / "page.html", side_by_side=True).read_text()
    assert "by the second network (audit)" in page[: page.index("What differs")]
    alone = analysis.write_comparison(doses, tmp_path / "alone.html", side_by_side=True).read_text()
    assert "by the second network (audit)" not in alone


def test_methods_with_three_seeds_are_compared_across_studies(doses: list[Path]) -> None:
    data = compute_across_tasks(compare(doses, side_by_side=True))
    middle = data.rows[data.rows["metric"] == MIDDLE]
    assert data.studies == 3 and len(middle) == 4
    assert (middle["low"] <= middle["score"]).all() and (middle["score"] <= middle["high"]).all()
    assert len(data.rows[data.rows["metric"] == BETTER]) == 3
    assert len(draw_across_tasks(data).data) == 2


def test_the_attainment_surface_is_what_half_of_the_seeds_attain(doses: list[Path]) -> None:
    table = analysis.load(doses[0])
    found = attainment(table, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    assert found.of_seeds.shape[0] == 3
    attained = (np.nan_to_num(found.of_seeds, nan=-1) >= found.median - 1e-12).sum(axis=0)
    known = ~np.isnan(found.median)
    assert known.any() and (attained[known] >= 2).all()
    assert (np.diff(found.median[known]) <= 1e-12).all()  # no more Dice for more PSNR
    inside = (found.low <= found.median + 1e-9) & (found.median <= found.high + 1e-9)
    assert inside[known].mean() > 0.9


def test_a_band_counts_the_seeds_as_medians_of_other_seeds_would_scatter() -> None:
    """Three normal seeds, by the moments of their order statistics (Sarhan & Greenberg 1962)."""
    of_ends, of_middle, across, between = 0.55947, 0.44867, 0.27566, 0.16487  # variances and covariances
    mean_square = (14 * (of_ends + 0.84628**2) + 13 * of_middle) / 27
    square_of_mean = (98 * of_ends + 169 * of_middle + 98 * between + 364 * across) / 27**2
    assert excess_of_drawn_medians(3) == pytest.approx((mean_square - square_of_mean) / of_middle, rel=0.02)


def test_two_of_four_seeds_are_half_of_them() -> None:
    values = {S.PRIMARY_SSIM: np.full((8, 4), 0.9), S.PRIMARY_PSNR: np.tile([30.0, 31.0, 32.0, 33.0], (8, 1))}
    samples = AlignedSamples("test", [0, 1, 2, 3], list("abcdefgh"), values)
    found = surfaces(samples, [[0], [1], [2], [3]], S.PRIMARY_SSIM, S.PRIMARY_PSNR)
    assert found.median == pytest.approx([32.0]) and found.low[0] < 32.0 < found.high[0]


def test_lines_that_the_key_of_trials_does_not_name_have_a_legend(
    doses: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("attainment", "front_dice_psnr")
    monkeypatch.setattr("analysis.report.page.FIGURES", {name: FIGURES[name] for name in names})
    shown = {figure["name"]: figure for figure in _figures(analysis.load(doses[0]))["trade-off"]}
    legends = {name: json.loads(shown[name]["json"])["layout"]["showlegend"] for name in names}
    assert legends == {"attainment": True, "front_dice_psnr": False}


def test_slices_of_several_doses_make_a_study_of_several_doses(tmp_path: Path) -> None:
    folder = StudyFolder(
        write_study(
            tmp_path, Recipe(patients=8, trials=4, panels=False, configs=False, architectures=("unet",))
        )
    )
    samples = pd.read_parquet(folder.samples)
    samples[S.PHOTONS_PER_RAY] = 400.0 * 2.0 ** (samples[S.SLICE_INDEX] % 4)
    write_table(folder.samples, samples)
    with pytest.raises(NotApplicable, match="one dose"):
        FIGURES["gain_over_dose"].compute(analysis.load(tmp_path))
    folder.card.write_text(folder.card.read_text().replace("4096.0", "[400.0, 3200.0]"))
    data = FIGURES["gain_over_dose"].compute(analysis.load(tmp_path))
    assert len(data.rows) >= 2 and (data.rows["gain"] > 0.03).all()
    assert FIGURES["alpha_over_dose"].draw(data).layout.height
