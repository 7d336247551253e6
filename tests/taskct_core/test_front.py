"""Every way to a front passes this suite with every reconstructor by being in ``FRONT_WAYS``; then what single ways promise."""

from __future__ import annotations

import copy
import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import ParallelBeam
from taskct_core.losses.mixing import MIXINGS
from taskct_core.metrics import summarise
from taskct_core.modes import FRONT_WAYS
from taskct_core.reconstructors import RECONSTRUCTORS, build_reconstructor
from taskct_core.reconstructors.calling import reconstruct
from taskct_core.schema import FULL_DOSE, SINOGRAM
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import (
    Candidate,
    FrontPath,
    FrontTraining,
    build_trial_training,
    trained_reconstructor,
)
from taskct_core.training.front.interpolated import stage_ends
from taskct_core.training.front.line import Line
from taskct_core.training.trial import Training, build_training

Batch = dict[str, Any]
SMALL: dict[str, dict[str, int]] = {
    "dncnn": {"width": 4, "depth": 3},
    "red_cnn": {"width": 2},
    "unet": {"width": 2},
    "segresnet": {"width": 8},
    "restormer": {"width": 4},
    "msd": {"depth": 3},
    "itnet": {"width": 2, "iterations": 2},
    "learned_primal_dual": {"width": 2, "iterations": 1},
    "learned_gradient": {"width": 2, "iterations": 1},
    "iradonmap": {"width": 2, "depth": 2},
}
QUICK = {"mode": "front", "epochs": 3, "batch_size": 2, "front_positions": 3, "front_alphas": [0, 0.5, 1]}
QUICK |= {"front_anchors": [0.5, 0.9]}


@pytest.fixture
def batch(make_batch: Callable[..., Batch], small_scan: ParallelBeam) -> Batch:
    batch = make_batch(count=2, side=24)
    return batch | {SINOGRAM: 0.1 * torch.rand(2, 1, small_scan.num_angles, small_scan.num_bins)}


@pytest.fixture(scope="module")
def task_network() -> Any:
    return build_task_network(TaskNetworkConfig(architecture_parameters={"width": 2}))


def front_of(
    task_network: Any, scan: ParallelBeam | None, architecture: str = "dncnn", **changes: Any
) -> Any:
    settings = {"architecture": architecture, "architecture_parameters": SMALL.get(architecture, {})}
    config = TrialConfig.parse(QUICK | settings | changes)
    return build_trial_training(config, geometry=scan, task_network=copy.deepcopy(task_network))


def train(front: FrontTraining, batch: Batch, until: int | None = None) -> None:
    """As a trial does: train, score and keep each epoch, and settle after the last."""
    while front.epoch < (until or front.config.epochs):
        front.train_epoch([batch])
        rows = {}
        for alpha in front.epoch_alphas:
            front.show_while_training(alpha)
            rows[alpha] = front.evaluate([batch])
        front.keep(rows, summarise(rows[front.epoch_alphas[0]]))
    if front.epoch == front.config.epochs:
        front.settle(lambda: front.evaluate([batch]), summarise)


@pytest.mark.parametrize("architecture", RECONSTRUCTORS)
@pytest.mark.parametrize("way", FRONT_WAYS)
def test_a_front_of_any_architecture_is_a_plain_network_at_every_alpha(
    way: str, architecture: str, task_network: Any, small_scan: ParallelBeam, batch: Batch
) -> None:
    few = {"front_positions": 2, "front_alphas": [0, 1]}  # what is scored on the way is no matter here
    front = front_of(task_network, small_scan, architecture, front_way=way, **few)
    train(front, batch)
    for position in (0.0, 0.4, 1.0):
        front.show(position)
        shown = front.reconstruct(batch)
        plain = build_reconstructor(architecture, front.config.architecture_parameters, small_scan)
        plain.load_state_dict(front.weights_at(position))  # strict: no name more, none less
        with torch.no_grad():
            image = reconstruct(plain.eval(), tuple(plain_inputs(plain)), batch, architecture)
        torch.testing.assert_close(image, shown, atol=1e-6, rtol=1e-4)
    first, last = (list(front.weights_at(end).values()) for end in (0.0, 1.0))
    assert any(not torch.equal(one, other) for one, other in zip(first, last, strict=True))


def plain_inputs(module: nn.Module) -> tuple[str, ...]:
    return getattr(module, "inputs", ("fbp",))


