"""Every training mode passes this suite by being in ``MODES``; then what single modes promise."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from taskct_core.contracts.rows import SliceRow
from taskct_core.errors import ConfigError, DataError, TrainingError
from taskct_core.geometry import ParallelBeam
from taskct_core.losses import PROBABILITY_LOSSES, TASK_LOSSES
from taskct_core.metrics import summarise
from taskct_core.modes import MODES
from taskct_core.schema import (
    GRADIENT_NORM_IMAGE,
    GRADIENT_NORM_TASK,
    KEPT_EPOCH,
    LOSS,
    LOSS_IMAGE,
    LOSS_TASK,
    OWN_NETWORK_SUFFIX,
    UNLABELLED,
)
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.measured import READ_EVERY
from taskct_core.training.trial import Training, build_training
from taskct_core.training.weight_average import WeightAverage

Batch = dict[str, Any]
COLUMNS = {LOSS, LOSS_IMAGE, LOSS_TASK, GRADIENT_NORM_IMAGE, GRADIENT_NORM_TASK, "samples"}
QUICK = {"architecture": "dncnn", "architecture_parameters": {"width": 4, "depth": 3}, "epochs": 2}
QUICK |= {"front_anchors": [0.9]}  # an epoch of reconstruction only, one of the anchor
# The optimiser alone, where a test writes the same steps out by hand.
BARE = {
    "learning_rate_schedule": "constant",
    "warmup_steps": 0,
    "gradient_clip": None,
    "weight_average": 0.0,
}


class _NetworkWithStatistics(nn.Module):
    """Batch norm and dropout: what would betray a frozen network that is not in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU())
        self.classify = nn.Sequential(nn.Dropout(0.3), nn.Conv2d(6, 3, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classify(self.features(image))
        return logits


@pytest.fixture
def task_network() -> TaskNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TaskNetwork(_NetworkWithStatistics(), TaskNetworkConfig())


@pytest.fixture
def batches(make_batch: Callable[..., Batch]) -> list[Batch]:
    return [make_batch(count=4, seed=seed) for seed in range(3)]


def training_of(task_network: TaskNetwork, **changes: Any) -> Training:
    config = TrialConfig.parse(QUICK | changes)
    return build_training(config, geometry=None, task_network=copy.deepcopy(task_network))


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("mode", MODES)
def test_an_epoch_reports_finite_losses_and_gradient_norms(
    mode: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    training = training_of(task_network, mode=mode)
    for _ in range(2):
        means = training.train_epoch(batches)
        assert set(means) == COLUMNS
        assert all(math.isfinite(value) for value in means.values())
        assert means["samples"] == 12
        assert means[GRADIENT_NORM_IMAGE] > 0 and means[GRADIENT_NORM_TASK] > 0


@pytest.mark.parametrize("mode", MODES)
def test_the_frozen_network_stays_frozen_in_every_mode(
    mode: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    training = training_of(task_network, mode=mode)
    before = training.frozen_task_network.weights_hash()
    for _ in range(2):
        training.train_epoch(batches)
    training.evaluate(batches)
    assert training.frozen_task_network.weights_hash() == before
    assert not any(module.training for module in training.frozen_task_network.modules())
    assert all(parameter.grad is None for parameter in training.frozen_task_network.parameters())


@pytest.mark.parametrize("mode", MODES)
def test_what_learns_in_a_phase_changes_and_nothing_else_does(
    mode: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    training = training_of(task_network, mode=mode, weight_decay=0.1)
    for epoch in (1, 2):
        phase = MODES[mode].phases[MODES[mode].phase_index(epoch, 2, 0.5)]
        reconstructor, own = weights(training.reconstructor), training.own_task_network
        own_before = None if own is None else own.weights_hash()
        training.train_epoch(batches)
        assert equal(reconstructor, training.reconstructor.state_dict()) != phase.reconstructor_learns
        if own is not None:
            assert (own.weights_hash() == own_before) != phase.task_network_learns


@pytest.mark.parametrize("mode", MODES)
def test_a_few_epochs_lower_the_loss(mode: str, task_network: TaskNetwork, batches: list[Batch]) -> None:
    training = training_of(task_network, mode=mode, epochs=8, learning_rate=3e-3)
    losses = [training.train_epoch(batches)[LOSS] for _ in range(8)]
    half = [losses[:4], losses[4:]] if len(MODES[mode].phases) == 2 else [losses]
    assert all(part[-1] < part[0] for part in half)


@pytest.mark.parametrize("mode", MODES)
def test_scores_come_under_the_own_network_too_where_there_is_one(
    mode: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    training = training_of(task_network, mode=mode, learning_rate=0.03, epochs=8, **BARE)
    for _ in range(8):
        training.train_epoch(batches)
    summary = summarise(training.evaluate(batches))
    own_column = "dice_liver_patient_nnunet" + OWN_NETWORK_SUFFIX
    assert (own_column in summary) == MODES[mode].trains_task_network
    if MODES[mode].trains_task_network:
        assert summary[own_column] > summary["dice_liver_patient_nnunet"]  # it has learnt, the frozen has not


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mixing", ["convex", "share"])
def test_resuming_from_a_checkpoint_is_exact(
    mode: str, mixing: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    changes = {"mode": mode, "mixing": mixing, "epochs": 4, "learning_rate_schedule": "cosine"}
    straight = training_of(task_network, **changes)
    for _ in range(2):
        straight.train_epoch(batches)
        straight.keep(*_scored(straight, batches))
    checkpoint = io.BytesIO()
    torch.save(straight.state_dict(), checkpoint)
    expected = [straight.train_epoch(batches) for _ in range(2)]

    resumed = training_of(task_network, **changes)
    resumed.load_state_dict(torch.load(io.BytesIO(checkpoint.getvalue()), weights_only=True))
    assert [resumed.train_epoch(batches) for _ in range(2)] == expected
    assert resumed.epoch == 4
    assert equal(weights(straight.reconstructor), weights(resumed.reconstructor))
    assert resumed.keep(*_scored(resumed, batches)) == straight.keep(*_scored(straight, batches))
    assert equal(straight.kept.weights["reconstructor"], resumed.kept.weights["reconstructor"])


@pytest.mark.parametrize("mixing", ["convex", "additive", "share"])
def test_alpha_zero_is_plain_training_bit_for_bit(
    mixing: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    adaptive = training_of(task_network, mode="task_adaptive", alpha=0.0, mixing=mixing, **BARE)
    for _ in range(2):
        adaptive.train_epoch(batches)
    torch.manual_seed(0)
    plain = nn.Module()
    plain.model = training_of(task_network, mode="reconstruction_only", alpha=0.7).reconstructor
    optimiser = torch.optim.AdamW(plain.model.parameters(), lr=1e-3, weight_decay=0.0)
    plain.model.train()
    for batch in [*batches, *batches]:
        optimiser.zero_grad()
        nn.functional.mse_loss(plain.model(batch["fbp"]) * 100, batch["full_dose"] * 100).backward()
        optimiser.step()
    assert equal(weights(adaptive.reconstructor), weights(plain.model))


def test_reconstruction_only_equals_task_adaptive_at_alpha_zero(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    results = []
    for changes in ({"mode": "reconstruction_only", "alpha": 0.9}, {"mode": "task_adaptive", "alpha": 0.0}):
        training = training_of(task_network, **changes)
        results.append((training.train_epoch(batches), weights(training.reconstructor)))
    assert results[0][0] == results[1][0]
    assert equal(results[0][1], results[1][1])


def test_alpha_one_is_the_pure_task_loss(task_network: TaskNetwork, batches: list[Batch]) -> None:
    means = training_of(task_network, alpha=1.0).train_epoch(batches)
    assert means[LOSS] == means[LOSS_TASK]


@pytest.mark.parametrize("mode", ["task_adaptive", "joint"])
def test_the_split_backward_pass_is_the_gradient_of_the_mixed_loss(
    mode: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    """Against plain autograd through the whole of (1 - alpha) L_image + alpha L_task."""
    dropout = task_network.network.get_submodule("classify.0")
    assert isinstance(dropout, nn.Dropout)
    dropout.p = 0.0  # no dropout, so that both passes see the same network
    training = training_of(task_network, mode=mode, alpha=0.3, image_loss="l1", **BARE)
    batch = batches[0]
    reconstructor, network = copy.deepcopy((training.reconstructor, training.own_task_network))
    network = network or training.frozen_task_network
    image = reconstructor(batch["fbp"])
    loss_image = 100 * (image - batch["full_dose"]).abs().mean()
    loss_task = training.task_loss(network(image), batch["labels"].unsqueeze(1))
    (0.7 * loss_image + 0.3 * loss_task).backward()

    means = training.train_epoch([batch])
    assert means[LOSS] == pytest.approx((0.7 * loss_image + 0.3 * loss_task).item(), rel=1e-5)
    pairs = [(training.reconstructor, reconstructor)]
    if training.own_task_network is not None:
        pairs.append((training.own_task_network, network))
    for trained, expected in pairs:
        for (name, a), b in zip(trained.named_parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_gradient_norms_do_not_depend_on_the_batch_size(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    doubled = {
        key: torch.cat([value, value]) if isinstance(value, torch.Tensor) else [*value, *value]
        for key, value in batches[0].items()
    }
    once, twice = (training_of(task_network).train_epoch([batch]) for batch in (batches[0], doubled))
    for column in (GRADIENT_NORM_IMAGE, GRADIENT_NORM_TASK):
        assert once[column] == pytest.approx(twice[column], rel=1e-4)


def test_a_seed_determines_the_trial(task_network: TaskNetwork, batches: list[Batch]) -> None:
    one, same, other = (training_of(task_network, seed=seed).train_epoch(batches) for seed in (1, 1, 2))
    assert one == same
    assert one[LOSS] != other[LOSS]


def test_a_network_from_scratch_does_not_start_as_the_frozen_one(network_config: TaskNetworkConfig) -> None:
    frozen = build_task_network(network_config)
    starts = {
        start: training_of(frozen, mode="joint", own_task_network=start, seed=5).own_task_network
        for start in ("pretrained", "scratch")
    }
    hashes = {start: network.weights_hash() for start, network in starts.items() if network is not None}
    assert hashes["pretrained"] == frozen.weights_hash() != hashes["scratch"]


@pytest.mark.parametrize(
    ("epochs", "share", "switch"), [(10, 0.5, 5), (10, 0.25, 2), (2, 0.5, 1), (3, 0.0, 1), (3, 1.0, 2)]
)
def test_each_of_two_phases_has_its_share_and_at_least_one_epoch(
    epochs: int, share: float, switch: int
) -> None:
    phases = [MODES["fine_tune"].phase_index(epoch, epochs, share) for epoch in range(1, epochs + 1)]
    assert phases == [0] * switch + [1] * (epochs - switch)


@pytest.mark.parametrize("mode", ["sequential", "fine_tune"])
def test_two_phases_need_two_epochs(mode: str) -> None:
    with pytest.raises(ConfigError, match="needs at least 2 epochs"):
        TrialConfig.parse({"mode": mode, "epochs": 1})


def test_a_loss_that_is_not_finite_stops_training_and_says_where(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    training = training_of(task_network)
    training.train_epoch(batches)
    batches[1]["full_dose"][0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"loss_image = nan, .*loss_task = \d.* at step 2 of epoch 2"):
        training.train_epoch(batches)


def test_an_endless_epoch_stops_soon_after_a_loss_that_is_not_finite(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    drawn = []

    def endless() -> Iterator[Batch]:
        while True:
            drawn.append(batches[0])
            yield batches[0]

    batches[0]["full_dose"][0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match="at step 1 of epoch 1"):
        training_of(task_network).train_epoch(endless())
    assert len(drawn) == READ_EVERY


def test_an_epoch_without_samples_is_refused(task_network: TaskNetwork) -> None:
    with pytest.raises(DataError, match="needs training samples"):
        training_of(task_network).train_epoch([])


def test_samples_without_a_sinogram_are_refused_by_what_needs_it(
    task_network: TaskNetwork, batches: list[Batch], small_scan: ParallelBeam
) -> None:
    config = TrialConfig(architecture="learned_gradient", architecture_parameters={"iterations": 1})
    training = build_training(config, geometry=small_scan, task_network=task_network)
    with pytest.raises(DataError, match="store_sinogram: true"):
        training.train_epoch(batches)


def test_a_users_reconstructor_with_another_output_shape_is_refused(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    """It would broadcast against the full-dose image without a word."""
    two_channels = {"in_channels": 1, "out_channels": 2, "kernel_size": 1}
    training = training_of(task_network, architecture="torch.nn:Conv2d", architecture_parameters=two_channels)
    with pytest.raises(ConfigError, match=r"\(4, 2, 32, 32\) from 'torch.nn:Conv2d' for \(4, 1, 32, 32\)"):
        training.train_epoch(batches)


def test_wrapped_modules_are_those_that_learn(task_network: TaskNetwork) -> None:
    wrapped: list[nn.Module] = []

    def wrap(module: nn.Module) -> nn.Module:
        wrapped.append(module)
        return module

    config = TrialConfig.parse(QUICK | {"mode": "joint"})
    training = build_training(config, geometry=None, task_network=task_network, wrap=wrap)
    assert wrapped == [training.reconstructor, training.own_task_network]


def test_the_learning_rate_follows_its_schedule(task_network: TaskNetwork, batches: list[Batch]) -> None:
    config = {**QUICK, "epochs": 4, "learning_rate": 0.01, "first_phase_share": 0.5}
    falling = [0.01, 0.005 + 0.005 / math.sqrt(2), 0.005, 0.005 - 0.005 / math.sqrt(2)]
    for schedule, mode, expected in (
        ("constant", "fine_tune", [0.01] * 4),
        ("cosine", "reconstruction_only", falling),
        ("cosine", "fine_tune", falling),
        ("cosine_each_phase", "reconstruction_only", falling),
        ("cosine_each_phase", "fine_tune", [0.01, 0.005, 0.01, 0.005]),
    ):
        config |= {"mode": mode}
        training = training_of(task_network, **config, learning_rate_schedule=schedule, warmup_steps=0)
        rates = []
        for _ in range(4):
            training.train_epoch(batches)
            rates.append(training.optimiser.param_groups[0]["lr"])
        assert rates == pytest.approx(expected)


def test_the_learning_rate_warms_up_step_by_step(task_network: TaskNetwork, batches: list[Batch]) -> None:
    training = training_of(
        task_network, learning_rate=0.01, learning_rate_schedule="constant", warmup_steps=4
    )
    training.train_epoch(batches)
    assert training.optimiser.param_groups[0]["lr"] == pytest.approx(0.01 * 3 / 4)
    training.train_epoch(batches)
    assert training.optimiser.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_steps_gradient_is_clipped_to_its_largest_norm(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    norms = {}
    for clip in (None, 0.01):
        training = training_of(task_network, **BARE | {"gradient_clip": clip})
        training.train_epoch(batches[:1])
        gradients = [p.grad.flatten() for p in training.reconstructor.parameters() if p.grad is not None]
        norms[clip] = float(torch.cat(gradients).norm())
    assert norms[None] > 0.01
    assert norms[0.01] == pytest.approx(0.01, rel=1e-4)


def test_what_is_scored_is_the_moving_average_of_the_weights(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    """Against the average written out: a_0 = w_1, a_t = d_t a_(t-1) + (1 - d_t) w_t, d_t = min(0.5, (1 + t) / (10 + t))."""
    training = training_of(task_network, **BARE | {"weight_average": 0.5, "learning_rate": 0.05})
    expected: dict[str, torch.Tensor] = {}
    for step, batch in enumerate([*batches, *batches]):
        training.train_epoch([batch])
        now = {name: value.detach().clone() for name, value in training.reconstructor.named_parameters()}
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0.0
        expected = {
            name: decay * expected.get(name, value) + (1 - decay) * value for name, value in now.items()
        }
    training.keep(training.evaluate(batches), {})
    for name, value in expected.items():
        torch.testing.assert_close(training.kept.weights["reconstructor"][name], value)


def test_the_average_is_pytorchs_own_and_goes_on_from_its_checkpoints() -> None:
    """Earlier versions kept an ``AveragedModel``, whose state lies in the checkpoints of studies."""

    def average(averaged: torch.Tensor, current: torch.Tensor, seen: torch.Tensor | int) -> torch.Tensor:
        return averaged.lerp(current, 1 - min(0.4, (1 + float(seen)) / (10 + float(seen))))

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    theirs, ours = AveragedModel(module, avg_fn=average), WeightAverage(module, decay=0.4)
    for step in range(8):
        module(torch.rand(2, 1, 8, 8))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.rand_like(parameter))
        theirs.update_parameters(module)
        ours.update(module)
        assert set(ours.state_dict()) == set(theirs.state_dict())
        assert equal(ours.state_dict(), theirs.state_dict())
        if step == 4:
            ours = WeightAverage(module, decay=0.4)
            ours.load_state_dict(copy.deepcopy(theirs.state_dict()))


@pytest.mark.parametrize(
    ("keep", "metric"), [("best", "psnr_lodopab"), ("best", "validation_loss"), ("last", "")]
)
def test_the_kept_epoch_is_the_one_that_validation_prefers(
    keep: str, metric: str, task_network: TaskNetwork, batches: list[Batch]
) -> None:
    """A learning rate that destroys the network after a good first epoch tells the epochs apart."""
    changes = {"keep": keep, "epochs": 3} | ({"keep_metric": metric} if metric else {})
    training = training_of(task_network, **BARE | changes)
    good = training.train_epoch(batches) and weights(training.reconstructor)
    kept = [training.keep(*_scored(training, batches))[KEPT_EPOCH]]
    for _ in range(2):
        with torch.no_grad():
            for parameter in training.reconstructor.parameters():
                parameter.mul_(-3)
        training.train_epoch(batches)
        kept.append(training.keep(*_scored(training, batches))[KEPT_EPOCH])
    training.use_kept()
    assert kept == ([1, 2, 3] if keep == "last" else [1, 1, 1])
    assert equal(weights(training.reconstructor), good) == (keep == "best")


def test_an_epoch_of_the_first_phase_is_never_kept(task_network: TaskNetwork, batches: list[Batch]) -> None:
    training = training_of(task_network, mode="fine_tune", epochs=4, keep_metric="psnr_lodopab")
    kept = []
    for score in (40.0, 39.0, 20.0, 10.0):
        training.train_epoch(batches)
        kept.append(training.keep(training.evaluate(batches), {"psnr_lodopab": score})[KEPT_EPOCH])
    assert kept == [1, 1, 3, 3]


def test_the_validation_loss_is_the_trials_own_mix(task_network: TaskNetwork, batches: list[Batch]) -> None:
    training = training_of(task_network, alpha=0.3)
    training.train_epoch(batches)
    columns = training.keep(training.evaluate(batches), {})
    images = [training.reconstruct(batch) for batch in batches]
    task_network.freeze()
    with torch.no_grad():
        pairs = list(zip(images, batches, strict=True))
        image = np.mean([100**2 * float(((i - b["full_dose"]) ** 2).mean()) for i, b in pairs])
        task = np.mean(
            [float(training.task_loss(task_network(i), b["labels"].unsqueeze(1))) for i, b in pairs]
        )
    assert columns["validation_loss"] == pytest.approx(0.7 * image + 0.3 * task, rel=1e-4)


def test_full_dose_targets_equal_labels_where_the_network_is_perfect(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    perfect = [batch | {"labels": task_network.freeze().predict(batch["full_dose"])} for batch in batches]
    unlabelled = [batch | {"labels": torch.full_like(batch["labels"], UNLABELLED)} for batch in batches]
    by_labels = training_of(task_network, task_target="labels")
    by_network = training_of(task_network, task_target="full_dose")
    assert by_labels.train_epoch(perfect) == by_network.train_epoch(unlabelled)
    assert equal(weights(by_labels.reconstructor), weights(by_network.reconstructor))


def test_full_dose_probabilities_ask_for_nothing_more_of_an_image_that_is_the_full_dose_one(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    """Whatever the labels are: only a difference between the images may teach anything. Its classes would ask the network
    for certainty that it has on no image."""
    same = batches[0] | {"fbp": batches[0]["full_dose"]}
    asked = {
        target: training_of(task_network, task_target=target).train_epoch([same])[GRADIENT_NORM_TASK]
        for target in ("full_dose_probabilities", "full_dose", "labels")
    }
    assert asked["full_dose_probabilities"] < 1e-4 * min(asked["full_dose"], asked["labels"])


def test_only_losses_of_probabilities_are_given_them() -> None:
    for name in TASK_LOSSES:
        settings = {"task_target": "full_dose_probabilities", "task_loss": name}
        if name in PROBABILITY_LOSSES:
            TrialConfig.parse(settings)
        else:
            with pytest.raises(ConfigError, match=f"ce, dice, dice_ce.*{name}"):
                TrialConfig.parse(settings)


def test_a_slice_without_labels_trains_the_image_loss_alone(
    task_network: TaskNetwork, batches: list[Batch]
) -> None:
    """A batch of which half has no labels: the task loss is that of the other half."""
    half = copy.deepcopy(batches[0])
    half["labels"][2:] = UNLABELLED
    training = training_of(task_network, alpha=0.5)
    image = training.reconstructor(half["fbp"]).detach()
    task = float(training.task_loss(task_network.freeze()(image[:2]), half["labels"][:2].unsqueeze(1)))
    means = training.train_epoch([half])
    assert means[LOSS_TASK] == pytest.approx(task, rel=1e-5)
    assert means[LOSS_IMAGE] == pytest.approx(
        100**2 * float(((image - half["full_dose"]) ** 2).mean()), rel=1e-4
    )
    none = half | {"labels": torch.full_like(half["labels"], UNLABELLED)}
    assert training.train_epoch([none])[LOSS_TASK] == 0.0


def _scored(training: Training, batches: list[Batch]) -> tuple[list[SliceRow], dict[str, float]]:
    rows = training.evaluate(batches)
    return rows, summarise(rows)
