"""The ray transform against ASTRA, ODL, its own matrix in float64, and closed forms."""

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import odl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import PRESETS, FanBeam, ParallelBeam
from taskct_core.projection import RayTransform
from taskct_core.projection.astra_backend import AstraProjector
from taskct_core.projection.backends import TwoProjectors, projector_for
from taskct_core.projection.fastest import OPERATIONS, PORTABLE
from taskct_core.projection.joseph import joseph_matrix
from taskct_core.projection.kernel import KernelProjector, kernels
from taskct_core.projection.matrices import base_matrices
from taskct_core.projection.symmetric import SymmetricProjector, multiply, multiply_csr

TINY = PRESETS["tiny"]
FAST_PROJECTORS = (SymmetricProjector, KernelProjector, TwoProjectors)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))


def use(monkeypatch: pytest.MonkeyPatch, *projectors: str) -> None:
    """Let these project and back-project, whichever are the fastest here."""
    chosen = dict(zip(OPERATIONS, projectors, strict=True))
    monkeypatch.setattr("taskct_core.projection.backends.fastest_projectors", lambda _: chosen)
    projector_for.cache_clear()


def random_images(
    scan: ParallelBeam | FanBeam, batch: int = 2, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    return torch.rand(batch, 1, *scan.image_shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def random_sinograms(
    scan: ParallelBeam | FanBeam, batch: int = 2, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    return torch.rand(batch, 1, *scan.sinogram_shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


symmetric_scans = st.builds(
    lambda height, half_difference, angles, bins, pixel, bin_ratio: ParallelBeam(
        image_shape=(height, height + 2 * half_difference),
        pixel_spacing_mm=pixel,
        num_bins=bins,
        bin_spacing_mm=pixel * bin_ratio,
        num_angles=4 * angles,
    ),
    height=st.integers(1, 40),
    half_difference=st.integers(0, 8),
    angles=st.integers(1, 12),
    bins=st.integers(1, 60),
    pixel=st.floats(0.5, 5),
    bin_ratio=st.floats(0.4, 2.5),
)


@settings(max_examples=40, derandomize=True)
@given(scan=symmetric_scans)
def test_matches_astra_on_random_symmetric_scans(scan: ParallelBeam) -> None:
    transform, astra = RayTransform(scan), AstraProjector(scan)
    assert isinstance(projector_for(scan, torch.float32, torch.device("cpu")), FAST_PROJECTORS)
    images, sinograms = random_images(scan), random_sinograms(scan)
    # ASTRA walks along a ray in float32, so its own positions are off by some 1e-5 pixels a step.
    torch.testing.assert_close(
        transform(images)[:, 0],
        astra.project(images[:, 0]),
        rtol=1e-4,
        atol=1e-3 * scan.pixel_spacing_mm / 1000,
    )
    torch.testing.assert_close(
        transform.adjoint(sinograms)[:, 0],
        astra.backproject(sinograms[:, 0]),
        rtol=1e-4,
        atol=1e-3 * scan.pixel_spacing_mm / 1000,
    )


@pytest.mark.parametrize("name", kernels())
@settings(max_examples=40, derandomize=True)
@given(scan=symmetric_scans, batch=st.integers(1, 7))
def test_compiled_kernels_are_the_portable_projector(scan: ParallelBeam, batch: int, name: str) -> None:
    kernel = KernelProjector(scan, name)
    portable = SymmetricProjector(scan, torch.float64, torch.device("cpu"))
    images, sinograms = random_images(scan, batch)[:, 0], random_sinograms(scan, batch)[:, 0]
    pixel_m = scan.pixel_spacing_mm / 1000
    torch.testing.assert_close(
        kernel.project(images).double(), portable.project(images.double()), rtol=1e-5, atol=1e-5 * pixel_m
    )
    torch.testing.assert_close(
        kernel.backproject(sinograms).double(),
        portable.backproject(sinograms.double()),
        rtol=1e-5,
        atol=1e-5 * pixel_m,
    )


@pytest.mark.skipif(not kernels(), reason="built without a C++ compiler")
@settings(max_examples=20, derandomize=True)
@given(scan=symmetric_scans, batch=st.integers(1, 4))
def test_compiled_kernels_give_the_same_bits(scan: ParallelBeam, batch: int) -> None:
    projectors = [KernelProjector(scan, name) for name in kernels()]
    images, sinograms = random_images(scan, batch)[:, 0], random_sinograms(scan, batch)[:, 0]
    for projector in projectors[1:]:
        assert torch.equal(projector.project(images), projectors[0].project(images))
        assert torch.equal(projector.backproject(sinograms), projectors[0].backproject(sinograms))


def test_without_a_compiled_kernel_the_matrix_is_used_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = RayTransform(TINY)(random_images(TINY))
    monkeypatch.setattr("taskct_core.projection.fastest.kernels", dict)
    projector_for.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.testing.assert_close(RayTransform(TINY)(random_images(TINY)), expected)
        assert isinstance(projector_for(TINY, torch.float32, torch.device("cpu")), SymmetricProjector)
    finally:
        projector_for.cache_clear()


@settings(max_examples=15, derandomize=True)
@given(scan=symmetric_scans)
def test_folding_leaves_the_matrix_of_all_rays(scan: ParallelBeam) -> None:
    """In float64, the eight copies give what every ray of every angle gives one by one."""
    matrix = joseph_matrix(scan, scan.angles, scan.num_bins)
    images = random_images(scan, dtype=torch.float64)
    expected = (matrix @ images.reshape(2, -1).numpy().T).T * scan.pixel_spacing_mm / 1000
    actual = RayTransform(scan)(images).reshape(2, -1).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(16, 16), (15, 21)])
def test_matches_odl(shape: tuple[int, int]) -> None:
    scan = dataclasses.replace(TINY, image_shape=shape, num_bins=33, num_angles=20)
    half_image = np.array(shape) * scan.pixel_spacing_mm / 2000
    half_detector = scan.num_bins * scan.bin_spacing_mm / 2000
    space = odl.uniform_discr(-half_image, half_image, shape, dtype="float32")
    odl_scan = odl.applications.tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, scan.num_angles),
        odl.uniform_partition(-half_detector, half_detector, scan.num_bins),
    )
    operator = odl.applications.tomo.RayTransform(space, odl_scan, impl="astra_cpu")
    image = random_images(scan, 1)
    expected = torch.from_numpy(np.array(operator(space.element(image[0, 0].numpy())).data))
    assert relative_error(RayTransform(scan)(image)[0, 0], expected) < 1e-5


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("num_bins", [90, 91])
def test_adjoint_is_the_transpose(num_bins: int, dtype: torch.dtype, tolerance: float) -> None:
    scan = dataclasses.replace(TINY, num_bins=num_bins)
    transform = RayTransform(scan)
    images, sinograms = random_images(scan, dtype=dtype), random_sinograms(scan, dtype=dtype)
    left = (transform(images).double() * sinograms.double()).sum()
    right = (images.double() * transform.adjoint(sinograms).double()).sum()
    assert abs(left - right) <= tolerance * abs(left)


