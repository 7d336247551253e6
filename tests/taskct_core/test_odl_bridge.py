"""ODL and taskct, both ways: any ODL ray transform as our projector, ours as an ODL operator."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import odl
import pytest
import torch
from odl.applications.tomo.backends.astra_cpu import AstraCpuImpl
from odl.core.diagnostics import OperatorTest

from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import PRESETS, FanBeam, OdlScan, ParallelBeam, geometry_from_dict
from taskct_core.hounsfield import MU_MAX
from taskct_core.projection import RayTransform
from taskct_core.projection.guarded import project_guarded
from taskct_core.projection.odl_bridge import odl_scan, operator_of, to_odl
from taskct_core.reconstructors import build_reconstructor
from taskct_core.reconstructors.classical import cgls
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.slices import geometry_of, simulate_slices

tomo = odl.applications.tomo
TINY = PRESETS["tiny"]
SCAN = dataclasses.replace(TINY, image_shape=(16, 16), num_bins=25, num_angles=20)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))


class DoublingBackEnd(AstraCpuImpl):
    """A back-end of the user's own: twice what ASTRA gives."""

    def call_forward(self, x, out=None, **kwargs):
        return 2 * super().call_forward(x, out, **kwargs)

    def call_backward(self, x, out=None, **kwargs):
        return 2 * super().call_backward(x, out, **kwargs)


def odl_ray_transform(kind: str = "parallel", impl: object = "astra_cpu", unit_mm: float = 1000.0) -> Any:
    """Our ``SCAN`` in ODL, or another of its size."""
    half_image = 16 * SCAN.pixel_spacing_mm / 2 / unit_mm
    half_detector = 25 * SCAN.bin_spacing_mm / 2 / unit_mm
    images = odl.uniform_discr([-half_image] * 2, [half_image] * 2, (16, 16), dtype="float32")
    angles = {
        "parallel": odl.uniform_partition(0, np.pi, 20),
        "uneven": odl.nonuniform_partition(np.sort(np.random.default_rng(0).uniform(0, 3.1, 20))),
        "fan": odl.uniform_partition(0, 2 * np.pi, 20),
    }[kind]
    if kind == "fan":
        detector = odl.uniform_partition(-2 * half_detector, 2 * half_detector, 25)
        geometry = tomo.FanBeamGeometry(angles, detector, 8 * half_image, 5 * half_image)
    else:
        geometry = tomo.Parallel2dGeometry(angles, odl.uniform_partition(-half_detector, half_detector, 25))
    return tomo.RayTransform(images, geometry, impl=impl)


RAY_TRANSFORMS: dict[str, dict[str, Any]] = {
    "parallel": {},
    "uneven angles": {"kind": "uneven"},
    "fan": {"kind": "fan"},
    "millimetres": {"unit_mm": 1.0},
    "own back-end": {"impl": DoublingBackEnd},
}


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", RAY_TRANSFORMS)
class TestEveryOdlRayTransform:
    def test_projects_as_odl_does_in_metres(self, name: str) -> None:
        options = RAY_TRANSFORMS[name]
        operator, unit_mm = odl_ray_transform(**options), options.get("unit_mm", 1000.0)
        images = random(3, 1, 16, 16)
        sinograms = RayTransform(odl_scan(operator, unit_mm=unit_mm))(images)
        for image, sinogram in zip(images, sinograms, strict=True):
            by_odl = np.asarray(operator(operator.domain.element(image[0].numpy())).data)
            np.testing.assert_allclose(sinogram[0].numpy(), by_odl * unit_mm / 1000, rtol=1e-6)

    def test_its_adjoint_is_the_transpose_and_the_gradient(self, name: str) -> None:
        options = RAY_TRANSFORMS[name]
        transform = RayTransform(
            odl_scan(odl_ray_transform(**options), unit_mm=options.get("unit_mm", 1000.0))
        )
        image, sinogram = random(2, 1, 16, 16).requires_grad_(), random(2, 1, 20, 25, seed=2)
        product = (transform(image).double() * sinogram).sum()
        back_projected = transform.adjoint(sinogram)
        ratio = (image.double() * back_projected).sum() / product
        assert float(ratio.detach()) == pytest.approx(1, abs=1e-6)
        product.backward()
        torch.testing.assert_close(image.grad, back_projected)

    def test_serves_unrolled_networks(self, name: str) -> None:
        options = RAY_TRANSFORMS[name]
        scan = odl_scan(odl_ray_transform(**options), unit_mm=options.get("unit_mm", 1000.0))
        torch.manual_seed(0)
        network = build_reconstructor("learned_primal_dual", {"width": 4, "iterations": 2}, scan)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        output = network(random(2, 1, 16, 16), random(2, 1, 20, 25))
        assert output.shape == (2, 1, 16, 16)
        output.square().mean().backward()
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())

    def test_refuses_nan(self, name: str) -> None:
        transform = RayTransform(odl_scan(odl_ray_transform(**RAY_TRANSFORMS[name])))
        with pytest.raises(DataError, match="finite"):
            transform(torch.full((1, 1, 16, 16), math.nan))


