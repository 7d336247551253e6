"""How steps are computed changes no more of a trial than it says: precision, memory layout, compiled networks."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from taskct_core.errors import ConfigError
from taskct_core.geometry import ParallelBeam
from taskct_core.reconstructors import RECONSTRUCTORS, build_reconstructor, inputs_of
from taskct_core.schema import LOSS, LOSS_IMAGE, LOSS_TASK
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.stack import StackedTraining, TrainingStack
from taskct_core.training.trial import Training, build_training

Batch = dict[str, Any]
QUICK = {"architecture": "dncnn", "architecture_parameters": {"width": 4, "depth": 3}, "epochs": 4}
DEFAULTS: dict[str, Any] = {
    "precision": "fp32",
    "channels_last": False,
    "compile": False,
    "cuda_graphs": False,
}

# PyTorch's own compiler asks for the gradient of an intermediate image where it splits a network in parts.
_TOLD_BY_TORCH = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)


@pytest.fixture
def task_network() -> Any:
    return build_task_network(TaskNetworkConfig(architecture_parameters={"width": 4})).freeze()


@pytest.fixture
def batches(make_batch: Callable[..., Batch]) -> list[Batch]:
    return [make_batch(count=4, seed=seed) for seed in range(2)]


def training_of(task_network: Any, **changes: Any) -> Training:
    config = TrialConfig.parse(QUICK | changes)
    return build_training(config, geometry=None, task_network=copy.deepcopy(task_network))


@pytest.mark.parametrize("mode", ["task_adaptive", "joint"])
def test_bf16_calls_networks_and_nothing_else(mode: str, task_network: Any, batches: list[Batch]) -> None:
    """Losses are near those of fp32 and not equal to them; weights, gradients and scored images are float32."""
    plain, reduced = (training_of(task_network, mode=mode, precision=p) for p in ("fp32", "bf16"))
    one, other = plain.train_epoch(batches), reduced.train_epoch(batches)
    for name in (LOSS, LOSS_IMAGE, LOSS_TASK):
        assert one[name] == pytest.approx(other[name], rel=0.03) and one[name] != other[name]
    for parameter in reduced.reconstructor.parameters():
        assert parameter.dtype == torch.float32 and parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
    reduced.reconstructor.load_state_dict(plain.reconstructor.state_dict())
    for name, weights in plain.state_dict()["averages"].items():
        reduced._averages[name].load_state_dict(weights)
    torch.testing.assert_close(
        reduced.reconstruct(batches[0]), plain.reconstruct(batches[0]), rtol=0, atol=0
    )  # scored as the network is used later, in float32


def test_a_loss_gets_float32_whatever_the_networks_compute_in(
    task_network: Any, batches: list[Batch]
) -> None:
    training = training_of(task_network, precision="bf16")
    seen = []
    for loss in (training.image_loss, training.task_loss):
        loss.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].dtype))
    training.train_epoch(batches)
    assert set(seen) == {torch.float32}


def test_a_bf16_trial_resumes_exactly(task_network: Any, batches: list[Batch]) -> None:
    straight = training_of(task_network, precision="bf16")
    straight.train_epoch(batches)
    checkpoint = io.BytesIO()
    torch.save(straight.state_dict(), checkpoint)
    expected = straight.train_epoch(batches)
    resumed = training_of(task_network, precision="bf16")
    resumed.load_state_dict(torch.load(io.BytesIO(checkpoint.getvalue()), weights_only=True))
    assert resumed.train_epoch(batches) == expected


def test_channels_last_changes_rounding_alone(task_network: Any, batches: list[Batch]) -> None:
    plain, laid_out = (training_of(task_network, channels_last=value) for value in (False, True))
    weight = laid_out.reconstructor.state_dict()
    assert any(not w.is_contiguous() for w in weight.values() if w.dim() == 4)
    assert laid_out.train_epoch(batches) == pytest.approx(plain.train_epoch(batches), rel=1e-3)
    assert laid_out.frozen_task_network.weights_hash() == plain.frozen_task_network.weights_hash()


@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_a_stack_computes_as_its_trials_do(how: Any, task_network: Any, batches: list[Batch]) -> None:
    config = TrialConfig.parse(QUICK | {"precision": "bf16"})

    def made(kind: Any) -> Any:
        torch.manual_seed(0)
        module = build_reconstructor(config.architecture, config.architecture_parameters)
        return kind(config, module, task_network, None, torch.device("cpu"), lambda m: m)

    pair = [made(StackedTraining), made(StackedTraining)]
    found = TrainingStack(pair, how).train_epoch(pair, [batches] * 2)
    assert found[0] == pytest.approx(made(Training).train_epoch(batches), rel=0.02)


def test_trials_that_compute_otherwise_are_not_stacked(task_network: Any) -> None:
    trainings = []
    for precision in ("fp32", "bf16"):
        config = TrialConfig.parse(QUICK | {"precision": precision})
        module = build_reconstructor(config.architecture, config.architecture_parameters)
        trainings.append(
            StackedTraining(config, module, task_network, None, torch.device("cpu"), lambda m: m)
        )
    with pytest.raises(ConfigError, match="one precision"):
        TrainingStack(trainings)


def test_trials_from_before_these_settings_keep_their_identity() -> None:
    config = TrialConfig()
    for values in (config.settings(), config.fingerprint()):
        assert not set(DEFAULTS) & set(values)
    changed = TrialConfig(precision="bf16")
    assert changed.settings()["precision"] == changed.fingerprint()["precision"] == "bf16"
    assert TrialConfig.parse(changed.settings()) == changed


@pytest.mark.parametrize(
    ("way", "is_allowed"), [("interpolated", True), ("line", False), ("conditioned", False)]
)
def test_networks_whose_weights_change_with_each_batch_are_not_compiled(way: str, is_allowed: bool) -> None:
    values = {"mode": "front", "front_way": way, "compile": True}
    if is_allowed:
        assert TrialConfig.parse(values).compile
        return
    with pytest.raises(ConfigError, match="compile must be false"):
        TrialConfig.parse(values)


def test_graphs_are_of_compiled_networks() -> None:
    with pytest.raises(ConfigError, match="cuda_graphs must be false without compile"):
        TrialConfig.parse({"cuda_graphs": True})


@_TOLD_BY_TORCH
@pytest.mark.slow
@pytest.mark.parametrize("cuda_graphs", [False, True])  # a CPU compiles for them, too, and has none
def test_a_compiled_training_gives_the_same_numbers(batches: list[Batch], cuda_graphs: bool) -> None:
    """Of networks with few layers: the compiler takes most of the time, for each of their kernels."""
    parameters = {"width": 4, "depth": 3}
    task_config = TaskNetworkConfig(architecture="dynunet", architecture_parameters=parameters)
    task_network = build_task_network(task_config).freeze()
    plain = training_of(task_network)
    compiled = training_of(task_network, compile=True, cuda_graphs=cuda_graphs)
    for _ in range(2):
        assert compiled.train_epoch(batches) == pytest.approx(plain.train_epoch(batches), rel=1e-3)
    assert set(compiled.state_dict()["reconstructor"]) == set(plain.state_dict()["reconstructor"])


@_TOLD_BY_TORCH
@pytest.mark.slow
@pytest.mark.parametrize("architecture", RECONSTRUCTORS)
def test_every_architecture_can_be_compiled(
    architecture: str, make_batch: Callable[..., Batch], small_scan: ParallelBeam
) -> None:
    """Captured by the compiler's front end, which is what an architecture can break; the kernels are PyTorch's affair."""
    torch.manual_seed(0)
    module = build_reconstructor(architecture, {}, small_scan)
    batch = make_batch(count=1, side=24)
    batch["sinogram"] = 0.1 * torch.rand(1, 1, small_scan.num_angles, small_scan.num_bins)
    tensors = [batch[name] for name in inputs_of(module)]
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="eager")
    image = compiled(*tensors)
    torch.testing.assert_close(image, module(*tensors), rtol=1e-4, atol=1e-5)
    image.sum().backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