def test_gradients_and_their_gradients_are_exact() -> None:
    scan = dataclasses.replace(TINY, image_shape=(6, 8), num_bins=11, num_angles=8)
    transform = RayTransform(scan)
    image = random_images(scan, dtype=torch.float64).requires_grad_()
    sinogram = random_sinograms(scan, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(transform, image)
    assert torch.autograd.gradcheck(transform.adjoint, sinogram)
    assert torch.autograd.gradcheck(transform.fbp, sinogram)
    assert torch.autograd.gradgradcheck(lambda x: transform(x).square(), image)


def disc(
    scan: ParallelBeam, radius_mm: float, centre_mm: tuple[float, float] = (0, 0), oversampling: int = 8
):
    """A disc of 1 in float32 pixels, with the share of each pixel that it covers."""
    axes = [
        ((np.arange(n * oversampling) + 0.5) / oversampling - n / 2) * scan.pixel_spacing_mm - centre
        for n, centre in zip(scan.image_shape, centre_mm, strict=True)
    ]
    inside = np.add.outer(axes[0] ** 2, axes[1] ** 2) < radius_mm**2
    height, width = scan.image_shape
    covered = inside.reshape(height, oversampling, width, oversampling).mean(axis=(1, 3))
    return torch.from_numpy(covered.astype(np.float32))[None, None]


def test_disc_of_a_tenth_of_a_metre_has_a_central_line_integral_of_a_fifth() -> None:
    scan = PRESETS["small"]
    centre = RayTransform(scan)(disc(scan, 100))[0, 0, :, scan.num_bins // 2]
    torch.testing.assert_close(centre, torch.full_like(centre, 0.2), rtol=5e-3, atol=0)


def test_disc_off_centre_has_the_sinogram_of_the_closed_form() -> None:
    """Asymmetric on purpose: a transpose, a flip or a turned angle cannot pass."""
    scan, radius, (h, w) = PRESETS["small"], 30.0, (55.0, -20.0)
    bins = (np.arange(scan.num_bins) - (scan.num_bins - 1) / 2) * scan.bin_spacing_mm
    offset = bins - (h * np.cos(scan.angles) + w * np.sin(scan.angles))[:, None]
    exact = torch.from_numpy(2 * np.sqrt(np.maximum(radius**2 - offset**2, 0)) / 1000)
    assert relative_error(RayTransform(scan)(disc(scan, radius, (h, w)))[0, 0].double(), exact) < 0.02


def test_turning_the_image_a_quarter_shifts_the_angles() -> None:
    sinogram = RayTransform(TINY)(image := random_images(TINY))
    turned = RayTransform(TINY)(image.rot90(1, (2, 3)))  # out[h, w] = in[w, -h]
    quarter = TINY.num_angles // 2
    torch.testing.assert_close(turned[:, :, quarter:], sinogram[:, :, :quarter])
    torch.testing.assert_close(turned[:, :, :quarter], sinogram[:, :, quarter:].flip(3))


def test_moving_the_image_moves_its_shadow() -> None:
    scan = dataclasses.replace(TINY, bin_spacing_mm=TINY.pixel_spacing_mm, num_bins=95)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20:30, 25:40] = torch.linspace(1, 2, 15)
    moved = image.roll((5, -3), (2, 3))
    bins = torch.arange(scan.num_bins, dtype=torch.float32)
    mean_before, mean_after = (
        (s * bins).sum(-1) / s.sum(-1) for s in (RayTransform(scan)(x)[0, 0] for x in (image, moved))
    )
    angles = torch.from_numpy(scan.angles).float()
    torch.testing.assert_close(
        mean_after - mean_before, 5 * angles.cos() - 3 * angles.sin(), rtol=0, atol=0.1
    )


@pytest.mark.parametrize("filter_name", ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"])
def test_fbp_keeps_the_scale_of_a_disc(filter_name: str) -> None:
    scan = PRESETS["small"]
    transform = RayTransform(scan)
    image = transform.fbp(transform(disc(scan, 100)), filter_name)
    assert float(image[..., 44:84, 44:84].mean()) == pytest.approx(1, abs=0.01)


GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
ANGLES = {
    "twice around": np.arange(60) * (2 * np.pi / 60),
    "golden": np.arange(180) * GOLDEN_ANGLE,
    "random": np.random.default_rng(0).uniform(-10, 10, 400),
    "backwards": np.linspace(np.pi, 0, 180, endpoint=False),
    "each twice": np.repeat((np.arange(90) + 0.5) * (np.pi / 90), 2),
    "dense in one half": np.concatenate([np.linspace(0, 1.5, 200), np.linspace(1.52, 3.12, 80)]),
}


@pytest.mark.filterwarnings("ignore:This scan lacks")
@pytest.mark.parametrize("name", ANGLES)
def test_fbp_keeps_the_scale_at_any_angles(name: str) -> None:
    """60 angles over 360 degrees gave 2.005, golden angles 152.8."""
    angles = ANGLES[name]
    scan = dataclasses.replace(TINY, num_angles=len(angles), angles_rad=tuple(angles))
    transform = RayTransform(scan)
    image = transform.fbp(transform(disc(scan, 80)), "hann")
    assert float(image[..., 24:40, 24:40].mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("ours", "odls"),
    [
        ("ram-lak", "Ram-Lak"),
        ("shepp-logan", "Shepp-Logan"),
        ("cosine", "Cosine"),
        ("hamming", "Hamming"),
        ("hann", "Hann"),
    ],
)
def test_fbp_filters_agree_with_odl(ours: str, odls: str) -> None:
    """ODL samples its ramp in frequency, so means differ; what the windows do to an edge must not."""
    scan = PRESETS["small"]
    half_image, half_detector = 0.13, scan.num_bins * scan.bin_spacing_mm / 2000
    space = odl.uniform_discr([-half_image] * 2, [half_image] * 2, scan.image_shape, dtype="float32")
    odl_scan = odl.applications.tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, scan.num_angles),
        odl.uniform_partition(-half_detector, half_detector, scan.num_bins),
    )
    operator = odl.applications.tomo.RayTransform(space, odl_scan, impl="astra_cpu")
    odl_fbp = odl.applications.tomo.fbp_op(operator, filter_type=odls, frequency_scaling=0.7)
    transform = RayTransform(scan)
    sinogram = transform(disc(scan, 60, (20, 10)))
    expected = torch.from_numpy(np.array(odl_fbp(operator.range.element(sinogram[0, 0].numpy())).data))
    actual = transform.fbp(sinogram, ours, 0.7)[0, 0]
    assert relative_error(actual - actual.mean(), expected - expected.mean()) < 0.02


