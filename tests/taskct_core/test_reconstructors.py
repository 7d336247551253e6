"""Every reconstructor passes this suite by being in ``RECONSTRUCTORS``."""

from __future__ import annotations

from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from taskct_core.errors import ConfigError
from taskct_core.geometry import PRESETS, ParallelBeam
from taskct_core.projection import RayTransform
from taskct_core.reconstructors import RECONSTRUCTORS, build_reconstructor, count_parameters, inputs_of

# Few channels and steps: the suite is about behaviour, which does not depend on them.
QUICK: dict[str, dict[str, Any]] = {
    "dncnn": {"width": 4, "depth": 3},
    "red_cnn": {"width": 4},
    "unet": {"width": 4},
    "segresnet": {"width": 8},
    "restormer": {"width": 8},
    "msd": {"depth": 12},
    "learned_primal_dual": {"width": 4, "iterations": 2},
    "learned_gradient": {"width": 4, "iterations": 2},
    "itnet": {"width": 4, "iterations": 2},
    "iradonmap": {"width": 4, "depth": 3},
}
# As the docstrings state them, at the defaults and the geometry `small`.
STATED_PARAMETERS = {
    "dncnn": 74_849,
    "red_cnn": 206_689,
    "unet": 495_905,
    "segresnet": 238_785,
    "restormer": 217_883,
    "msd": 4_247,
    "learned_primal_dual": 126_610,
    "learned_gradient": 65_470,
    "itnet": 495_907,
    "iradonmap": 107_818,
}


def scan_of_side(side: int) -> ParallelBeam:
    return ParallelBeam(
        image_shape=(side, side), pixel_spacing_mm=4.0, num_bins=side + 27, bin_spacing_mm=4.0, num_angles=24
    )


def quick(name: str, scan: ParallelBeam, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_reconstructor(name, QUICK.get(name, {}), scan)


def low_dose(scan: ParallelBeam, count: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Block images and their noisy sinograms and FBPs."""
    generator = torch.Generator().manual_seed(1)
    blocks = torch.rand(count, 1, 3, 3, generator=generator) * 0.3
    image = nn.functional.interpolate(blocks, size=scan.image_shape, mode="nearest")
    transform = RayTransform(scan)
    sinogram = transform(image)
    sinogram = sinogram + 0.002 * torch.randn(sinogram.shape, generator=generator)
    return image, {"fbp": transform.fbp(sinogram), "sinogram": sinogram}


def reconstruct(model: nn.Module, data: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(*(data[name] for name in inputs_of(model)))


@pytest.mark.parametrize("name", RECONSTRUCTORS)
@pytest.mark.parametrize("side", [63, 64])
def test_keeps_the_shape_at_odd_and_even_sizes(name: str, side: int) -> None:
    scan = scan_of_side(side)
    image, data = low_dose(scan, count=1)
    with torch.no_grad():
        assert reconstruct(quick(name, scan), data).shape == image.shape


@pytest.mark.parametrize("name", RECONSTRUCTORS)
@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_defaults_fit_the_presets(name: str, preset: str) -> None:
    scan = PRESETS[preset]
    data = {"fbp": torch.rand(1, 1, *scan.image_shape), "sinogram": torch.rand(1, 1, *scan.sinogram_shape)}
    with torch.no_grad():
        image = reconstruct(build_reconstructor(name, {}, scan), data)
    assert image.shape == data["fbp"].shape
    assert image.isfinite().all()


@pytest.mark.parametrize("name", RECONSTRUCTORS)
def test_has_the_stated_number_of_parameters(name: str) -> None:
    assert count_parameters(build_reconstructor(name, {}, PRESETS["small"])) == STATED_PARAMETERS[name]


@pytest.mark.parametrize("name", RECONSTRUCTORS)
def test_every_parameter_gets_a_finite_gradient(name: str, small_scan: ParallelBeam) -> None:
    image, data = low_dose(small_scan)
    model = quick(name, small_scan)
    _take_steps(model, image, data, steps=3)  # the last layer starts at zero, which hides those before it
    (reconstruct(model, data) - image).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", RECONSTRUCTORS)
def test_starts_no_worse_than_the_fbp_and_a_few_steps_lower_the_loss(
    name: str, small_scan: ParallelBeam
) -> None:
    image, data = low_dose(small_scan)
    model = quick(name, small_scan)
    fbp_loss = (data["fbp"] - image).square().mean().item()
    losses = _take_steps(model, image, data, steps=15)
    assert losses[0] <= 1.2 * fbp_loss
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize("name", RECONSTRUCTORS)
def test_a_seed_determines_weights_and_training(name: str, small_scan: ParallelBeam) -> None:
    image, data = low_dose(small_scan)
    one, other = quick(name, small_scan), quick(name, small_scan)
    assert _take_steps(one, image, data, steps=2) == _take_steps(other, image, data, steps=2)
    different = quick(name, small_scan, seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), different.parameters(), strict=True))


@pytest.mark.parametrize("name", RECONSTRUCTORS)
def test_state_dict_survives_safetensors(name: str, small_scan: ParallelBeam) -> None:
    image, data = low_dose(small_scan)
    trained, fresh = quick(name, small_scan), quick(name, small_scan, seed=1)
    _take_steps(trained, image, data, steps=2)
    fresh.load_state_dict(safetensors.torch.load(safetensors.torch.save(trained.state_dict())))
    trained.eval(), fresh.eval()
    with torch.no_grad():
        assert torch.equal(reconstruct(trained, data), reconstruct(fresh, data))


@pytest.mark.parametrize("name", RECONSTRUCTORS)
def test_slices_do_not_influence_each_other(name: str, small_scan: ParallelBeam) -> None:
    """What a batch spread over several workers relies on."""
    image, data = low_dose(small_scan, count=3)
    model = quick(name, small_scan)
    _take_steps(model, image, data, steps=2)
    with torch.no_grad():
        together = reconstruct(model, data)
        alone = reconstruct(model, {key: value[1:2] for key, value in data.items()})
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_iradonmap_starts_as_filtered_back_projection(small_scan: ParallelBeam) -> None:
    _, data = low_dose(small_scan)
    with torch.no_grad():
        image = reconstruct(quick("iradonmap", small_scan), data)
    torch.testing.assert_close(image, data["fbp"], rtol=1e-4, atol=1e-5)


def test_an_unknown_parameter_names_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"must be of: depth, width; received wdith = 8"):
        build_reconstructor("dncnn", {"wdith": 8})


@pytest.mark.parametrize("parameters", [{"width": -1}, {"width": "wide"}, {"depth": 1}])
def test_a_value_that_makes_no_network_is_a_configuration_error(parameters: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must accept its parameters"):
        build_reconstructor("dncnn", parameters)


@pytest.mark.parametrize("name", ["unett", "no_such_module:Net", "torch.nn:NoSuchLayer"])
def test_an_unknown_name_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="Check the spelling"):
        build_reconstructor(name)


def test_what_is_no_module_is_a_configuration_error() -> None:
    with pytest.raises(
        ConfigError, match=r"must be a torch.nn.Module; received 'fractions:Fraction', which is"
    ):
        build_reconstructor("fractions:Fraction")


def test_a_users_module_plugs_in_by_name() -> None:
    model = build_reconstructor("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 1, "kernel_size": 1})
    assert inputs_of(model) == ("fbp",)
    assert count_parameters(model) == 2


def _take_steps(
    model: nn.Module, image: torch.Tensor, data: dict[str, torch.Tensor], steps: int
) -> list[float]:
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (reconstruct(model, data) - image).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
