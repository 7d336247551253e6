"""Every image loss passes this suite by being in ``IMAGE_LOSSES``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.metrics.regression import compute_ms_ssim
from pytorch_msssim import ms_ssim
from skimage.metrics import structural_similarity

from taskct_core.errors import ConfigError
from taskct_core.losses import IMAGE_LOSSES, build_image_loss, parse_mix
from taskct_core.losses.image import ImageLoss
from taskct_core.losses.ms_ssim import WEIGHTS, scale_weights
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def task_network(network_config: TaskNetworkConfig) -> TaskNetwork:
    return build_task_network(network_config).freeze()


@pytest.fixture(params=IMAGE_LOSSES)
def loss(request: pytest.FixtureRequest, task_network: TaskNetwork) -> ImageLoss:
    return build_image_loss(request.param, task_network)


@pytest.fixture
def pair(make_batch: Callable[..., dict[str, Any]]) -> Pair:
    batch = make_batch(count=3, side=48)
    return batch["fbp"], batch["full_dose"]


def test_is_zero_for_equal_images_and_grows_with_the_noise(loss: ImageLoss, pair: Pair) -> None:
    noisy, truth = pair
    equal, little, much = (loss(truth + share * (noisy - truth), truth).item() for share in (0, 0.5, 1))
    floor = 0.1 if "Charbonnier" in str(loss) else 0.0  # its eps
    assert equal == pytest.approx(floor, abs=1e-5)
    assert equal < little < much


def test_has_a_finite_gradient_and_a_few_steps_lower_it(loss: ImageLoss, pair: Pair) -> None:
    noisy, truth = pair
    image = noisy.clone().requires_grad_()
    optimiser = torch.optim.Adam([image], lr=1e-3)
    values = []
    for _ in range(6):
        optimiser.zero_grad()
        value = loss(image, truth)
        value.backward()
        assert image.grad is not None and image.grad.isfinite().all()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.95 * values[0]


def test_is_a_mean_over_slices(loss: ImageLoss, pair: Pair) -> None:
    """What a batch spread over several workers relies on."""
    noisy, truth = pair
    alone = [loss(noisy[i : i + 1], truth[i : i + 1]).item() for i in range(len(noisy))]
    assert loss(noisy, truth).item() == pytest.approx(sum(alone) / len(alone), rel=1e-4)


def test_mse_and_l1_are_in_percent_of_the_range(pair: Pair) -> None:
    _, truth = pair
    image = truth + 0.03
    assert build_image_loss("mse")(image, truth).item() == pytest.approx(9.0, rel=1e-4)
    assert build_image_loss("l1")(image, truth).item() == pytest.approx(3.0, rel=1e-4)
    assert build_image_loss("charbonnier")(image, truth).item() == pytest.approx(9.01**0.5, rel=1e-4)


def test_ssim_agrees_with_scikit_image(pair: Pair) -> None:
    noisy, truth = (images[:1] for images in pair)
    expected = _gaussian_ssim_inside(noisy[0, 0].double().numpy(), truth[0, 0].double().numpy())
    assert 1 - build_image_loss("ssim")(noisy, truth).item() == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_uses_the_published_five_scales_from_161_pixels_on(
    make_batch: Callable[..., dict[str, Any]],
) -> None:
    batch = make_batch(count=1, side=161)
    expected = ms_ssim(batch["fbp"], batch["full_dose"], data_range=1.0).item()
    loss = build_image_loss("ms_ssim")(batch["fbp"], batch["full_dose"])
    assert 1 - loss.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("side", "scales"),
    [(362, 5), (161, 5), (160, 4), (128, 4), (99, 4), (64, 3), (44, 3), (43, 2), (21, 1), (11, 1)],
)
def test_ms_ssim_uses_as_many_scales_as_fit(side: int, scales: int) -> None:
    weights = scale_weights(side)
    assert len(weights) == scales
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / weights[-1] == pytest.approx(WEIGHTS[0] / WEIGHTS[scales - 1])


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_ssim_losses_refuse_images_smaller_than_their_window(name: str) -> None:
    with pytest.raises(ConfigError, match="at least 11 pixels a side; received 10 pixels"):
        build_image_loss(name)(torch.zeros(1, 1, 10, 20), torch.zeros(1, 1, 10, 20))


def test_ms_ssim_of_fewer_scales_is_of_the_same_kind(make_batch: Callable[..., dict[str, Any]]) -> None:
    """The two libraries behind it agree where both can be asked."""
    batch = make_batch(count=2, side=176)
    images = batch["fbp"], batch["full_dose"]
    expected = ms_ssim(*images, data_range=1.0).item()
    assert compute_ms_ssim(*images, 2, 1.0, weights=WEIGHTS).mean().item() == pytest.approx(
        expected, abs=1e-4
    )


@pytest.mark.parametrize("side", [11, 21, 22, 43, 44, 98, 99, 160])
def test_ms_ssim_accepts_every_size_from_the_window_on(
    side: int, make_batch: Callable[..., dict[str, Any]]
) -> None:
    batch = make_batch(count=1, side=side)
    assert 0 < build_image_loss("ms_ssim")(batch["fbp"], batch["full_dose"]).item() < 1


def test_a_mix_is_the_weighted_sum(pair: Pair) -> None:
    parts = {name: build_image_loss(name)(*pair).item() for name in ("ms_ssim", "l1")}
    mixed = build_image_loss("0.84*ms_ssim + 0.16*l1")(*pair).item()
    assert mixed == pytest.approx(0.84 * parts["ms_ssim"] + 0.16 * parts["l1"], rel=1e-5)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("mse", [(1.0, "mse")]),
        ("0.5*mse+l1", [(0.5, "mse"), (1.0, "l1")]),
        (" 1e-2 * ssim + 2 * my.losses:Edges", [(0.01, "ssim"), (2.0, "my.losses:Edges")]),
    ],
)
def test_a_mix_reads_as_weights_and_names(text: str, terms: list[tuple[float, str]]) -> None:
    assert parse_mix(text) == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("msee", "unknown image loss 'msee'"),
        ("0.5*mse + ", "unknown image loss ''"),
        ("half*mse", "must be a positive number"),
        ("-1*mse", "must be a positive number"),
        ("nan*mse", "must be a positive number"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused_with_the_configuration(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrialConfig.parse({"image_loss": text})


def test_perceptual_loss_leaves_the_task_network_as_it_was(task_network: TaskNetwork, pair: Pair) -> None:
    before = task_network.weights_hash()
    loss = build_image_loss("perceptual", task_network)
    image = pair[0].clone().requires_grad_()
    loss(image, pair[1]).backward()
    assert task_network.weights_hash() == before
    assert all(parameter.grad is None for parameter in task_network.parameters())
    assert not any(module._forward_hooks for module in task_network.modules())


def test_perceptual_loss_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="needs a task network"):
        build_image_loss("perceptual")


def _gaussian_ssim_inside(image: Any, truth: Any) -> float:
    """scikit-image's SSIM with Wang's window, over the pixels whose 11 x 11 window lies inside."""
    _, full = structural_similarity(
        image, truth, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return float(full[5:-5, 5:-5].mean())