def test_norms() -> None:
    scan = dataclasses.replace(TINY, image_shape=(12, 12), num_bins=17, num_angles=16)
    matrix = joseph_matrix(scan, scan.angles, scan.num_bins).toarray() * scan.pixel_spacing_mm / 1000
    assert RayTransform(scan).norm() == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-4)
    assert RayTransform(PRESETS["small"]).l2_norm() == pytest.approx(0.888, abs=0.002)


@pytest.mark.parametrize(
    "change",
    [
        {"num_angles": 30},
        {"num_angles": 20, "angles_rad": tuple(np.linspace(0.1, 2, 20))},
        {"image_shape": (31, 32)},
    ],
    ids=["not divisible by 4", "limited angle", "mixed parity"],
)
def test_without_the_symmetry_it_warns_and_still_is_right(change: dict[str, object]) -> None:
    scan = dataclasses.replace(TINY, **change)
    projector_for.cache_clear()
    image, sinogram = random_images(scan), random_sinograms(scan)
    with pytest.warns(UserWarning, match="symmetry"):
        projected = RayTransform(scan)(image)
    matrix = joseph_matrix(scan, scan.angles, scan.num_bins)
    expected = (matrix @ image.reshape(2, -1).numpy().T).T * scan.pixel_spacing_mm / 1000
    assert relative_error(projected.reshape(2, -1), torch.from_numpy(expected)) < 1e-5
    left = (projected.double() * sinogram).sum()
    assert float((image.double() * RayTransform(scan).adjoint(sinogram)).sum() / left) == pytest.approx(
        1, abs=1e-6
    )


