"""Fan beams against ODL, the parallel beam that a distant source becomes, and the closed form of a disc."""

import dataclasses
import math
import warnings

import numpy as np
import odl
import pytest
import torch

from taskct_core.errors import ConfigError
from taskct_core.geometry import FanBeam, ParallelBeam
from taskct_core.projection import RayTransform

FAN = FanBeam(
    image_shape=(20, 26),
    pixel_spacing_mm=3.0,
    num_bins=45,
    bin_spacing_mm=4.0,
    num_angles=24,
    source_radius_mm=150.0,
    detector_radius_mm=90.0,
)
CLINICAL = FanBeam(
    image_shape=(100, 120),
    pixel_spacing_mm=3.0,
    num_bins=301,
    bin_spacing_mm=2.6,
    num_angles=360,
    source_radius_mm=570.0,
    detector_radius_mm=470.0,
)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(2, 1, *shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


def disc_sinogram(scan: FanBeam, radius_mm: float, centre_mm: tuple[float, float]) -> torch.Tensor:
    """Chords, in metres, of the rays through a disc; rays as ``FanBeam`` describes them, by plain vectors."""
    angles = scan.angles[:, None]
    towards = np.stack([-np.sin(angles), np.cos(angles)])
    along = np.stack([np.cos(angles), np.sin(angles)])
    source = -scan.source_radius_mm * towards
    bins = (np.arange(scan.num_bins) - (scan.num_bins - 1) / 2) * scan.bin_spacing_mm
    ray = scan.detector_radius_mm * towards + bins * along - source
    to_centre = np.array(centre_mm)[:, None, None] - source
    distance = np.abs(ray[0] * to_centre[1] - ray[1] * to_centre[0]) / np.hypot(*ray)
    chords_mm = 2 * np.sqrt(np.clip(radius_mm**2 - distance**2, 0, None))
    return torch.from_numpy(chords_mm / 1000).float()[None, None]


def distances_mm(scan: FanBeam, centre_mm: tuple[float, float]) -> np.ndarray:
    """Of the pixels from a point."""
    h, w = ((np.arange(n) - (n - 1) / 2) * scan.pixel_spacing_mm for n in scan.image_shape)
    return np.hypot(h[:, None] - centre_mm[0], w[None] - centre_mm[1])


def test_matches_odl_without_a_warning() -> None:
    half_image = np.array(FAN.image_shape) * FAN.pixel_spacing_mm / 2000
    half_detector = FAN.num_bins * FAN.bin_spacing_mm / 2000
    space = odl.uniform_discr(-half_image, half_image, FAN.image_shape, dtype="float32")
    tomo = odl.applications.tomo
    odl_scan = tomo.FanBeamGeometry(
        odl.uniform_partition(0, 2 * np.pi, FAN.num_angles),
        odl.uniform_partition(-half_detector, half_detector, FAN.num_bins),
        FAN.source_radius_mm / 1000,
        FAN.detector_radius_mm / 1000,
    )
    operator = tomo.RayTransform(space, odl_scan, impl="astra_cpu")
    image = random(*FAN.image_shape)[:1]
    expected = torch.from_numpy(np.array(operator(space.element(image[0, 0].numpy())).data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = RayTransform(FAN)(image)[0, 0]
    assert float((actual - expected).norm() / expected.norm()) < 1e-5


def test_the_gradient_of_projection_is_the_adjoint() -> None:
    transform, image = RayTransform(FAN), random(*FAN.image_shape).requires_grad_()
    sinogram = random(*FAN.sinogram_shape)
    (transform(image) * sinogram).sum().backward()
    torch.testing.assert_close(image.grad, transform.adjoint(sinogram))


def test_projection_of_a_disc_off_centre_has_the_closed_form() -> None:
    centre, radius = (40.0, -70.0), 30.0
    image = torch.from_numpy(distances_mm(CLINICAL, centre) < radius).float()[None, None]
    exact = disc_sinogram(CLINICAL, radius, centre)
    assert float((RayTransform(CLINICAL)(image) - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize("centre", [(0.0, 0.0), (60.0, -90.0)])
def test_fbp_puts_a_disc_in_its_place_at_its_scale(centre: tuple[float, float]) -> None:
    sinogram = disc_sinogram(CLINICAL, 40.0, centre)
    image = RayTransform(CLINICAL).fbp(sinogram, "hann")[0, 0].numpy()
    distance = distances_mm(CLINICAL, centre)
    assert image[distance < 34].mean() == pytest.approx(1, abs=0.01)
    assert abs(image[distance > 46].mean()) < 0.01
    assert np.abs(image[distance > 46]).max() < 0.1


@pytest.mark.parametrize("filter_name", ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"])
def test_fbp_with_a_distant_source_is_that_of_the_parallel_beam(filter_name: str) -> None:
    parallel = ParallelBeam(
        image_shape=(60, 72), pixel_spacing_mm=3.0, num_bins=111, bin_spacing_mm=2.7, num_angles=180
    )
    far = 1e7
    fan = FanBeam(
        **{**dataclasses.asdict(parallel), "num_angles": 360},
        source_radius_mm=far,
        detector_radius_mm=1.0,
    )
    image = torch.from_numpy(
        (distances_mm(fan, (20.0, -40.0)) < 30) + 0.5 * (distances_mm(fan, (-30, 10)) < 40)
    )
    sinogram = RayTransform(parallel)(image.float()[None, None])
    # The other half circle sees the same lines from behind.
    both = torch.cat([sinogram, sinogram.flip(-1)], dim=2)
    expected = RayTransform(parallel).fbp(sinogram, filter_name)
    actual = RayTransform(fan).fbp(both, filter_name)
    inside = torch.from_numpy(distances_mm(fan, (0, 0)) < 80)
    assert float((actual - expected)[..., inside].abs().max()) < 0.06
    assert float((actual - expected)[..., inside].norm() / expected[..., inside].norm()) < 0.02


def test_fbp_is_differentiable_twice() -> None:
    tiny = dataclasses.replace(FAN, image_shape=(4, 5), num_bins=7, num_angles=6, pixel_spacing_mm=8.0)
    sinogram = random(*tiny.sinogram_shape, dtype=torch.float64).requires_grad_()
    fbp = RayTransform(tiny).fbp
    assert torch.autograd.gradcheck(fbp, (sinogram,))
    assert torch.autograd.gradgradcheck(fbp, (sinogram,))


def test_fbp_of_an_arc_is_refused() -> None:
    arc = dataclasses.replace(FAN, angles_rad=tuple(np.linspace(0, math.pi, FAN.num_angles)))
    with pytest.raises(ConfigError, match="full circle"):
        RayTransform(arc).fbp(random(*FAN.sinogram_shape))


def test_a_source_inside_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="half diagonal"):
        dataclasses.replace(FAN, source_radius_mm=40.0)
