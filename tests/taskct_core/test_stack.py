"""Trials trained as one stack give the numbers that each gives alone, and one of them may fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from taskct_core.errors import ConfigError, DataError, TrainingError
from taskct_core.geometry import ParallelBeam
from taskct_core.reconstructors import build_reconstructor
from taskct_core.schema import SINOGRAM, UNLABELLED
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.stack import STACKED_MODES, StackedTraining, TrainingStack
from taskct_core.training.trial import build_training

Batch = dict[str, Any]
QUICK = {"architecture": "unet", "architecture_parameters": {"width": 2}, "epochs": 4, "batch_size": 4}
DIFFERENT: list[dict[str, Any]] = [
    {"alpha": 0.0, "mode": "reconstruction_only"},
    {"alpha": 0.5, "learning_rate": 3e-3, "seed": 1},
    {"alpha": 0.9, "mixing": "share", "gradient_clip": None, "weight_average": 0.0},
    {"alpha": 1.0, "image_loss": "0.84*ms_ssim + 0.16*l1", "task_loss": "ce", "task_target": "full_dose"},
    {"alpha": 0.6, "task_target": "full_dose_probabilities"},
    {"alpha": 0.7, "mode": "fine_tune", "image_loss": "charbonnier", "weight_decay": 0.01},
]


@pytest.fixture
def task_network() -> Any:
    return build_task_network(TaskNetworkConfig(architecture_parameters={"width": 2})).freeze()


@pytest.fixture
def batches(make_batch: Callable[..., Batch]) -> list[Batch]:
    found = [make_batch(count=4, seed=seed) for seed in range(2)] + [make_batch(count=3, seed=2)]
    found[1]["labels"][0] = UNLABELLED
    return found


def stacked(task_network: Any, changes: list[dict[str, Any]]) -> list[StackedTraining]:
    trainings = []
    for change in changes:
        config = TrialConfig.parse(QUICK | change)
        torch.manual_seed(config.seed)
        reconstructor = build_reconstructor(config.architecture, config.architecture_parameters)
        trainings.append(
            StackedTraining(config, reconstructor, task_network, None, torch.device("cpu"), lambda m: m)
        )
    return trainings


@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_a_stack_gives_the_numbers_of_each_trial_alone(
    how: Any, task_network: Any, batches: list[Batch]
) -> None:
    together = stacked(task_network, DIFFERENT)
    stack = TrainingStack(together, how)
    # Trials of different seeds see different orders.
    orders = [
        batches if index % 2 else [batches[1], batches[0], batches[2]] for index in range(len(DIFFERENT))
    ]
    results = stack.train_epoch(together, orders)
    for index, change in enumerate(DIFFERENT):
        alone = build_training(
            TrialConfig.parse(QUICK | change), geometry=None, task_network=copy.deepcopy(task_network)
        )
        expected = alone.train_epoch(orders[index])
        found = results[index]
        assert isinstance(found, dict) and set(found) == set(expected)
        tolerance = 0 if how == "loop" else 1e-5
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=tolerance, abs=tolerance), (change, name)
        images = [training.reconstruct(batches[0]) for training in (alone, together[index])]
        torch.testing.assert_close(*images, atol=tolerance, rtol=0)


@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_a_trial_that_fails_leaves_the_others_as_they_are_without_it(
    how: Any, task_network: Any, batches: list[Batch]
) -> None:
    changes: list[dict[str, Any]] = [{"alpha": 0.3}, {"alpha": 0.3, "seed": 1}, {"alpha": 0.8}]
    trainings = stacked(task_network, changes)
    with torch.no_grad():
        next(iter(trainings[1].reconstructor.parameters())).fill_(float("nan"))
    results = TrainingStack(trainings, how).train_epoch(trainings, [batches] * 3)
    assert isinstance(results[1], TrainingError) and "finite" in str(results[1])
    others = stacked(task_network, [changes[0], changes[2]])
    expected = TrainingStack(others, how).train_epoch(others, [batches] * 2)
    for one, other in zip((results[0], results[2]), expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_a_trial_that_is_pruned_leaves_the_stack(task_network: Any, batches: list[Batch]) -> None:
    trainings = stacked(task_network, [{"alpha": 0.3}, {"alpha": 0.8}])
    stack = TrainingStack(trainings)
    stack.train_epoch(trainings, [batches] * 2)
    stack.train_epoch(trainings[1:], [batches])
    assert [training.epoch for training in trainings] == [1, 2]


def test_a_stacked_trial_goes_on_alone_from_its_checkpoint(task_network: Any, batches: list[Batch]) -> None:
    trainings = stacked(task_network, [{"alpha": 0.3}, {"alpha": 0.8, "mixing": "share"}])
    stack = TrainingStack(trainings)
    stack.train_epoch(trainings, [batches] * 2)
    alone = build_training(trainings[1].config, geometry=None, task_network=copy.deepcopy(task_network))
    alone.load_state_dict(copy.deepcopy(trainings[1].state_dict()))
    expected = alone.train_epoch(batches)
    found = stack.train_epoch(trainings, [batches] * 2)[1]
    assert found == pytest.approx(expected, rel=1e-5)


def test_architectures_with_the_projector_inside_are_stacked_too(
    task_network: Any, make_batch: Callable[..., Batch], small_scan: ParallelBeam
) -> None:
    batch = make_batch(count=2, side=24)
    batch[SINOGRAM] = 0.1 * torch.rand(2, 1, small_scan.num_angles, small_scan.num_bins)
    config = TrialConfig.parse(
        {"architecture": "learned_gradient", "architecture_parameters": {"width": 2, "iterations": 1}}
    )

    def made(kind: Any) -> Any:
        torch.manual_seed(0)
        module = build_reconstructor(config.architecture, config.architecture_parameters, small_scan)
        return kind(config, module, task_network, None, torch.device("cpu"), lambda m: m)

    from taskct_core.training.trial import Training

    pair = [made(StackedTraining), made(StackedTraining)]
    results = TrainingStack(pair).train_epoch(pair, [[batch]] * 2)
    assert results[0] == pytest.approx(made(Training).train_epoch([batch]), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{}, {"architecture_parameters": {"width": 4}}], "one architecture_parameters"),
        ([{}, {"batch_size": 2}], "one batch_size"),
        ([{}, {"mode": "sequential"}], "a stack trains the modes"),
    ],
)
def test_trials_that_cannot_be_one_are_refused(
    changes: list[dict[str, Any]], message: str, task_network: Any
) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingStack(stacked(task_network, changes))


def test_a_stack_needs_samples_and_as_many_of_each_trial(task_network: Any, batches: list[Batch]) -> None:
    assert "task_adaptive" in STACKED_MODES and "joint" not in STACKED_MODES
    trainings = stacked(task_network, [{}, {"seed": 1}])
    with pytest.raises(DataError, match="needs training samples"):
        TrainingStack(trainings).train_epoch(trainings, [[], []])