def test_it_compiles_without_a_break() -> None:
    transform, images = RayTransform(odl_scan(odl_ray_transform())), random(2, 1, 16, 16)
    compiled = torch.compile(transform, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), transform(images))


def test_odls_scan_of_our_geometry_is_our_own_projection() -> None:
    scan = odl_scan(odl_ray_transform())
    images, sinograms = random(2, 1, 16, 16), random(2, 1, 20, 25)
    ours, odls = RayTransform(SCAN), RayTransform(scan)
    assert scan.pixel_spacing_mm == pytest.approx(SCAN.pixel_spacing_mm)
    assert scan.bin_spacing_mm == pytest.approx(SCAN.bin_spacing_mm)
    np.testing.assert_allclose(scan.angles, SCAN.angles, rtol=1e-12)
    torch.testing.assert_close(odls(images), ours(images), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(odls.adjoint(sinograms), ours.adjoint(sinograms), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(odls.fbp(sinograms), ours.fbp(sinograms), rtol=1e-4, atol=2e-3)
    assert odls.norm() == pytest.approx(ours.norm(), rel=1e-4)


@pytest.mark.parametrize(("kind", "tolerance"), [("parallel", 0.02), ("uneven", 0.05), ("fan", 0.05)])
def test_fbp_has_the_right_scale(kind: str, tolerance: float) -> None:
    transform = RayTransform(odl_scan(odl_ray_transform(kind)))
    image = torch.zeros(1, 1, 16, 16)
    image[..., 3:13, 3:13] = 1
    assert float(transform.fbp(transform(image))[..., 6:10, 6:10].mean()) == pytest.approx(1, abs=tolerance)


def test_a_back_end_without_a_true_transpose_is_warned_of() -> None:
    transform = RayTransform(odl_scan(odl_ray_transform(impl="skimage")))
    with pytest.warns(UserWarning, match="no exact transpose"):
        transform(random(1, 1, 16, 16))


MODULE = """
import numpy as np, odl

def ray_transform(pixels=64, impl="astra_cpu"):
    images = odl.uniform_discr([-0.15] * 2, [0.15] * 2, (pixels, pixels), dtype="float32")
    geometry = odl.applications.tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, 90), odl.uniform_partition(-0.22, 0.22, 95))
    return odl.applications.tomo.RayTransform(images, geometry, impl=impl)

def oblong():
    images = odl.uniform_discr([-0.1, -0.2], [0.1, 0.2], (10, 20), dtype="float32")
    return odl.applications.tomo.RayTransform(images, ray_transform().geometry, impl="astra_cpu")

def flat_pixels():
    images = odl.uniform_discr([-0.1, -0.2], [0.1, 0.2], (20, 20), dtype="float32")
    return odl.applications.tomo.RayTransform(images, ray_transform().geometry, impl="astra_cpu")

def fails():
    raise RuntimeError("no detector")

number = lambda: 3
"""


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A user's module with ray transforms."""
    name = f"own_scanner_{os.getpid()}_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    operator_of.cache_clear()
    return name


def test_a_named_ray_transform_is_known_to_other_processes(own_module: str, tmp_path: Path) -> None:
    scan = odl_scan(f"{own_module}:ray_transform")
    assert geometry_from_dict(json.loads(json.dumps(scan.to_dict()))) == scan
    torch.save(random(1, 1, 64, 64), tmp_path / "image.pt")
    code = (
        "import sys, json, torch\n"
        "from taskct_core.geometry import geometry_from_dict\n"
        "from taskct_core.projection import RayTransform\n"
        "transform = RayTransform(geometry_from_dict(json.loads(sys.argv[1])))\n"
        "torch.save(transform(torch.load('image.pt')), 'sinogram.pt')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", code, json.dumps(scan.to_dict())]
    finished = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    expected = RayTransform(scan)(random(1, 1, 64, 64))
    assert torch.equal(torch.load(tmp_path / "sinogram.pt"), expected)


def test_an_operator_given_as_such_is_told_apart_in_other_processes() -> None:
    scan = odl_scan(odl_ray_transform())
    elsewhere = dataclasses.replace(scan, ray_transform="in this process:1")
    with pytest.raises(ConfigError, match=r"odl_scan\('package.module:function'\)"):
        RayTransform(elsewhere)(random(1, 1, 16, 16))


@pytest.mark.parametrize("guard", [False, True])
def test_it_simulates_a_dataset(own_module: str, guard: bool) -> None:
    config = SimulationConfig(
        ray_transform=f"{own_module}:ray_transform", inverse_crime_guard=guard, photons_per_ray=1e7
    )
    scan = geometry_of(config)
    assert isinstance(scan, OdlScan)
    hu = np.full((1, 100, 100), -1000, np.int16)
    hu[0, 25:75, 20:80] = 40
    columns = simulate_slices(
        hu,
        np.zeros(hu.shape, np.uint8),
        spacing_mm=(3.0, 3.0),
        patient="p",
        slice_indices=[0],
        config=config,
    )
    assert columns["fbp"].shape == (1, 64, 64)
    inside = slice(24, 40), slice(24, 40)
    full_dose, fbp = columns["full_dose"][0], columns["fbp"][0]
    assert full_dose[inside].min() > 0.2
    assert fbp[inside].mean() == pytest.approx(full_dose[inside].mean(), rel=0.02)


def test_the_guard_projects_a_finer_image(own_module: str) -> None:
    scan = odl_scan(f"{own_module}:ray_transform")
    ours = ParallelBeam(
        image_shape=(64, 64), pixel_spacing_mm=300 / 64, num_bins=95, bin_spacing_mm=440 / 95, num_angles=92
    )
    ours = dataclasses.replace(ours, num_angles=90, angles_rad=scan.angles_rad)
    image = random(1, 64, 64)
    with pytest.warns(UserWarning, match="symmetry"):
        expected = project_guarded(ours, image)
    torch.testing.assert_close(project_guarded(scan, image), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("flat_pixels", "square pixels"),
        ("number", "RayTransform"),
        ("absent", "importable"),
        ("fails", "no detector"),
    ],
)
def test_what_is_no_usable_ray_transform_is_refused(own_module: str, name: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        odl_scan(f"{own_module}:{name}")


def test_configurations_that_cannot_be_are_refused(own_module: str) -> None:
    for wrong in (
        {"ray_transform": "own_scanner"},
        {"ray_transform": f"{own_module}:ray_transform", "num_angles": 40},
        {"ray_transform": f"{own_module}:ray_transform", "field_of_view": "crop"},
    ):
        with pytest.raises(ConfigError, match="ray_transform"):
            SimulationConfig.parse(wrong)
    with pytest.raises(ConfigError, match="square image"):
        geometry_of(SimulationConfig(ray_transform=f"{own_module}:oblong"))
    with pytest.raises(ConfigError, match="300 mm"):
        geometry_of(SimulationConfig(ray_transform=f"{own_module}:ray_transform", field_of_view_mm=400))


OURS = {
    "symmetric": SCAN,
    "rectangular": dataclasses.replace(SCAN, image_shape=(12, 16)),
    "angles of its own": dataclasses.replace(SCAN, angles_rad=tuple(np.linspace(0.2, 2, 20))),
    "one angle": dataclasses.replace(SCAN, num_angles=1, angles_rad=(0.3,)),
    "fan": FanBeam(**dataclasses.asdict(SCAN), source_radius_mm=200.0, detector_radius_mm=100.0),
}


@pytest.mark.filterwarnings("ignore:This scan lacks")
@pytest.mark.parametrize("name", OURS)
class TestOursAsAnOdlOperator:
    def test_odls_own_diagnostics_pass(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        operator = to_odl(OURS[name])
        for each in (operator, operator.adjoint):
            OperatorTest(each, operator_norm=1.0 if each is operator else None).run_tests()
        assert "FAIL" not in capsys.readouterr().out.upper()

    def test_adjoint_in_odls_inner_products(self, name: str) -> None:
        operator = to_odl(OURS[name])
        x = operator.domain.element(random(*OURS[name].image_shape).numpy())
        y = operator.range.element(random(*OURS[name].sinogram_shape, seed=2).numpy())
        assert operator(x).inner(y) == pytest.approx(x.inner(operator.adjoint(y)), rel=1e-5)
        assert operator.adjoint.adjoint is operator


def test_odls_solvers_solve_with_our_operator() -> None:
    """ODL's conjugate gradients on the normal equation, against ours."""
    operator = to_odl(SCAN, dtype="float64")
    transform = RayTransform(SCAN)
    image = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    image[..., 4:12, 5:10] = 1
    sinogram = transform(image)
    solution = operator.domain.zero()
    odl.solvers.conjugate_gradient_normal(
        operator, solution, operator.range.element(sinogram[0, 0].numpy()), niter=8
    )
    expected = cgls(transform, sinogram, iterations=8)[0, 0].numpy()
    np.testing.assert_allclose(np.asarray(solution.data), expected, rtol=1e-6, atol=1e-8)


def test_values_are_kept_in_the_units_of_the_dataset() -> None:
    """A stored image of 1 is MU_MAX per metre: the operator knows no units but lengths."""
    image = np.ones(SCAN.image_shape, np.float32)
    operator = to_odl(SCAN)
    once, times = operator(operator.domain.element(image)), operator(operator.domain.element(MU_MAX * image))
    np.testing.assert_allclose(np.asarray(times.data), MU_MAX * np.asarray(once.data), rtol=1e-5)
