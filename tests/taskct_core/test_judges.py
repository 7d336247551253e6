"""Several frozen task networks as judges: the loss is their mean, or that of one drawn for each step."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from taskct_core.errors import ConfigError
from taskct_core.schema import LOSS_TASK, UNLABELLED
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.judges import Judges
from taskct_core.training.trial import Training, build_training

Batch = dict[str, Any]
TRIAL = {
    "mode": "task_adaptive",
    "alpha": 1.0,
    "architecture": "dncnn",
    "architecture_parameters": {"width": 4, "depth": 3},
    "learning_rate_schedule": "constant",
    "warmup_steps": 0,
    "weight_average": 0.0,
    "epochs": 4,
}


@pytest.fixture(scope="module")
def networks() -> list[TaskNetwork]:
    """Two that tell tumours apart, and one that knows the liver alone."""
    configs = [
        TaskNetworkConfig(architecture_parameters={"width": 4}, seed=seed, classes=classes)
        for seed, classes in ((0, "liver_tumour"), (1, "liver_tumour"), (2, "liver"))
    ]
    return [build_task_network(config).freeze() for config in configs]


@pytest.fixture
def batches(make_batch: Callable[..., Batch]) -> list[Batch]:
    return [make_batch(count=4, seed=seed) for seed in range(4)]


def training_of(networks: Sequence[TaskNetwork], judges: str, **changes: Any) -> Training:
    first, *others = copy.deepcopy(list(networks))
    config = TrialConfig.parse(TRIAL | {"judges": judges} | changes)
    return build_training(config, geometry=None, task_network=first, further_judges=others)


def gradient_of_step(training: Training, batch: Batch) -> torch.Tensor:
    training.train_epoch([batch])
    return torch.cat([p.grad.flatten() for p in training.reconstructor.parameters() if p.grad is not None])


def test_an_ensemble_s_gradient_is_the_mean_of_its_judges(
    networks: list[TaskNetwork], batches: list[Batch]
) -> None:
    bare = {"gradient_clip": None}
    alone = [gradient_of_step(training_of([one], "first", **bare), batches[0]) for one in networks]
    together = gradient_of_step(training_of(networks, "ensemble", **bare), batches[0])
    assert torch.allclose(together, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-6 * together.abs().max())


def test_at_random_each_step_has_one_judge_and_all_come_up(
    networks: list[TaskNetwork], batches: list[Batch]
) -> None:
    training = training_of(networks, "random", gradient_clip=None)
    chosen = [training.judges.of_step(step) for step in range(1, 5)]
    assert all(len(one) == 1 for one in chosen)
    for step, batch in enumerate(batches):
        place = training.judges.all.index(chosen[step][0])
        alone = training_of([networks[place]], "first", gradient_clip=None)
        alone.reconstructor.load_state_dict(training.reconstructor.state_dict())
        assert torch.equal(gradient_of_step(training, batch), gradient_of_step(alone, batch))
    counts = np.bincount([networks.index(Judges("random", networks, 0).of_step(s)[0]) for s in range(300)])
    assert len(counts) == 3 and (abs(counts - 100) < 4 * np.sqrt(300 * 2 / 9)).all()


@pytest.mark.parametrize("judges", ["ensemble", "random"])
def test_resuming_is_exact_under_several_judges(
    judges: str, networks: list[TaskNetwork], batches: list[Batch]
) -> None:
    straight = training_of(networks, judges)
    straight.train_epoch(batches)
    file = io.BytesIO()
    torch.save(straight.state_dict(), file)
    file.seek(0)
    resumed = training_of(networks, judges)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.train_epoch(batches) == straight.train_epoch(batches)
    ours, theirs = straight.reconstructor.state_dict(), resumed.reconstructor.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_validation_loss_is_the_mean_over_the_judges(
    networks: list[TaskNetwork], batches: list[Batch]
) -> None:
    def loss(chosen: Sequence[TaskNetwork], judges: str) -> float:
        return training_of(chosen, judges).evaluate(batches[:1])[0][LOSS_TASK]

    alone = [loss([one], "first") for one in networks]
    assert loss(networks, "ensemble") == pytest.approx(np.mean(alone), rel=1e-5)
    assert loss(networks, "random") == pytest.approx(np.mean(alone), rel=1e-5)
    assert loss(networks, "first") == pytest.approx(alone[0], rel=1e-5)


@pytest.mark.parametrize("target", ["full_dose", "full_dose_probabilities"])
def test_each_judge_is_held_to_its_own_answer_on_the_full_dose(
    target: str, networks: list[TaskNetwork], batches: list[Batch]
) -> None:
    """Without labels: two judges that disagree on the full dose are each compared with themselves."""
    unlabelled = batches[0] | {"labels": torch.full_like(batches[0]["labels"], UNLABELLED)}
    settings = {"task_target": target, "gradient_clip": None}
    alone = [gradient_of_step(training_of([one], "first", **settings), unlabelled) for one in networks[:2]]
    together = gradient_of_step(training_of(networks[:2], "ensemble", **settings), unlabelled)
    assert torch.allclose(together, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-6 * together.abs().max())


def test_judges_stay_frozen(networks: list[TaskNetwork], batches: list[Batch]) -> None:
    training = training_of(networks, "ensemble")
    training.train_epoch(batches)
    training.evaluate(batches)
    for judge, before in zip(training.judges.all, networks, strict=True):
        assert judge.weights_hash() == before.weights_hash()
        assert all(parameter.grad is None for parameter in judge.parameters())


def test_several_judges_of_one_network_are_refused(networks: list[TaskNetwork], batches: list[Batch]) -> None:
    with pytest.raises(ConfigError, match="further_judges"):
        training_of(networks[:1], "random").train_epoch(batches)
    with pytest.raises(ConfigError, match="mode front"):
        TrialConfig.parse({"mode": "front", "judges": "ensemble"})


def test_a_trial_of_one_judge_is_recorded_as_before_there_were_several() -> None:
    assert "judges" not in TrialConfig().settings()
    assert "judges" not in TrialConfig().fingerprint()
    assert TrialConfig(judges="random").settings()["judges"] == "random"