def test_the_product_used_on_gpus_is_the_same() -> None:
    matrix, _ = base_matrices(TINY, torch.float32)
    dense = torch.rand(64 * 64, 16)
    torch.testing.assert_close(multiply_csr(matrix, dense), multiply(matrix, dense))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same() -> None:
    transform, image = RayTransform(TINY), random_images(TINY)
    sinogram = transform(image)
    torch.testing.assert_close(transform(image.cuda()).cpu(), sinogram)
    torch.testing.assert_close(transform.adjoint(sinogram.cuda()).cpu(), transform.adjoint(sinogram))
    torch.testing.assert_close(
        transform.fbp(sinogram.cuda()).cpu(), transform.fbp(sinogram), rtol=1e-4, atol=1e-5
    )


def test_explicit_half_offset_angles_keep_the_fast_projector() -> None:
    scan = dataclasses.replace(TINY, angles_rad=tuple(TINY.angles))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(
            RayTransform(scan)(random_images(TINY)), RayTransform(TINY)(random_images(TINY))
        )


@pytest.mark.parametrize("for_sinograms", [PORTABLE, *kernels()])
@pytest.mark.parametrize("for_images", [PORTABLE, *kernels()])
def test_results_do_not_depend_on_batch_or_threads(
    for_images: str, for_sinograms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, for_images, for_sinograms)
    scan = dataclasses.replace(PRESETS["small"], num_angles=60)  # enough work for several threads
    transform, images = RayTransform(scan), random_images(scan, 7)
    threads = torch.get_num_threads()
    together = transform(images)
    try:
        torch.set_num_threads(3)
        alone = torch.cat([transform(image[None]) for image in images])
        back = torch.cat([transform.fbp(item[None]) for item in together])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(together, alone)
    assert torch.equal(transform.fbp(together), back)
    projector_for.cache_clear()


