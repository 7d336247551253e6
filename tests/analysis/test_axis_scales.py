"""Axes of parameters: on the scale of the search, told apart where a linear axis would not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from study_factory import Recipe, write_study

import analysis
from analysis.axis_scales import scale_of, scale_over
from analysis.figures.alpha import compute_alpha_curve, draw_alpha_curve
from taskct_core import schema as S


@pytest.fixture(scope="module")
def near_ends(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study with alphas that a linear axis draws over each other."""
    folder = tmp_path_factory.mktemp("scales")
    table = analysis.load(
        write_study(folder, Recipe(trials=8, architectures=("unet",), panels=False, configs=False))
    )
    alphas = dict(enumerate((0.0, 0.001, 0.01, 0.5, 0.9, 0.99, 0.994, 1.0)))
    rows = table.rows.assign(config_alpha=table.rows[S.TRIAL].map(alphas))
    return analysis.ResultsTable(table.folder, rows, table.samples, table.study)


def test_a_logit_scale_keeps_alphas_near_its_ends_apart() -> None:
    alphas = np.array([0.0, 0.001, 0.01, 0.5, 0.9, 0.99, 0.994, 1.0])
    scale = scale_over(alphas, is_share=True)
    positions = scale.positions(alphas)
    assert scale.kind == "logit" and (np.diff(positions) > 0).all()
    np.testing.assert_allclose(positions[1:-1], np.log(alphas[1:-1] / (1 - alphas[1:-1])))
    span = np.ptp(positions)
    assert positions[-1] - positions[-2] > 0.05 * span and positions[-2] - positions[-3] > 0.03 * span
    ticks = {text: at for at, text in scale.ticks()}
    assert {"0", "0.01", "0.5", "0.99", "1"} <= set(ticks) and ticks["0.99"] == pytest.approx(np.log(99))


@pytest.mark.parametrize(
    "kind, values, expected",
    [
        (None, [0.1, 0.4, 0.9], "linear"),  # no need for another
        ("logit", [0.2, 0.4, 0.9], "logit"),  # the search's own
        ("linear", [0.001, 0.5, 0.999], "linear"),
        (None, [1e-4, 1e-2], "log"),
        ("log", [1.0, 2.0], "log"),
        ("log", [0.0, 2.0], "linear"),  # a logarithm has no place for 0
        ("logit", [0.0, 1.0], "linear"),  # nothing between the ends
        ("logit", [0.5, 4.0], "linear"),
    ],
)
def test_the_scale_is_the_searched_one_where_the_values_allow_it(
    kind: Any, values: list[float], expected: str
) -> None:
    scale = scale_over(np.array(values), kind)
    assert scale.kind == expected and np.isfinite(scale.positions(values)).all() and len(scale.ticks()) >= 2


@pytest.mark.parametrize(
    "space, expected",
    [
        ({"learning_rate": {"kind": "log", "low": 1e-4, "high": 1e-2}}, "log"),
        ({"learning_rate": {"kind": "uniform", "low": 1e-4, "high": 1e-2}}, "linear"),
        (
            {
                "architecture": {
                    "kind": "choice",
                    "values": {"a": {"learning_rate": {"kind": "int", "log": True}}},
                }
            },
            "log",
        ),
        ("package:SPACE", "log"),  # told by the values
        (None, "log"),
    ],
)
def test_the_space_names_the_scale_be_it_in_a_branch(near_ends: Any, space: Any, expected: str) -> None:
    config = near_ends.study.config | {"study": {"space": space}}
    study = near_ends.study.model_copy(update={"config": config})
    table = analysis.ResultsTable(near_ends.folder, near_ends.rows, near_ends.samples, study)
    scale = scale_of(table, "config_learning_rate")
    assert scale is not None and scale.kind == expected


def test_alpha_curves_are_drawn_and_labelled_on_the_scale_and_on_validation(near_ends: Any) -> None:
    data = compute_alpha_curve(near_ends, S.PRIMARY_DICE)
    assert data.split == "validation" and data.scale is not None and data.scale.kind == "logit"
    by_alpha = data.points.sort_values("alpha")
    assert (np.diff(by_alpha["position"]) > 0).all()
    figure = draw_alpha_curve(data)
    assert "0.99" in figure.layout.xaxis.ticktext and "1" in figure.layout.xaxis.ticktext
    drawn = [x for trace in figure.data if trace.mode == "markers" for x in trace.x]
    assert sorted(drawn) == pytest.approx(by_alpha["position"].tolist())
