"""The projector inside today's PyTorch: torch.func, torch.compile, torch.export, and the checks that stay."""

import dataclasses
import io
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from taskct_core.errors import DataError
from taskct_core.geometry import PRESETS, FanBeam, ParallelBeam
from taskct_core.projection import RayTransform
from taskct_core.reconstructors import build_reconstructor, inputs_of

SYMMETRIC = ParallelBeam(
    image_shape=(12, 14), pixel_spacing_mm=2.0, num_bins=21, bin_spacing_mm=1.7, num_angles=16
)
# ASTRA's scans, in float32 only.
ARC = dataclasses.replace(SYMMETRIC, angles_rad=tuple(np.linspace(0.1, 2.0, 16)))
FAN = FanBeam(**dataclasses.asdict(SYMMETRIC), source_radius_mm=90.0, detector_radius_mm=60.0)
TINY = PRESETS["tiny"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))
    torch.compiler.reset()  # what other tests compiled counts towards the limit of recompilations


def random(shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def maps() -> dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, int]]]:
    """Every public map with the shape of what it takes."""
    scans = {"symmetric": SYMMETRIC, "arc": ARC, "fan": FAN}
    found: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, int]]] = {}
    for name, scan in scans.items():
        transform = RayTransform(scan)
        found[f"{name} forward"] = transform, scan.image_shape
        found[f"{name} adjoint"] = transform.adjoint, scan.sinogram_shape
        found[f"{name} fbp"] = transform.fbp, scan.sinogram_shape
    return found


@pytest.mark.filterwarnings("ignore:This scan lacks")
@pytest.mark.parametrize("name", maps())
class TestEveryMap:
    def test_vmap_is_a_loop(self, name: str) -> None:
        apply, shape = maps()[name]
        inputs = random((3, 2, 1, *shape))
        expected = torch.stack([apply(item) for item in inputs])
        assert torch.equal(torch.func.vmap(apply)(inputs), expected)
        # The mapped axis may be any, and there may be none of an inner batch.
        assert torch.equal(torch.func.vmap(apply, in_dims=1)(inputs.transpose(0, 1)), expected)
        assert torch.func.vmap(apply)(inputs[:, :0]).shape == (3, 0, 1, *expected.shape[3:])

    def test_forward_mode_is_the_map_itself(self, name: str) -> None:
        apply, shape = maps()[name]
        value, tangent = random((2, 1, *shape), 1), random((2, 1, *shape), 2)
        output, derivative = torch.func.jvp(apply, (value,), (tangent,))[:2]
        assert torch.equal(output, apply(value))
        assert torch.equal(derivative, apply(tangent))

    def test_both_modes_agree_on_second_derivatives(self, name: str) -> None:
        apply, shape = maps()[name]

        def loss(values: torch.Tensor) -> torch.Tensor:
            return apply(values).pow(3).sum()

        value, direction = random((1, 1, *shape), 3), random((1, 1, *shape), 4)
        _, forward_over_reverse = torch.func.jvp(torch.func.grad(loss), (value,), (direction,))[:2]
        _, reverse = torch.func.vjp(torch.func.grad(loss), value)[:2]
        torch.testing.assert_close(forward_over_reverse, reverse(direction)[0], rtol=1e-3, atol=1e-3)

    def test_gradients_a_sample(self, name: str) -> None:
        apply, shape = maps()[name]
        values = random((3, 1, *shape))
        each = torch.func.vmap(torch.func.grad(lambda value: apply(value[None]).square().sum()))(values)
        together = torch.func.grad(lambda value: apply(value).square().sum())(values)
        torch.testing.assert_close(each, together)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_gradients_that_are_not_finite_are_refused(self, name: str, bad: float) -> None:
        apply, shape = maps()[name]
        output = apply(random((2, 1, *shape)).requires_grad_())
        gradient = torch.ones_like(output)
        gradient[1, 0, 2, 3] = bad
        with pytest.raises(
            DataError, match=r"gradient of the (image|sinogram) must be finite; received 1 NaN"
        ):
            output.backward(gradient)

    def test_compiled_without_a_break_it_gives_the_same(self, name: str) -> None:
        apply, shape = maps()[name]
        compiled = torch.compile(lambda values: 2 * apply(values.relu()), fullgraph=True, backend="aot_eager")
        value, same = (random((2, 1, *shape)).requires_grad_() for _ in range(2))
        expected, actual = 2 * apply(value.relu()), compiled(same)
        assert torch.equal(actual, expected)
        expected.square().sum().backward()
        actual.square().sum().backward()
        assert torch.equal(same.grad, value.grad)


