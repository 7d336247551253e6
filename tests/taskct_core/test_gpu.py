"""On a GPU a training gives the numbers that it gives on a CPU, whatever way it computes, and never waits in a step."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from taskct_core import schema
from taskct_core.geometry import PRESETS, ParallelBeam
from taskct_core.metrics import summarise
from taskct_core.modes import FRONT_WAYS, MODES
from taskct_core.projection import RayTransform
from taskct_core.reconstructors import RECONSTRUCTORS
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import build_trial_training
from taskct_core.training.stack import StackedTraining, TrainingStack
from taskct_core.training.trial import Training, build_training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

Batch = dict[str, Any]
SMALL: dict[str, Any] = {
    "unet": {"width": 4},
    "dncnn": {"width": 4, "depth": 3},
    "red_cnn": {"width": 4},
    "restormer": {"width": 4},
    "msd": {"depth": 3},
}
QUICK = {"architecture": "dncnn", "architecture_parameters": SMALL["dncnn"], "epochs": 4}


@pytest.fixture(autouse=True)
def _exact_products() -> Iterator[None]:
    """cuDNN rounds the factors of convolutions to TF32 unless told otherwise."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def task_network() -> Any:
    parameters = {"width": 4, "depth": 3}
    return build_task_network(
        TaskNetworkConfig(architecture="dynunet", architecture_parameters=parameters)
    ).freeze()


@pytest.fixture
def batches(make_batch: Callable[..., Batch], small_scan: ParallelBeam) -> list[Batch]:
    found = [make_batch(count=4, side=24, seed=seed) for seed in range(3)]
    for batch in found:
        batch["sinogram"] = RayTransform(small_scan)(batch[schema.FULL_DOSE])
    return found


def training_on(device: str, task_network: Any, scan: ParallelBeam | None = None, **changes: Any) -> Training:
    config = TrialConfig.parse(QUICK | changes)
    return build_training(
        config, geometry=scan, task_network=copy.deepcopy(task_network), device=torch.device(device)
    )


@pytest.mark.parametrize("architecture", RECONSTRUCTORS)
def test_every_architecture_trains_as_on_a_cpu(
    architecture: str, task_network: Any, batches: list[Batch], small_scan: ParallelBeam
) -> None:
    changes = {"architecture": architecture, "architecture_parameters": SMALL.get(architecture, {})}
    here, there = (training_on(device, task_network, small_scan, **changes) for device in ("cpu", "cuda"))
    assert there.train_epoch(batches) == pytest.approx(here.train_epoch(batches), rel=0.01, abs=1e-6)


@pytest.mark.parametrize("mode", [name for name in MODES if name != "front"])
def test_every_mode_trains_and_is_scored_as_on_a_cpu(
    mode: str, task_network: Any, batches: list[Batch]
) -> None:
    found = []
    for device in ("cpu", "cuda"):
        training = training_on(device, task_network, mode=mode)
        losses = [training.train_epoch(batches) for _ in range(3)]
        rows = training.evaluate(batches)
        training.keep(rows, summarise(rows))
        found.append((losses, summarise(rows)))
    (losses_here, scores_here), (losses_there, scores_there) = found
    for here, there in zip(losses_here, losses_there, strict=True):
        assert there == pytest.approx(here, rel=0.01, abs=1e-6)
    assert scores_there == pytest.approx(scores_here, rel=0.02, abs=1e-3, nan_ok=True)


@pytest.mark.parametrize("way", FRONT_WAYS)
def test_every_way_to_a_front_trains_as_on_a_cpu(way: str, task_network: Any, batches: list[Batch]) -> None:
    config = TrialConfig.parse(QUICK | {"mode": "front", "front_way": way, "front_anchors": [0.9]})
    here, there = (
        build_trial_training(
            config, geometry=None, task_network=copy.deepcopy(task_network), device=torch.device(device)
        )
        for device in ("cpu", "cuda")
    )
    for _ in range(2):
        assert there.train_epoch(batches) == pytest.approx(here.train_epoch(batches), rel=0.01, abs=1e-6)