@pytest.mark.parametrize("kill_after", [1, 2])
@pytest.mark.parametrize("way", FRONT_WAYS)
def test_a_resumed_front_goes_on_exactly(way: str, kill_after: int, task_network: Any, batch: Batch) -> None:
    whole = front_of(task_network, None, front_way=way)
    train(whole, batch)
    begun = front_of(task_network, None, front_way=way)
    train(begun, batch, until=kill_after)
    resumed = front_of(task_network, None, front_way=way)
    resumed.load_state_dict(through_a_file(begun.state_dict()))
    train(resumed, batch)
    for position in (0.0, 0.3, 1.0):
        one, other = whole.weights_at(position), resumed.weights_at(position)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert [c.scores for c in whole.path_candidates] == [c.scores for c in resumed.path_candidates]


@pytest.mark.parametrize("way", FRONT_WAYS)
def test_a_finished_front_is_read_from_its_state_alone(way: str, task_network: Any, batch: Batch) -> None:
    front = front_of(task_network, None, front_way=way)
    train(front, batch)
    read = front_of(task_network, None, front_way=way)
    read.load_state_dict(through_a_file(front.state_dict()))
    assert torch.equal(read.reconstruct(batch), front.reconstruct(batch))
    for alpha in (0.0, 0.85):
        one, other = (trained_reconstructor(training, alpha).state_dict() for training in (front, read))
        assert all(torch.equal(one[name], other[name]) for name in one)


def through_a_file(state: dict[str, Any]) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("way", FRONT_WAYS)
@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_larger_alpha_never_gets_a_larger_task_loss(
    way: str, mixing: str, task_network: Any, batch: Batch
) -> None:
    front = front_of(task_network, None, front_way=way, mixing=mixing, front_positions=9)
    train(front, batch)
    answers = [front.at(alpha) for alpha in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)]
    for less, more in itertools.pairwise(answers):
        assert more.loss_task <= less.loss_task and more.loss_image >= less.loss_image


def test_each_alpha_gets_the_candidate_that_it_prefers() -> None:
    """In logarithms the image losses lie at 0, 0.5, 1 and the task losses at 1, log(1.25) / log(2), 0."""
    beaten = Candidate(0.2, 2.0, 3.0, {})
    path = FrontPath(
        [Candidate(0.0, 1.0, 4.0, {}), beaten, Candidate(0.5, 2.0, 2.5, {}), Candidate(1.0, 4.0, 2.0, {})]
    )
    first = 1 / 3  # where alpha * 1 = (1 - alpha) * 0.5
    second = 1 / (1 + math.log(1.25) / math.log(2))  # where alpha * log(1.25) / log(2) = (1 - alpha) * 1
    alphas = (0, first - 0.01, first + 0.01, second - 0.01, second + 0.01, 1)
    assert [path.at(alpha).position for alpha in alphas] == [0, 0, 0.5, 0.5, 1, 1]


def test_a_front_that_bends_inwards_is_reached_everywhere() -> None:
    """A weighted sum of losses would only ever choose the ends of it."""
    losses = [(1.0, 10.0), (3.0, 9.5), (6.0, 9.0), (8.0, 8.0), (10.0, 1.0)]
    path = FrontPath([Candidate(number / 4, *pair, {}) for number, pair in enumerate(losses)])
    assert {path.at(alpha / 1000).position for alpha in range(1001)} == {0, 0.25, 0.5, 0.75, 1}


@pytest.mark.parametrize("broken", [(math.nan, math.nan), (1.0, math.nan), (math.inf, 0.5), (math.nan, 0.1)])
def test_a_candidate_without_finite_losses_answers_for_no_alpha(broken: tuple[float, float]) -> None:
    losses = [(2.0, 40.0), broken, (4.0, 20.0)]
    path = FrontPath([Candidate(number / 2, *pair, {}) for number, pair in enumerate(losses)])
    assert {path.at(alpha / 100).position for alpha in range(101)} == {0.0, 1.0}


def test_candidates_that_have_no_loss_in_common_are_alike() -> None:
    path = FrontPath([Candidate(0.0, math.nan, 1.0, {}), Candidate(1.0, 2.0, math.nan, {})])
    assert [path.at(alpha).position for alpha in (0, 0.5, 1)] == [0, 0, 0]


@pytest.mark.parametrize("unknown", [math.nan, math.inf, 0.0])
def test_losses_without_a_value_leave_the_choice_to_the_others(unknown: float) -> None:
    path = FrontPath([Candidate(0.0, 2.0, unknown, {}), Candidate(1.0, 1.0, unknown, {})])
    assert [path.at(alpha).position for alpha in (0, 0.5, 1)] == [1, 1, 1]
    alone = FrontPath([Candidate(0.3, unknown, unknown, {})])
    assert alone.at(0.7).position == 0.3


