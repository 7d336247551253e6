"""Classical reconstructions: one suite for all, and independent solvers for each."""

import astra
import numpy as np
import pytest
import torch
from scipy.sparse.linalg import lsqr

from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import FanBeam, ParallelBeam
from taskct_core.projection import RayTransform
from taskct_core.projection.astra_backend import astra_geometries
from taskct_core.projection.joseph import joseph_matrix
from taskct_core.reconstructors.classical import CANDIDATES, CLASSICAL, cgls, sirt, tune, tv, tv_objective

SCAN = ParallelBeam(
    image_shape=(32, 32), pixel_spacing_mm=8.0, num_bins=47, bin_spacing_mm=8.0, num_angles=48
)
TRANSFORM = RayTransform(SCAN)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))


def pieces() -> torch.Tensor:
    """Two different piecewise constant images without symmetry, around 0.25 as tissue is."""
    image = torch.zeros(2, 1, 32, 32)
    image[:, :, 5:25, 8:28] = 0.25
    image[0, :, 8:14, 10:22] = 0.3
    image[1, :, 15:22, 12:16] = 0.2
    return image


def noisy(image: torch.Tensor, std: float = 1e-3) -> torch.Tensor:
    clean = TRANSFORM(image)
    return clean + std * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", CLASSICAL)
def test_a_batch_gives_what_its_items_give(method: str) -> None:
    sinograms = noisy(pieces())
    together = CLASSICAL[method](TRANSFORM, sinograms)
    alone = torch.cat([CLASSICAL[method](TRANSFORM, item[None]) for item in sinograms])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", CLASSICAL)
def test_it_finds_the_image_behind_nearly_clean_data(method: str) -> None:
    image = pieces()
    settings = tune(method, TRANSFORM, noisy(image, 1e-5), image)
    found = CLASSICAL[method](TRANSFORM, noisy(image, 1e-5), **settings)
    assert found.shape == image.shape
    assert float((found - image).norm() / image.norm()) < 0.15
    assert settings in CANDIDATES[method]


def test_tuning_takes_the_best_candidate() -> None:
    image, sinograms = pieces(), noisy(pieces())
    best = tune("cgls", TRANSFORM, sinograms, image)
    errors = {
        settings["iterations"]: float(
            (cgls(TRANSFORM, sinograms, **settings) - image).square().mean((1, 2, 3)).log().mean()
        )
        for settings in CANDIDATES["cgls"]
    }
    assert best["iterations"] == min(errors, key=errors.__getitem__)


def test_sirt_is_astras_sirt() -> None:
    sinogram = noisy(pieces())[:1]
    volume, projection = astra_geometries(SCAN)
    projector = astra.create_projector("linear", projection, volume)
    data = astra.data2d.create("-sino", projection, sinogram[0, 0].numpy() / (SCAN.pixel_spacing_mm / 1000))
    result = astra.data2d.create("-vol", volume, 0.0)
    config = astra.astra_dict("SIRT")
    config |= {"ProjectorId": projector, "ProjectionDataId": data, "ReconstructionDataId": result}
    config["option"] = {"MinConstraint": 0.0}
    algorithm = astra.algorithm.create(config)
    astra.algorithm.run(algorithm, 30)
    expected = torch.from_numpy(astra.data2d.get(result))
    astra.algorithm.delete(algorithm)
    astra.data2d.delete([data, result])
    astra.projector.delete(projector)
    torch.testing.assert_close(sirt(TRANSFORM, sinogram, iterations=30)[0, 0], expected, rtol=1e-3, atol=1e-4)


def test_cgls_is_scipys_lsqr() -> None:
    """In exact arithmetic both minimise over the same Krylov space."""
    sinogram = noisy(pieces())[:1].double()
    matrix = joseph_matrix(SCAN, SCAN.angles, SCAN.num_bins) * (SCAN.pixel_spacing_mm / 1000)
    expected = lsqr(matrix, sinogram.flatten().numpy(), atol=0, btol=0, iter_lim=8)[0]
    found = cgls(TRANSFORM, sinogram, iterations=8).flatten().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_cgls_of_an_empty_scan_is_zero() -> None:
    assert torch.equal(cgls(TRANSFORM, torch.zeros(1, 1, 48, 47)), torch.zeros(1, 1, 32, 32))


def test_tv_reaches_the_minimum_and_no_neighbour_is_lower() -> None:
    sinogram, weight = noisy(pieces()), 1e-3
    found = tv(TRANSFORM, sinogram, weight=weight)
    value = tv_objective(TRANSFORM, found, sinogram, weight)
    best = tv(TRANSFORM, sinogram, weight=weight, iterations=800)
    optimum = tv_objective(TRANSFORM, best, sinogram, weight)
    assert (value <= 1.005 * optimum).all()
    generator = torch.Generator().manual_seed(4)
    for size in (1e-3, 1e-2):
        neighbour = (found + size * torch.randn(found.shape, generator=generator)).clamp(min=0)
        assert (tv_objective(TRANSFORM, neighbour, sinogram, weight) > optimum).all()


def test_heavy_tv_leaves_one_value() -> None:
    """With the variation forbidden, the least-squares constant remains: a closed form."""
    sinogram = noisy(pieces())
    ones = TRANSFORM(torch.ones(1, 1, 32, 32))
    constant = (sinogram * ones).sum((1, 2, 3)) / ones.square().sum()
    found = tv(TRANSFORM, sinogram, weight=10.0, iterations=1500)
    assert float(found.std(dim=(1, 2, 3)).max()) < 5e-3
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), constant, rtol=0.02, atol=0)


@pytest.mark.parametrize("method", ["sirt", "cgls", "tv"])
def test_iterative_methods_reconstruct_fan_beams(method: str) -> None:
    fan = FanBeam(
        image_shape=(32, 32),
        pixel_spacing_mm=8.0,
        num_bins=64,
        bin_spacing_mm=12.0,
        num_angles=60,
        source_radius_mm=500.0,
        detector_radius_mm=500.0,
    )
    transform, image = RayTransform(fan), pieces()
    found = CLASSICAL[method](transform, transform(image))
    assert float((found - image).norm() / image.norm()) < 0.15


def test_bad_requests_are_refused() -> None:
    sinogram = noisy(pieces())
    with pytest.raises(ConfigError, match="iterations"):
        sirt(TRANSFORM, sinogram, iterations=0)
    with pytest.raises(ConfigError, match="weight"):
        tv(TRANSFORM, sinogram, weight=-1.0)
    with pytest.raises(ConfigError, match="fbp, sirt, cgls, tv"):
        tune("art", TRANSFORM, sinogram, pieces())
    with pytest.raises(DataError, match="samples"):
        tune("fbp", TRANSFORM, sinogram[:0], pieces()[:0])
