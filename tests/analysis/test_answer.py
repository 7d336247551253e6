"""The first screen: what is recommended, what it gains and costs, and whose images stand beside it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_factory import Recipe, write_study, write_table

import analysis
from analysis import panels
from analysis.answer import answer
from analysis.contestants import contestant
from analysis.figures.front import draw_front
from analysis.figures.front_data import compute_front
from analysis.paired_differences import needed_words
from analysis.report.answer_view import answer_view
from analysis.sample_scores import align, patient_scores
from analysis.selection import recommended
from analysis.shown_patients import shown_patients
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(
        tmp_path_factory.mktemp("answer") / "study", Recipe(trials=8, patients=8, configs=False)
    )


@pytest.fixture(scope="module")
def told(folder: Path) -> Any:
    return analysis.load(folder)


def test_the_recommended_network_is_the_one_that_export_takes(told: Any) -> None:
    found, best = answer(told), recommended(told)
    assert found is not None and best is not None and found.trial == best.trial
    assert found.alpha == told.trials.at[best.trial, "config_alpha"]
    assert "validation" in found.why and "8 patients" in found.basis


def test_gains_and_costs_are_the_differences_of_the_scores_with_their_intervals(told: Any) -> None:
    found = answer(told)
    assert found is not None
    effects = {effect.metric: effect for effect in found.effects}
    assert list(effects) == [S.PRIMARY_DICE, S.PRIMARY_PSNR, S.PRIMARY_SSIM]
    base = analysis.baseline(told)
    assert base is not None
    scores = told.scores("test")
    for metric, effect in effects.items():
        one, other = (contestant(told, trial).trials[0] for trial in (found.trial, base.trial))
        assert effect.difference == pytest.approx(scores.at[one, metric] - scores.at[other, metric], abs=1e-9)
        assert effect.low <= effect.difference <= effect.high
        assert effect.is_gain == (effect.difference > 0)
    assert effects[S.PRIMARY_DICE].is_gain and not effects[S.PRIMARY_PSNR].is_gain


def test_a_tile_is_a_gain_or_a_cost_only_where_its_interval_says_which(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = answer(told)
    assert found is not None
    ends = [(0.1, 0.2), (-0.2, -0.1), (-0.1, 0.2)]
    effects = [
        replace(effect, low=low, high=high, is_gain=low > 0, difference=-1e-6)
        for effect, (low, high) in zip(found.effects, ends, strict=True)
    ]
    monkeypatch.setattr("analysis.report.answer_view.answer", lambda table: replace(found, effects=effects))
    view = answer_view(told)
    assert view is not None and [tile["kind"] for tile in view["tiles"]] == ["gain", "cost", "open"]
    assert {tile["difference"].removesuffix(" dB").strip("0") for tile in view["tiles"]} == {
        "."
    }  # of no sign
    assert view["tiles"][1]["interval"].startswith("\N{MINUS SIGN}0.2")


def test_few_patients_are_said_to_be_too_few(tmp_path: Path) -> None:
    table = analysis.load(write_study(tmp_path, Recipe(trials=8, patients=3, panels=False, configs=False)))
    found = answer(table)
    assert found is not None and {effect.verdict for effect in found.effects} == {
        "3 patients: too few for a claim"
    }
    assert "3 patients" in found.basis
    assert all(effect.needed for effect in found.effects)


@pytest.mark.parametrize(
    ("patients", "words"),
    [
        (7.0, "needs about 7 patients"),
        (123.0, "needs about 120 patients"),
        (98_765.0, "needs about 99,000 patients"),
        (np.inf, "needs more seeds, or has no difference"),
    ],
)
def test_a_claim_s_patients_are_told_to_two_digits(patients: float, words: str) -> None:
    assert needed_words(patients) == words


def test_only_what_the_data_cannot_carry_is_told_what_it_would_need(told: Any) -> None:
    found = answer(told)
    assert found is not None and any(not effect.needed for effect in found.effects)
    assert all(bool(effect.needed) == ("not supported" in effect.verdict) for effect in found.effects)


def test_nothing_is_recommended_before_a_trial_is_complete(tmp_path: Path) -> None:
    table = analysis.load(write_study(tmp_path, Recipe(trials=0, panels=False, configs=False)))
    assert answer(table) is None
    page = analysis.write_report(tmp_path).read_text()
    assert "Nothing is recommended yet" in page


def test_a_typical_and_the_worst_patient_are_shown_not_the_first(folder: Path, tmp_path: Path) -> None:
    table = analysis.load(folder)
    best = recommended(table)
    assert best is not None
    samples = align(table, [best.trial], "test")
    dice = {name: float(scores[0]) for name, scores in patient_scores(samples, S.PRIMARY_DICE).items()}
    order = sorted(dice, key=lambda name: dice[name])
    kept = [order[-1], order[4], order[1], order[0]]  # the best first
    slices = panels.PanelSlices([{"patient": p, "slice_index": 1, "split": "test"} for p in kept], None)
    typical, worst = shown_patients(table, slices, (best.trial,))
    assert (typical.place, worst.place) == (1, 3) and order[0] in worst.words and order[4] in typical.words
    (only,) = shown_patients(table, panels.PanelSlices(slices.slices[:1], None), (best.trial,))
    assert only.place == 0 and "only one with images" in only.words


def test_every_column_has_a_picture_for_each_patient_and_points_have_theirs(told: Any) -> None:
    view = answer_view(told)
    assert view is not None and view["images"] is not None
    images = view["images"]
    titles = [column["title"] for column in images["columns"]]
    assert titles[:2] == ["Full dose", "Low dose (FBP)"] and titles[-1] == "Recommended"
    for source in images["sources"].values():
        assert len(source["cells"]) == len(images["rows"])
        assert all(cell["picture"].startswith("data:image/webp") for cell in source["cells"])
    complete = told.trials.index[told.trials[S.STATUS] == S.COMPLETE]
    assert set(complete) <= set(images["sources"])


def test_the_crop_holds_the_liver_and_stays_inside_the_slice() -> None:
    label = np.zeros((1, 64, 64), np.uint8)
    label[0, 2:12, 50:63] = S.LIVER
    panel = panels.Panel("a", np.zeros((1, 64, 64), np.float32), label)
    part, truth = panels.crop_to_liver(panel, 0, label)
    assert (
        truth is not None and truth.sum() == label.sum() and part.image.shape[1] == part.image.shape[2] < 64
    )
    whole, none = panels.crop_to_liver(panel, 0, None)
    assert whole.image.shape == (1, 64, 64) and none is None


def test_images_are_in_the_window_that_the_network_saw(told: Any) -> None:
    for record, window in (
        ({"network": {"window_hu": [0, 255]}}, (0.0, 255.0)),
        ({"window_hu": [-150, 250]}, (-150.0, 250.0)),
        ({"window_hu": "wide"}, (-200.0, 250.0)),
        ({"window_hu": [300, 100]}, (-200.0, 250.0)),
    ):
        study = told.study.model_copy(update={"task_network": record})
        table = analysis.ResultsTable(told.folder, told.rows, told.samples, study)
        assert panels.window_of(table) == window


def test_error_maps_have_a_range_that_shows_the_error() -> None:
    flat = np.full((1, 20, 20), 20 / 81.35858, np.float32)
    full_dose = panels.Panel("full_dose", flat, np.zeros((1, 20, 20), np.uint8))
    for hu, expected in ((0.0, 5.0), (8.0, 10.0), (33.0, 40.0), (1e4, 400.0)):
        noisy = panels.Panel("a", flat + np.float32(hu * 0.01998 / 81.35858), full_dose.prediction)
        assert panels.error_range([noisy], full_dose) == expected


def test_the_front_is_coloured_by_alpha_and_names_what_the_text_names(told: Any) -> None:
    data = compute_front(told, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    best = recommended(told)
    assert best is not None and data.recommended == best.trial
    assert "recommended" in data.labels[best.trial]
    figure = draw_front(data)
    markers = [trace for trace in figure.data if trace.mode == "markers" and trace.marker.coloraxis]
    assert data.alpha is not None
    for trace in markers:
        alphas = told.trials.loc[list(trace.customdata), "config_alpha"]
        assert list(trace.marker.color) == pytest.approx(data.alpha.positions(alphas).tolist())
    texts = next(trace for trace in figure.data if trace.mode == "text")
    assert all(place.endswith("right") for place in texts.textposition)  # where a front has no points
    low, high = figure.layout.xaxis.range
    assert (high - max(texts.x)) / (high - low) > 0.2  # and room for the words
    axis = figure.layout.coloraxis
    every = [colour for trace in markers for colour in trace.marker.color]
    assert axis.cmin <= min(every) and max(every) <= axis.cmax


def test_labels_of_near_points_stand_above_and_below(told: Any) -> None:
    data = compute_front(told, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    first, second = data.points["trial"].tolist()[:2]
    points = data.points.set_index("trial")
    for axis in (data.x, data.y):  # as near as no label is high, where references lie far away
        points.loc[second, axis] = points.loc[first, axis] + 1e-3
    near = replace(data, points=points.reset_index(), labels={first: "one", second: "other"})
    texts = next(trace for trace in draw_front(near).data if trace.mode == "text")
    assert sorted(texts.textposition) == ["bottom right", "top right"]


def test_a_label_without_room_is_left_out_and_the_recommended_one_never_is(told: Any) -> None:
    data = compute_front(told, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    points = data.points.copy()
    points[[data.x, data.y]] = points.loc[0, [data.x, data.y]].tolist()  # all at one place
    trials = points["trial"].tolist()[:6]
    crowd = replace(
        data,
        points=points,
        labels=dict.fromkeys(trials, "a long name"),
        recommended=trials[-1],
        upper_bound=1.0,
    )
    texts = next(trace for trace in draw_front(crowd).data if trace.mode == "text")
    assert len(texts.text) == len(set(texts.textposition)) == 4  # a corner each
    assert trials[-1] in texts.customdata


def test_full_dose_far_above_does_not_crowd_labels(told: Any) -> None:
    data = compute_front(told, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    first, second = data.points["trial"].tolist()[:2]
    points = data.points.set_index("trial")
    points.loc[second, data.x] = points.loc[first, data.x]
    span = points[data.y].max() - points[data.y].min()
    points.loc[second, data.y] = points.loc[first, data.y] + 0.2 * span  # far, but for the chart's other end
    apart = replace(
        data,
        points=points.reset_index(),
        labels={first: "one", second: "other"},
        upper_bound=points[data.y].max() + 9,
    )
    texts = next(trace for trace in draw_front(apart).data if trace.mode == "text")
    assert sorted(texts.textposition) == ["bottom right", "top right"]


def test_names_of_a_study_make_no_links_in_charts(tmp_path: Path) -> None:
    name = "<a href='https://example.org'>net</a>"
    table = write_study(tmp_path, Recipe(trials=4, panels=False, configs=False))
    rows = analysis.load(table).rows
    rows["config_architecture"] = rows["config_architecture"].replace("unet", name)
    rows["config_image_loss"] = name
    write_table(tmp_path / StudyFolder.results, rows)
    page = analysis.write_report(tmp_path).read_text()
    embedded = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.S)
    figures = [text for text in embedded if '"layout"' in text]
    assert len(figures) > 10 and not any("\\u003ca" in text for text in figures)