def test_an_interpolated_front_is_made_of_ordinary_trials(task_network: Any, batch: Batch) -> None:
    """Its anchors are what reconstruction-only training and fine-tuning from that leave; between them it is linear."""
    front = front_of(task_network, None, epochs=4, front_anchors=[0.6], first_phase_share=0.5, keep="last")
    train(front, batch)
    common = {"epochs": 2, "keep": "last", "batch_size": 2, "architecture": "dncnn"}
    common |= {"architecture_parameters": SMALL["dncnn"]}

    def trained(start: dict[str, torch.Tensor] | None, **changes: Any) -> dict[str, torch.Tensor]:
        config = TrialConfig.parse(common | changes)
        training: Training = build_training(config, geometry=None, task_network=copy.deepcopy(task_network))
        if start is not None:
            for module in (training.reconstructor, training.scored_reconstructor):
                module.load_state_dict(start)
        for _ in range(2):
            training.train_epoch([batch])
        return training.scored_reconstructor.state_dict()

    start = trained(None, mode="reconstruction_only")
    end = trained(start, mode="task_adaptive", alpha=0.6)
    for position in (0.0, 0.25, 1.0):
        for name, weight in front.weights_at(position).items():
            expected = (1 - position) * start[name] + position * end[name]
            torch.testing.assert_close(weight, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("epochs", "anchors", "share", "ends"),
    [(10, 2, 0.5, [5, 7, 10]), (3, 2, 0.9, [1, 2, 3]), (8, 1, 0.25, [2, 8]), (9, 3, 0.0, [1, 3, 6, 9])],
)
def test_every_stage_has_its_epochs(epochs: int, anchors: int, share: float, ends: list[int]) -> None:
    alphas = [(anchor + 1) / anchors for anchor in range(anchors)]
    config = TrialConfig.parse(
        QUICK | {"epochs": epochs, "front_anchors": alphas, "first_phase_share": share}
    )
    assert stage_ends(config) == ends


def test_a_line_of_networks_is_trained_by_both_of_its_ends() -> None:
    """The gradient at alpha is shared out to the ends as (1 - alpha) and alpha."""
    line = Line(nn.Conv2d(1, 1, 3))
    line.alpha = 0.3
    line(torch.ones(1, 1, 5, 5)).sum().backward()
    plain, end = (network.get_parameter("weight").grad for network in (line.plain, line.end))
    assert plain is not None and end is not None
    torch.testing.assert_close(plain / 0.7, end / 0.3)


def test_batches_of_one_epoch_are_drawn_alike_by_every_worker(task_network: Any, batch: Batch) -> None:
    drawn: list[list[float]] = []
    for _ in range(2):
        front = front_of(task_network, None, front_way="conditioned")
        alphas: list[float] = []
        draw = front.training.draw
        front.training.draw = lambda rng, draw=draw, alphas=alphas: alphas.append(draw(rng)) or alphas[-1]
        front.train_epoch([batch] * 4)
        drawn.append(alphas)
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 4


def test_an_unfinished_front_and_other_modes_have_no_network_for_an_alpha(
    task_network: Any, batch: Batch
) -> None:
    front = front_of(task_network, None)
    front.train_epoch([batch])
    with pytest.raises(DataError, match="1 of 3 epochs"):
        trained_reconstructor(front, 0.5)
    train(front_of(task_network, None), batch)
    plain = front_of(task_network, None, mode="task_adaptive", alpha=0.2)
    with pytest.raises(ConfigError, match="only a trial of mode front"):
        trained_reconstructor(plain, 0.85)
    image = trained_reconstructor(plain, 0.2)(batch["fbp"])
    assert image.shape == batch[FULL_DOSE].shape


def test_an_architecture_without_norms_and_convolutions_cannot_be_conditioned(task_network: Any) -> None:
    with pytest.raises(ConfigError, match="needs norms"):
        front_of(task_network, None, "torch.nn:Identity", front_way="conditioned")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"front_alphas": [0.5, 0.2]}, "front_alphas"),
        ({"front_alphas": []}, "front_alphas"),
        ({"front_anchors": [0, 0.5]}, "above 0"),
        ({"front_anchors": [0.5, 1.5]}, "front_anchors"),
        ({"front_way": "straight"}, "unknown way to a front"),
        ({"epochs": 2}, "at least 3 epochs"),
        ({"mixing": "additive", "alpha": 2}, "alpha must lie in"),
    ],
)
def test_settings_that_make_no_front_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrialConfig.parse(QUICK | changes)


def test_settings_of_a_front_leave_other_trials_as_they_were() -> None:
    """What a trial is recorded and continued by knows nothing of fronts in the modes that have none."""
    assert not [name for name in TrialConfig().settings() if name.startswith("front_")]
    assert not [name for name in TrialConfig().fingerprint() if name.startswith("front_")]
    assert TrialConfig.parse(QUICK).settings()["front_positions"] == 3
    assert TrialConfig.parse({"front_positions": 7}).fingerprint()["front_positions"] == 7
