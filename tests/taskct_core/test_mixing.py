"""How alpha mixes the two losses."""

from __future__ import annotations

import pytest

from taskct_core.losses.mixing import MIXINGS, Mixer


@pytest.mark.parametrize("mixing", MIXINGS)
def test_alpha_zero_is_the_image_loss_itself(mixing: str) -> None:
    mixer = Mixer(mixing, 0.0)
    assert mixer.weights(7.0, 0.0) == (1.0, 0.0)
    assert mixer.uses() == (True, False)


@pytest.mark.parametrize("mixing", ["convex", "share"])
def test_alpha_one_is_the_task_loss_itself(mixing: str) -> None:
    mixer = Mixer(mixing, 1.0)
    assert mixer.weights(0.0, 7.0) == (0.0, 1.0)
    assert mixer.uses() == (False, True)


def test_convex_and_additive_follow_their_formulas() -> None:
    assert Mixer("convex", 0.3).weights(5.0, 2.0) == pytest.approx((0.7, 0.3))
    assert Mixer("additive", 3.0).weights(5.0, 2.0) == (1.0, 3.0)


def test_share_makes_alpha_the_task_losss_share_of_the_whole() -> None:
    mixer = Mixer("share", 0.25)
    image, task = mixer.weights(50.0, 0.2)
    assert (image * 50.0, task * 0.2) == pytest.approx((0.75, 0.25))


def test_share_follows_a_change_of_scale_slowly() -> None:
    mixer = Mixer("share", 0.5)
    mixer.weights(1.0, 1.0)
    image, _ = mixer.weights(10.0, 1.0)
    assert image == pytest.approx(0.5 / (0.99 * 1 + 0.01 * 10))
    for _ in range(1000):
        image, _ = mixer.weights(10.0, 1.0)
    assert image == pytest.approx(0.05, rel=1e-3)


def test_share_survives_a_loss_of_zero() -> None:
    weights = Mixer("share", 0.5).weights(0.0, 1.0)
    assert weights[0] * 0.0 == 0.0 and weights[1] == 0.5