@pytest.mark.filterwarnings("ignore:This scan lacks")
@pytest.mark.parametrize("scan", [SYMMETRIC, ARC, FAN], ids=["symmetric", "arc", "fan"])
def test_the_operator_passes_pytorchs_own_checks(scan: ParallelBeam | FanBeam) -> None:
    described = RayTransform(scan)._described
    for kind, transposed, shape in [
        ("rays", False, scan.image_shape),
        ("rays", True, scan.sinogram_shape),
        ("fbp hann 1.0", False, scan.sinogram_shape),
    ]:
        values = random((2, *shape)).requires_grad_()
        torch.library.opcheck(torch.ops.taskct.linear_map, (values, kind, described, transposed, ""))


def inside(architecture: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A network with the projector inside, with random weights, and a batch for it."""
    torch.manual_seed(0)
    network = build_reconstructor(architecture, {}, TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    shapes = {"fbp": TINY.image_shape, "sinogram": TINY.sinogram_shape}
    return network, tuple(random((2, 1, *shapes[name])) for name in inputs_of(network))


# Not ItNet: MONAI's U-Net calls torch.jit.isinstance, which torch.compile does not trace.
@pytest.mark.parametrize("architecture", ["learned_primal_dual", "learned_gradient", "iradonmap"])
def test_networks_compile_without_a_break(architecture: str) -> None:
    network, batch = inside(architecture)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for run in (network, compiled):
        run(*batch).square().mean().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        if run is network:
            expected = gradients
        network.zero_grad()
    for actual, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(actual, reference)


@pytest.mark.parametrize(
    "architecture",
    ["learned_primal_dual", "learned_gradient", pytest.param("itnet", marks=pytest.mark.slow), "iradonmap"],
)
def test_networks_export_and_load(architecture: str) -> None:
    network, batch = inside(architecture)
    network.eval()
    file = io.BytesIO()
    torch.export.save(torch.export.export(network, batch), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    torch.testing.assert_close(loaded(*batch), network(*batch))


@pytest.mark.slow
def test_an_exported_program_runs_in_another_process_at_another_batch(tmp_path: Path) -> None:
    transform, images = RayTransform(TINY), random((2, 1, *TINY.image_shape))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(transform, (images,), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "program.pt2")
    images = random((5, 1, *TINY.image_shape))
    torch.save({"images": images, "expected": transform(images)}, tmp_path / "data.pt")
    code = (
        "import sys, torch, taskct_core.projection\n"
        "data = torch.load(sys.argv[2])\n"
        "assert torch.equal(torch.export.load(sys.argv[1]).module()(data['images']), data['expected'])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "program.pt2"), str(tmp_path / "data.pt")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_a_compiled_projection_still_refuses_nan() -> None:
    compiled = torch.compile(RayTransform(TINY), fullgraph=True, backend="aot_eager")
    with pytest.raises(DataError, match="image must be finite"):
        compiled(torch.full((1, 1, *TINY.image_shape), math.nan))


@pytest.mark.filterwarnings("ignore:This scan lacks")
@pytest.mark.parametrize("scan", [ARC, FAN], ids=["arc", "fan"])
def test_scans_that_astra_projects_refuse_float64(scan: ParallelBeam | FanBeam) -> None:
    transform = RayTransform(scan)
    calls: list[Callable[[torch.Tensor], torch.Tensor]] = [transform, transform.adjoint]
    for call, shape in zip(calls, (scan.image_shape, scan.sinogram_shape), strict=True):
        with pytest.raises(DataError, match="float32"):
            call(torch.zeros(1, 1, *shape, dtype=torch.float64))