def test_pickles_small_and_deep_copies() -> None:
    transform = RayTransform(TINY)
    image = random_images(TINY)
    expected = transform(image)
    assert len(pickle.dumps(transform)) < 5_000
    assert torch.equal(pickle.loads(pickle.dumps(transform))(image), expected)
    assert torch.equal(copy.deepcopy(transform)(image), expected)


@pytest.mark.parametrize(
    ("tensor", "match"),
    [
        (torch.zeros(1, 64, 64), "shape"),
        (torch.zeros(1, 1, 64, 63), "shape"),
        (torch.zeros(1, 2, 64, 64), "shape"),
        (torch.zeros(1, 1, 64, 64, dtype=torch.int32), "float32"),
        (torch.zeros(1, 1, 64, 64, dtype=torch.bfloat16), "float32"),
    ],
)
def test_wrong_images_are_refused(tensor: torch.Tensor, match: str) -> None:
    with pytest.raises(DataError, match=match):
        RayTransform(TINY)(tensor)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    transform, image, sinogram = RayTransform(TINY), random_images(TINY), random_sinograms(TINY)
    image[0, 0, 3, 5] = value
    sinogram[-1, 0, 0, 0] = value
    calls: list[tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]] = [
        (transform, image),
        (transform.adjoint, sinogram),
        (transform.fbp, sinogram),
    ]
    for call, tensor in calls:
        with pytest.raises(DataError, match="1 NaN or infinite"):
            call(tensor)


def test_wrong_filters_are_refused() -> None:
    sinogram = random_sinograms(TINY)
    with pytest.raises(ConfigError, match="ram-lak"):
        RayTransform(TINY).fbp(sinogram, "ramlak")
    with pytest.raises(ConfigError, match="frequency_scaling"):
        RayTransform(TINY).fbp(sinogram, "hann", 0.0)


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_batch_gives_an_empty_batch(
    dtype: torch.dtype, portable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = PORTABLE if portable else next(iter(kernels()), PORTABLE)
    use(monkeypatch, name, name)
    assert RayTransform(TINY)(torch.zeros(0, 1, 64, 64, dtype=dtype)).shape == (0, 1, 100, 91)
    assert RayTransform(TINY).fbp(torch.zeros(0, 1, 100, 91, dtype=dtype)).shape == (0, 1, 64, 64)


def test_matrices_are_kept_on_disk_and_reused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path))
    scan = dataclasses.replace(TINY, image_shape=(10, 10), num_bins=15, num_angles=8)
    device = torch.device("cpu")
    first = SymmetricProjector(scan, torch.float32, device).project(random_images(scan)[:, 0])
    assert [path.name for path in tmp_path.glob("rays-*") if path.is_dir()]
    monkeypatch.setattr(
        "taskct_core.projection.matrices.joseph_matrix", lambda *_: pytest.fail("built a second time")
    )
    assert torch.equal(
        SymmetricProjector(scan, torch.float32, device).project(random_images(scan)[:, 0]), first
    )
