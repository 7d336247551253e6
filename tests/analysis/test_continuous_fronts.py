"""Front trials in tables, figures and page: their points beside one row a trial, and how far they are to be believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_study import ALPHAS, DICE, PSNR, TRIAL, write_front_study

import analysis
from analysis.continuous_fronts import continuous_fronts, validity
from analysis.figures import FIGURES
from analysis.report.front_slider import front_sliders
from analysis.unavailable import NotApplicable
from taskct_core import schema as S

X, Y = S.PRIMARY_PSNR, S.PRIMARY_DICE


@pytest.fixture(scope="module")
def front_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_front_study(tmp_path_factory.mktemp("front"))


@pytest.fixture(scope="module")
def front_table(front_study: Path) -> Any:
    return analysis.load(front_study)


def test_a_front_has_its_points_and_the_trial_one_row(front_table: Any) -> None:
    fronts = continuous_fronts(front_table, X, Y, "test")
    assert list(fronts) == [TRIAL]
    assert tuple(fronts[TRIAL][S.ALPHA]) == ALPHAS and tuple(fronts[TRIAL][X]) == PSNR
    assert not front_table.rows.duplicated([S.TRIAL, S.SPLIT, S.EPOCH]).any()
    assert front_table.scores("test").loc[TRIAL, X] != PSNR[-1]  # the factory's own, not that of a point


def test_a_front_is_judged_by_its_own_points_and_by_independent_trainings(front_table: Any) -> None:
    found = validity(front_table, TRIAL, X, Y, "test")
    assert found.points == 5
    # 0 and 0.2 stand; 0.5 loses to 0.2; 0.8 loses to 1.0.
    assert found.non_dominated == pytest.approx(3 / 5)
    assert found.monotone == pytest.approx(2 / 4)  # Dice falls from 0.2 to 0.5, PSNR rises from 0.8 to 1.0
    trials, scores = front_table.trials, front_table.complete_scores("test", [X, Y])
    same = trials[(trials[S.METHOD] == "task_adaptive") & (trials["config_architecture"] == "unet")]
    same = same[same["config_width"] == trials.at[TRIAL, "config_width"]]
    expected = [
        abs(scores.at[trial, Y] - DICE[ALPHAS.index(alpha)])
        for trial, alpha in same["config_alpha"].items()
        if alpha in ALPHAS and trial in scores.index
    ]
    assert found.compared == len(expected) > 0
    assert found.y_distance == pytest.approx(np.mean(expected))


def test_the_trade_off_joins_what_nothing_beats_front_points_included(front_table: Any) -> None:
    spec = FIGURES["front_dice_psnr"]
    figure = spec.draw(spec.compute(front_table))
    line = next(trace for trace in figure.data if (trace.meta or {}).get("front"))
    own = next(trace for trace in figure.data if (trace.meta or {}).get("role") == "continuous front")
    assert tuple(own.x) == PSNR and tuple(own.y) == DICE
    joined = np.array([line.x, line.y]).T
    others = front_table.complete_scores("validation", [X, Y]).to_numpy()  # which the front is chosen on
    every = np.concatenate([others, np.array([PSNR, DICE]).T])
    for point in joined:
        assert not ((every >= point).all(axis=1) & (every > point).any(axis=1)).any()


def test_a_study_without_fronts_has_no_such_chart_and_no_slider(table: Any) -> None:
    with pytest.raises(NotApplicable):
        FIGURES["continuous_front"].compute(table)
    assert front_sliders(table) == []
    assert table.front_points.empty


def test_the_slider_has_an_image_and_a_mask_for_every_alpha(front_table: Any) -> None:
    (slider,) = front_sliders(front_table)
    assert slider["alphas"] == list(ALPHAS) and slider["y"] == list(DICE)
    assert len(slider["images"]) == len(slider["masks"]) == len(ALPHAS)
    assert len(set(slider["images"])) > 1
    assert "60% of its 5 points" in slider["validity"]
    assert len(json.dumps(slider)) < 400_000


@pytest.mark.parametrize("damage", ["missing", "torn", "other alphas"])
def test_a_front_whose_images_cannot_be_read_has_its_points(damage: str, tmp_path: Path) -> None:
    table = analysis.load(write_front_study(tmp_path))
    path = table.folder.front_panel(TRIAL)
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        np.savez(path, alpha=np.array([0.5]), image=np.zeros((1, 1, 4, 4)), prediction=np.zeros((1, 1, 4, 4)))
    (slider,) = front_sliders(table)
    assert slider["images"] == [] and slider["y"] == list(DICE)
