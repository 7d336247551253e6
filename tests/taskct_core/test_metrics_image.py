"""PSNR and SSIM against scikit-image and torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

from taskct_core.errors import DataError
from taskct_core.hounsfield import MU_MAX, hu_to_mu
from taskct_core.metrics.image import image_metrics
from taskct_core.schema import IMAGE_METRIC_REGIONS

LOW, HIGH = hu_to_mu(-200.0) / MU_MAX, hu_to_mu(250.0) / MU_MAX
Slices = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(params=[32, 33])
def slices(request: pytest.FixtureRequest, make_batch: Callable[..., dict[str, Any]]) -> Slices:
    batch = make_batch(count=3, side=request.param)
    return batch["fbp"], batch["full_dose"], batch["labels"]


def as_numpy(slices: Slices, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, truth, labels = slices
    return image[index, 0].double().numpy(), truth[index, 0].double().numpy(), labels[index].numpy()


def test_names_every_region(slices: Slices) -> None:
    expected = {f"{metric}_{region}" for metric in ("psnr", "ssim") for region in IMAGE_METRIC_REGIONS}
    metrics = image_metrics(*slices)
    assert set(metrics) == expected
    assert all(values.shape == (3,) for values in metrics.values())


@pytest.mark.parametrize("region", ["lodopab", "fixed", "window"])
def test_whole_image_regions_agree_with_scikit_image(slices: Slices, region: str) -> None:
    metrics = image_metrics(*slices)
    for index in range(3):
        image, truth, _ = as_numpy(slices, index)
        if region == "window":
            image, truth = image.clip(LOW, HIGH), truth.clip(LOW, HIGH)
        data_range = {"lodopab": np.ptp(truth), "fixed": 1.0, "window": HIGH - LOW}[region]
        psnr = peak_signal_noise_ratio(truth, image, data_range=data_range)
        ssim = structural_similarity(truth, image, data_range=data_range)
        assert metrics[f"psnr_{region}"][index].item() == pytest.approx(psnr, abs=1e-9)
        assert metrics[f"ssim_{region}"][index].item() == pytest.approx(ssim, abs=1e-9)


def test_liver_region_agrees_with_scikit_image(slices: Slices) -> None:
    metrics = image_metrics(*slices)
    for index in range(3):
        image, truth, labels = as_numpy(slices, index)
        image, truth, liver = image.clip(LOW, HIGH), truth.clip(LOW, HIGH), labels >= 1
        psnr = peak_signal_noise_ratio(truth[liver], image[liver], data_range=HIGH - LOW)
        _, ssim_map = structural_similarity(truth, image, data_range=HIGH - LOW, full=True)
        assert metrics["psnr_liver"][index].item() == pytest.approx(psnr, abs=1e-9)
        assert metrics["ssim_liver"][index].item() == pytest.approx(ssim_map[liver].mean(), abs=1e-9)


def test_fixed_psnr_agrees_with_torchmetrics(slices: Slices) -> None:
    image, truth, _ = slices
    expected = torchmetrics_psnr(
        image.double(), truth.double(), data_range=1.0, reduction="none", dim=(1, 2, 3)
    )
    torch.testing.assert_close(image_metrics(*slices)["psnr_fixed"], expected)


def test_a_known_error_has_its_closed_form_psnr(slices: Slices) -> None:
    _, truth, labels = slices
    metrics = image_metrics(truth + 0.01, truth, labels)
    torch.testing.assert_close(metrics["psnr_fixed"], torch.full((3,), 40.0).double(), atol=1e-4, rtol=0)


def test_equal_images_score_best(slices: Slices) -> None:
    _, truth, labels = slices
    metrics = image_metrics(truth, truth, labels)
    for region in IMAGE_METRIC_REGIONS:
        assert metrics[f"psnr_{region}"].isposinf().all()
        torch.testing.assert_close(metrics[f"ssim_{region}"], torch.ones(3).double())


def test_undefined_scores_are_nan(slices: Slices) -> None:
    image, truth, labels = slices
    without_liver = image_metrics(image, truth, torch.zeros_like(labels))
    assert without_liver["psnr_liver"].isnan().all() and without_liver["ssim_liver"].isnan().all()
    assert without_liver["psnr_window"].isfinite().all()
    constant = image_metrics(image, torch.full_like(truth, 0.2), labels)
    assert constant["psnr_lodopab"].isnan().all() and constant["ssim_lodopab"].isnan().all()
    assert constant["psnr_fixed"].isfinite().all()


def test_an_image_smaller_than_the_window_is_refused() -> None:
    tiny = torch.zeros(1, 1, 6, 9)
    with pytest.raises(DataError, match="at least 7 pixels"):
        image_metrics(tiny, tiny, torch.zeros(1, 6, 9, dtype=torch.long))