@pytest.mark.parametrize("mode", ["task_adaptive", "fine_tune", "joint"])
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_compiled_networks_and_graphs_give_the_same_numbers(
    cuda_graphs: bool, mode: str, task_network: Any, batches: list[Batch]
) -> None:
    plain = training_on("cuda", task_network, mode=mode)
    compiled = training_on("cuda", task_network, mode=mode, compile=True, cuda_graphs=cuda_graphs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's compiler has advice to give
        for _ in range(4):
            found = compiled.train_epoch(batches)
            assert found == pytest.approx(plain.train_epoch(batches), rel=0.01, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_precision_and_layout_change_rounding_alone(
    precision: str, channels_last: bool, task_network: Any, batches: list[Batch]
) -> None:
    here = training_on("cpu", task_network)
    there = training_on("cuda", task_network, precision=precision, channels_last=channels_last)
    expected, found = here.train_epoch(batches), there.train_epoch(batches)
    for name in (schema.LOSS, schema.LOSS_IMAGE, schema.LOSS_TASK):
        assert found[name] == pytest.approx(expected[name], rel=0.03)


def test_scores_are_exact_whatever_trains(task_network: Any, make_batch: Callable[..., Batch]) -> None:
    """cuDNN may round in training; what is scored is computed as on a CPU, and the setting is left as it was."""
    torch.backends.cudnn.allow_tf32 = True
    batches = [make_batch(count=4, side=64)]
    changes = {"architecture": "unet", "architecture_parameters": {"width": 16}}
    here, there = (training_on(device, task_network, **changes) for device in ("cpu", "cuda"))
    image = there.reconstruct(batches[0]).cpu()
    assert float((image - here.reconstruct(batches[0])).abs().max()) < 1e-5
    scores = [summarise(training.evaluate(batches)) for training in (here, there)]
    assert scores[1]["psnr_lodopab"] == pytest.approx(scores[0]["psnr_lodopab"], abs=1e-4)
    assert torch.backends.cudnn.allow_tf32


def test_a_resumed_training_goes_on_as_it_would_have(task_network: Any, batches: list[Batch]) -> None:
    straight = training_on("cuda", task_network, mode="joint")
    straight.train_epoch(batches)
    checkpoint = io.BytesIO()
    torch.save(straight.state_dict(), checkpoint)
    expected = straight.train_epoch(batches)
    resumed = training_on("cuda", task_network, mode="joint")
    state = torch.load(io.BytesIO(checkpoint.getvalue()), weights_only=True, map_location="cpu")
    resumed.load_state_dict(state)
    assert resumed.train_epoch(batches) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_a_stack_computes_as_its_trials_do(how: Any, task_network: Any, batches: list[Batch]) -> None:
    def made(kind: type[Training], alpha: float) -> Any:
        config = TrialConfig.parse(QUICK | {"alpha": alpha})
        single = training_on("cuda", task_network, alpha=alpha)
        frozen = shared if kind is StackedTraining else single.frozen_task_network
        return kind(config, single.reconstructor, frozen, None, torch.device("cuda"), lambda m: m)

    shared = copy.deepcopy(task_network).to("cuda").freeze()
    alphas = [0.0, 0.5]
    pair = [made(StackedTraining, alpha) for alpha in alphas]
    found = TrainingStack(pair, how).train_epoch(pair, [batches] * 2)
    for result, alpha in zip(found, alphas, strict=True):
        assert result == pytest.approx(made(Training, alpha).train_epoch(batches), rel=0.01, abs=1e-6)


@pytest.mark.parametrize("mode", [name for name in MODES if name != "front"])
def test_no_step_waits_for_the_device(mode: str, task_network: Any, batches: list[Batch]) -> None:
    """PyTorch's own count of waits; an epoch of twice as many steps has no more of them."""
    for batch in batches:
        batch[schema.LABELS] = batch[schema.LABELS].to(torch.uint8)
    training = training_on("cuda", task_network, mode=mode)
    training.train_epoch(batches)
    assert waits(training, batches) == waits(training, batches * 2)


def waits(training: Training, batches: list[Batch]) -> int:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            training.train_epoch(batches)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in found)


@pytest.mark.parametrize("preset", ["small", "lodopab"])
def test_the_ray_transform_is_that_of_the_cpu(preset: str) -> None:
    scan = PRESETS[preset]
    transform = RayTransform(scan)
    image = torch.rand(3, 1, *scan.image_shape)
    sinogram = transform(image)
    for found, expected in (
        (transform(image.cuda()), sinogram),
        (transform.adjoint(sinogram.cuda()), transform.adjoint(sinogram)),
        (transform.fbp(sinogram.cuda()), transform.fbp(sinogram)),
    ):
        assert float((found.cpu() - expected).norm() / expected.norm()) < 1e-5
