"""A step of training and a batch of an evaluation never wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from waits import DEVICE, Waits

from taskct_core import registry
from taskct_core.losses import IMAGE_LOSSES, TASK_LOSSES
from taskct_core.modes import FRONT_WAYS, MODES
from taskct_core.reconstructors import RECONSTRUCTORS, build_reconstructor, inputs_of
from taskct_core.schema import FULL_DOSE, LABELS, OWN_NETWORK_SUFFIX, UNLABELLED
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.task_networks.pretraining import Pretraining
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import build_trial_training
from taskct_core.training.stack import StackedTraining, TrainingStack
from taskct_core.training.trial import Training, build_training
from taskct_core.transfer import placed

Batch = dict[str, Any]
QUICK = {"architecture": "dncnn", "architecture_parameters": {"width": 2, "depth": 3}, "epochs": 2}
QUICK |= {"front_anchors": [0.9]}
# Waits a step of losses whose library makes its weights anew, or that this process has to look at (docs/objective.md).
WAITING_LOSSES = {"ms_ssim": 3, "lesion_dice_ce": 1}


@pytest.fixture
def batches(make_batch: Callable[..., Batch]) -> list[Batch]:
    """Three of them, one with a slice without labels."""
    found = [make_batch(count=count, side=32, seed=count) for count in (4, 4, 3)]
    for batch in found:
        batch[LABELS] = batch[LABELS].to(torch.uint8)
    found[1][LABELS][0] = UNLABELLED
    return found


@pytest.fixture
def task_network() -> TaskNetwork:
    """Few layers, for each costs time on this device too."""
    layers: list[nn.Module] = [nn.Conv2d(1, 2, 3, padding=1)]
    for _ in range(4):
        layers += [nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)]
    network = nn.Sequential(*layers, nn.Dropout(0.3), nn.Conv2d(2, 3, 1))
    return TaskNetwork(network, TaskNetworkConfig()).to(DEVICE).freeze()


def training_on_device(task_network: Any, **changes: Any) -> Training:
    return build_training(
        TrialConfig.parse(QUICK | changes), geometry=None, task_network=task_network, device=DEVICE
    )


SMALL: dict[str, Any] = {
    "unet": {"width": 2},
    "dncnn": {"width": 2, "depth": 3},
    "red_cnn": {"width": 2},
    "restormer": {"width": 4},
    "msd": {"depth": 3},
}
READS: list[Callable[[torch.Tensor], Any]] = [
    lambda values: values.sum().item(),
    lambda values: float(values.sum()),
    lambda values: bool(values.sum() > 0),
    lambda values: values.tolist(),
    lambda values: values.cpu(),
    lambda values: torch.zeros(3).copy_(values),
    lambda values: values[values > 0],
    lambda values: values.nonzero(),
    lambda values: values[[0, 1]],
    lambda values: torch.zeros(3).to(values.device),
    lambda values: torch.tensor([1.0], device=values.device),
]


@pytest.mark.parametrize("read", READS)
def test_every_way_to_wait_for_the_device_is_counted(read: Callable[[torch.Tensor], Any]) -> None:
    with Waits() as waits, suppress(NotImplementedError):  # what no stand-in can be given for is refused
        read(torch.zeros(3, device=DEVICE))
    assert waits.count == 1


@pytest.mark.parametrize(
    "changes",
    [
        *({"mode": mode} for mode in MODES if mode != "front"),
        {"mixing": "share"},
        {"task_target": "full_dose"},
        {"task_target": "full_dose_probabilities"},
        {"gradient_clip": None, "weight_average": 0.0},
    ],
    ids=str,
)
def test_an_epoch_waits_once_however_many_steps_it_has(
    changes: dict[str, Any], task_network: Any, batches: list[Batch]
) -> None:
    training = training_on_device(task_network, **changes)
    for epoch in ([batches[0]], batches * 2):
        with Waits() as waits:
            training.train_epoch(epoch)
        assert waits.count == 1


@pytest.mark.parametrize(
    "changes",
    [{"image_loss": name} for name in IMAGE_LOSSES] + [{"task_loss": name} for name in TASK_LOSSES],
    ids=str,
)
def test_losses_do_not_wait(changes: dict[str, str], task_network: Any, batches: list[Batch]) -> None:
    (name,) = changes.values()
    assert waits_of_a_step(task_network, batches[0], **changes) == WAITING_LOSSES.get(name, 0)


@pytest.mark.parametrize("architecture", RECONSTRUCTORS)
def test_reconstructors_do_not_wait(architecture: str, task_network: Any, batches: list[Batch]) -> None:
    if inputs_of_class(architecture) != ("fbp",):
        pytest.skip("the projector's kernels need real tensors")
    changes = {"architecture": architecture, "architecture_parameters": SMALL.get(architecture, {})}
    assert not waits_of_a_step(task_network, batches[0], **changes)


def inputs_of_class(architecture: str) -> tuple[str, ...]:
    return inputs_of(registry.load(architecture, RECONSTRUCTORS, "reconstructor"))


def waits_of_a_step(task_network: Any, batch: Batch, **changes: Any) -> int:
    """Waits a step, beyond the one at the end of the epoch."""
    training = training_on_device(task_network, **changes)
    counts = []
    for steps in (1, 2):
        with Waits() as waits:
            training.train_epoch([batch] * steps)
        counts.append(waits.count)
    return counts[1] - counts[0]


def test_a_value_that_is_read_in_a_step_is_seen(
    task_network: Any, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Training._step

    def reading(*args: Any) -> Any:
        measured = whole(*args)
        return measured if measured["loss"].item() >= 0 else {}

    monkeypatch.setattr(Training, "_step", reading)
    training = training_on_device(task_network)
    with Waits() as waits:
        training.train_epoch(batches)
    assert waits.count == len(batches) + 1


@pytest.mark.parametrize("way", FRONT_WAYS)
def test_fronts_do_not_wait(way: str, task_network: Any, batches: list[Batch]) -> None:
    config = TrialConfig.parse(QUICK | {"mode": "front", "front_way": way})
    front = build_trial_training(config, geometry=None, task_network=task_network, device=DEVICE)
    with Waits() as waits:
        front.train_epoch(batches)
    assert waits.count == 1


@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_a_stack_waits_once_an_epoch_for_each_trial(
    how: Any, task_network: Any, batches: list[Batch]
) -> None:
    trainings = []
    for alpha in (0.2, 0.8):
        config = TrialConfig.parse(QUICK | {"alpha": alpha, "mixing": "share"})
        module = build_reconstructor(config.architecture, config.architecture_parameters).to(DEVICE)
        trainings.append(StackedTraining(config, module, task_network, None, DEVICE, lambda m: m))
    stack = TrainingStack(trainings, how)
    with Waits() as waits:
        stack.train_epoch(trainings, [batches] * 2)
    assert waits.count == len(trainings)


@pytest.mark.parametrize("mode", ["task_adaptive", "joint"])
def test_an_evaluation_does_not_wait_for_the_images_that_are_made(
    mode: str, task_network: Any, batches: list[Batch]
) -> None:
    """Two copies a batch and one more for an own network come back, and are read while the next batch is computed."""
    training = training_on_device(task_network, mode=mode)
    with Waits() as waits:
        rows = training.evaluate(batches)
    assert waits.count == 0
    assert waits.copies == len(batches) * (3 if mode == "joint" else 2)
    assert len(rows) == 11
    assert any(name.endswith(OWN_NETWORK_SUFFIX) for name in rows[0]) == (mode == "joint")


def test_pre_training_waits_for_the_librarys_check_of_class_weights_alone(batches: list[Batch]) -> None:
    config = TaskNetworkConfig(architecture_parameters={"width": 2}, tumour_share=0.9)
    pretraining = Pretraining(config, DEVICE)
    with Waits() as waits:
        pretraining.train_epoch(batches)
    assert waits.count == len(batches) + 1


def test_what_is_placed_on_a_device_keeps_its_place_in_the_batch(batches: list[Batch]) -> None:
    found = list(placed(batches, torch.device("cpu")))
    assert [len(batch[FULL_DOSE]) for _, batch in found] == [4, 4, 3]
    assert all(host is batch for (host, _), batch in zip(found, batches, strict=True))
