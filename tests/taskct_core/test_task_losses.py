"""Every task loss passes this suite by being in ``TASK_LOSSES``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from taskct_core.errors import ConfigError
from taskct_core.losses import PROBABILITY_LOSSES, TASK_LOSSES, build_task_loss


@pytest.fixture(params=TASK_LOSSES)
def loss(request: pytest.FixtureRequest) -> nn.Module:
    return build_task_loss(request.param)


def slices(num_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, num_classes, (3, 1, 16, 16), generator=generator)
    return torch.randn(3, num_classes, 16, 16, generator=generator), labels


def certain(labels: torch.Tensor, num_classes: int = 3) -> torch.Tensor:
    """Logits that are sure of these labels."""
    return 40.0 * one_hot(labels[:, 0], num_classes).movedim(-1, 1).float()


@pytest.mark.parametrize("num_classes", [2, 3])
def test_is_zero_when_right_and_sure_and_worst_when_wrong_and_sure(loss: nn.Module, num_classes: int) -> None:
    logits, labels = slices(num_classes)
    right = loss(certain(labels, num_classes), labels).item()
    wrong = loss(certain((labels + 1) % num_classes, num_classes), labels).item()
    assert right == pytest.approx(0, abs=1e-4)
    assert right < loss(logits, labels).item() < wrong


def test_has_a_finite_gradient_and_a_few_steps_lower_it(loss: nn.Module) -> None:
    logits, labels = slices()
    logits.requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.1)
    values = []
    for _ in range(5):
        optimiser.zero_grad()
        value = loss(logits, labels)
        value.backward()
        assert logits.grad is not None and logits.grad.isfinite().all()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]


def test_is_a_mean_over_slices(loss: nn.Module) -> None:
    logits, labels = slices()
    alone = [loss(logits[i : i + 1], labels[i : i + 1]).item() for i in range(len(logits))]
    assert loss(logits, labels).item() == pytest.approx(np.mean(alone), rel=1e-5)


def test_absent_structures_cost_nothing_once_none_is_predicted(loss: nn.Module) -> None:
    nothing = torch.zeros(2, 1, 16, 16, dtype=torch.long)
    assert loss(certain(nothing), nothing).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_is_least_where_probabilities_are_the_same(name: str) -> None:
    """Also where nobody is sure, as at the rim of a lesion: a loss of classes would want certainty there."""
    loss, (logits, _) = build_task_loss(name), slices()
    target = logits.softmax(1)
    same = logits.clone().requires_grad_()
    least = loss(same, target)
    least.backward()
    assert same.grad is not None and same.grad.abs().max().item() < 1e-7
    for other in (2 * logits, logits.roll(1, 1), torch.zeros_like(logits)):
        assert loss(other, target).item() > least.item() + 1e-3


@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_sure_probabilities_are_as_good_as_labels(name: str) -> None:
    """The same loss at its ends, for the two forms of Dice differ between them."""
    loss, (_, labels) = build_task_loss(name), slices()
    target = one_hot(labels[:, 0], 3).movedim(-1, 1).float()
    for logits in (certain(labels), certain((labels + 1) % 3)):
        assert loss(logits, target).item() == pytest.approx(loss(logits, labels).item(), abs=1e-4)


def test_dice_follows_its_formula() -> None:
    logits, labels = slices()
    probabilities = logits.softmax(1)
    truth = one_hot(labels[:, 0], 3).movedim(-1, 1)
    overlap, total = (probabilities * truth).sum((2, 3)), (probabilities + truth).sum((2, 3))
    expected = (1 - (2 * overlap + 1) / (total + 1))[:, 1:].mean()
    torch.testing.assert_close(build_task_loss("dice")(logits, labels), expected)


def test_dice_ce_is_the_sum_of_its_two() -> None:
    logits, labels = slices()
    parts = [build_task_loss(name)(logits, labels) for name in ("dice", "ce")]
    torch.testing.assert_close(build_task_loss("dice_ce")(logits, labels), sum(parts))


def test_tversky_punishes_missed_pixels_more_than_false_ones() -> None:
    labels = torch.zeros(1, 1, 16, 16, dtype=torch.long)
    labels[..., 4:12, 4:12] = 1
    smaller, larger = labels.clone(), labels.clone()
    smaller[..., 10:12, 4:12] = 0
    larger[..., 12:14, 4:12] = 1
    loss = build_task_loss("tversky")
    assert loss(certain(smaller), labels) > loss(certain(larger), labels)


def test_an_unknown_task_loss_names_the_valid_ones() -> None:
    with pytest.raises(
        ConfigError, match="valid: ce, dice, dice_ce, focal, focal_tversky, lesion_dice_ce, tversky"
    ):
        build_task_loss("dise")


def test_each_lesion_counts_alike_in_the_lesion_dice_whatever_its_size() -> None:
    labels = torch.ones(1, 1, 32, 32, dtype=torch.long)
    labels[..., 2:18, 2:18] = 2  # a large lesion
    labels[..., 26:29, 26:29] = 2  # and a small one
    without_small, without_large = labels.clone(), labels.clone()
    without_small[..., 26:29, 26:29] = 1
    without_large[..., 2:18, 2:18] = 1
    lesions, whole = build_task_loss("lesion_dice_ce"), build_task_loss("dice_ce")

    def own_part(predicted: torch.Tensor) -> float:
        logits = certain(predicted)
        return lesions(logits, labels).item() - whole(logits, labels).item()

    # One of two is missed: 1 - 1/(true + 1) of it, half of that in the mean.
    assert own_part(without_small) == pytest.approx((1 - 1 / 10) / 2, abs=1e-4)
    assert own_part(without_large) == pytest.approx((1 - 1 / 257) / 2, abs=1e-4)


def test_the_focal_tversky_loss_follows_its_formula() -> None:
    labels = torch.zeros(1, 1, 16, 16, dtype=torch.long)
    labels[..., :4, :4] = 1
    predicted = torch.zeros_like(labels)
    predicted[..., :4, :2] = 1
    index = (8 + 1) / (8 + 0.7 * 8 + 1)
    loss = build_task_loss("focal_tversky")(certain(predicted, 2), labels)
    assert loss.item() == pytest.approx((1 - index) ** 0.75, abs=1e-3)


class OwnLoss(nn.Module):
    """Reads whatever target it gets as classes, so that probabilities give a number without a meaning."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, target[:, 0].long())


class OwnLossOfProbabilities(nn.Module):
    takes_probabilities = True

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, target)


def own_function(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, target)


@pytest.mark.parametrize("name", ["OwnLoss", "own_function"])
def test_a_loss_of_one_s_own_gets_probabilities_only_if_it_says_that_it_takes_them(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*takes_probabilities = True"):
        build_task_loss(f"{__name__}:{name}", of_probabilities=True)
    build_task_loss(f"{__name__}:{name}")


@pytest.mark.parametrize("name", ["OwnLossOfProbabilities", "own_function"])
def test_a_loss_of_one_s_own_that_says_so_gets_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_function, "takes_probabilities", True, raising=False)
    logits, _ = slices()
    loss = build_task_loss(f"{__name__}:{name}", of_probabilities=True)
    assert loss(logits, logits.softmax(1)).isfinite()
