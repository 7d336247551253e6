"""Several trials trained as one: they share an architecture, a batch's shape and the frozen task network.

On a GPU the task network sees the images of all trials in one batch, and the reconstructors are called as one by
``torch.func.vmap`` over their stacked parameters. On a CPU, which neither makes faster, each trial's are called for it
alone: it gives exactly the numbers that it gives alone, on a GPU but for rounding. Everything else is each trial's own
anywhere: losses and their mix, optimiser, learning rate, average of weights, checkpoint; so a trial may leave the stack or
fail while the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from taskct_core.contracts.rows import Batch
from taskct_core.errors import ConfigError, TrainingError
from taskct_core.losses.mixing import Mixer
from taskct_core.modes import MODES, Phase
from taskct_core.reconstructors import inputs_of
from taskct_core.schema import FULL_DOSE, LOSS, LOSS_IMAGE, LOSS_TASK
from taskct_core.training.computing import Judge
from taskct_core.training.judged import Judged
from taskct_core.training.measured import Means, Measured
from taskct_core.training.step import GRADIENT_NORMS, gradient_norm, measure, mixing_weights, raw, weighted
from taskct_core.training.trial import Training
from taskct_core.training.trial_networks import RECONSTRUCTOR
from taskct_core.transfer import Placed, on_device, placed

How = Literal["loop", "vmap"]
STACKED_MODES = tuple(
    name
    for name, mode in MODES.items()
    if name != "front" and all(p.reconstructor_learns and not p.task_network_learns for p in mode.phases)
)


ALIKE_IN_A_STACK = (
    "architecture",
    "architecture_parameters",
    "batch_size",
    "precision",
    "channels_last",
    "compile",
    "cuda_graphs",
)


class StackedTraining(Training):
    """A training whose steps are taken by a :class:`TrainingStack`."""

    def begin_epoch(self) -> None:
        self.epoch += 1
        self.reconstructor.train()

    @property
    def phase(self) -> Phase:
        """Of the epoch that is trained."""
        return MODES[self.config.mode].phases[self._phase_index(self.epoch)]

    @property
    def mixer(self) -> Mixer:
        return self._mixers[self._phase_index(self.epoch)]

    def begin_step(self) -> None:
        self.steps += 1
        self.computing.begin_step()
        self._set_learning_rate()
        self.optimiser.zero_grad(set_to_none=True)

    def call(self, batch: Batch) -> torch.Tensor:
        return self._call(self._learning[RECONSTRUCTOR], batch)

    def judged(self, host: Batch) -> Judged:
        return self._judged(host)

    def losses(
        self, image: torch.Tensor, batch: Batch, judged: Judged, judge: Judge
    ) -> dict[str, torch.Tensor]:
        """The losses that it uses, by name, as a trial that is trained alone computes them."""
        losses = self._losses(batch, judged, [judge])
        return {name: losses[name](image) for name in _used(self.mixer)}

    def task_loss_of(self, logits: torch.Tensor, batch: Batch, judged: Judged) -> torch.Tensor:
        """The task loss of the task network's answers ``(B, C, H, W)``; 0 where nothing can be judged."""
        if not judged.count:
            return logits.sum() * 0
        truth = self._truth(batch, self.frozen_task_network)
        loss: torch.Tensor = self.task_loss(judged.of(logits), judged.of(truth))
        return loss

    def measured_first(self, reconstruction: torch.Tensor, batch: Batch, judged: Judged) -> Measured:
        """What the first step of an epoch measures of both losses, whether they train or not."""
        return measure(reconstruction, self._losses(batch, judged, [self.judge(self.frozen_task_network)]))

    def end_step(self) -> None:
        """Change the weights by the gradients that they have."""
        self._take_step(self.phase)


@dataclass
class _Turn:
    """One trial's part of one step."""

    training: StackedTraining
    batch: Batch
    judged: Judged
    reconstruction: torch.Tensor  # (B, 1, H, W), with its graph
    image: torch.Tensor  # the same, a leaf


class TrainingStack:
    """Trains trials side by side, one step of each after the other.

    Args:
        trainings: with the same ``ALIKE_IN_A_STACK`` and one frozen task network, on one device.
        how: the reconstructors are called; None: ``vmap`` on a GPU where the architecture allows it, else ``loop``.

    Raises:
        ConfigError: if they cannot be trained as one.
    """

    def __init__(self, trainings: Sequence[StackedTraining], how: How | None = None) -> None:
        _check(trainings)
        self._how = how or _default_how(trainings[0])
        self._device = trainings[0].device
        self._judge = trainings[0].judge(trainings[0].frozen_task_network)
        self._judges_at_once = self._how == "vmap" or self._device.type != "cpu"

    def train_epoch(
        self, trainings: Sequence[StackedTraining], batches: Sequence[Iterable[Batch]]
    ) -> list[dict[str, float] | TrainingError]:
        """Train one epoch of each; see ``Training.train_epoch``.

        Args:
            trainings: those of the stack that go on.
            batches: of each, in batches of equal sizes.

        Returns:
            Of each the means over its samples, or why it failed; the others are not touched by that.

        Raises:
            DataError: if there is no batch, or one trial has more of them than another.
        """
        for training in trainings:
            training.begin_epoch()
        means = [Means(training.epoch) for training in trainings]
        failed: dict[int, TrainingError] = {}
        forward = _Stacked(trainings) if self._how == "vmap" else None
        moved = [placed(of_trial, self._device) for of_trial in batches]
        for step, together in enumerate(zip(*moved, strict=True), start=1):
            going = [index for index in range(len(trainings)) if index not in failed]
            if not going:
                break
            turns = self._turns([trainings[i] for i in going], [together[i] for i in going], forward, going)
            measured = self._gradients(turns, step)
            if forward is not None:
                forward.share_out()
            for index, turn, figures in zip(going, turns, measured, strict=True):
                turn.training.end_step()
                try:
                    means[index].add(figures, len(turn.batch[FULL_DOSE]))
                except TrainingError as error:
                    failed[index] = error
        return [failed.get(index) or _result(mean) for index, mean in enumerate(means)]

    def _turns(
        self,
        trainings: Sequence[StackedTraining],
        batches: Sequence[Placed],
        forward: _Stacked | None,
        indices: Sequence[int],
    ) -> list[_Turn]:
        judged = [training.judged(batch.host) for training, batch in zip(trainings, batches, strict=True)]
        moved = [batch.batch for batch in batches]
        for training in trainings:
            training.begin_step()
        if forward is None:
            images = [training.call(batch) for training, batch in zip(trainings, moved, strict=True)]
        else:
            images = forward.call(moved, indices)
        return [
            _Turn(training, batch, of_loss, image, image.detach().requires_grad_())
            for training, batch, of_loss, image in zip(trainings, moved, judged, images, strict=True)
        ]

    def _gradients(self, turns: Sequence[_Turn], step: int) -> list[Measured]:
        """Give all parameters their gradients; returns what each trial measured, as ``Training`` measures it."""
        losses = self._losses(turns)
        weights = [
            mixing_weights(of_turn, turn.training.mixer) for turn, of_turn in zip(turns, losses, strict=True)
        ]
        measured = [{name: raw(loss) for name, loss in of_turn.items()} for of_turn in losses]
        totals = [
            torch.stack([weights[index][name] * loss for name, loss in of_turn.items()]).sum()
            for index, of_turn in enumerate(measured)
        ]
        gradients = [torch.zeros_like(turn.image) for turn in turns]
        for name, norm_name in GRADIENT_NORMS.items():
            using = [index for index, of_turn in enumerate(losses) if name in of_turn]
            if not using:
                continue
            mixed = torch.stack(
                [weighted(weights[index][name], losses[index][name]) for index in using]
            ).sum()
            found = torch.autograd.grad(mixed, [turns[index].image for index in using], allow_unused=True)
            for index, gradient in zip(using, found, strict=True):
                gradient = torch.zeros_like(turns[index].image) if gradient is None else gradient
                gradients[index] += gradient
                measured[index][norm_name] = gradient_norm(gradient) / weights[index][name]
        for index, turn in enumerate(turns):
            figures = {LOSS: totals[index], **measured[index]}
            if step == 1:
                figures = turn.training.measured_first(turn.reconstruction, turn.batch, turn.judged) | figures
            measured[index] = figures
        torch.autograd.backward([turn.reconstruction for turn in turns], gradients)
        return measured

    def _losses(self, turns: Sequence[_Turn]) -> list[dict[str, torch.Tensor]]:
        """The losses that each trial uses, by name."""
        if self._judges_at_once:
            return self._losses_at_once(turns)
        return [turn.training.losses(turn.image, turn.batch, turn.judged, self._judge) for turn in turns]

    def _losses_at_once(self, turns: Sequence[_Turn]) -> list[dict[str, torch.Tensor]]:
        """The same by one call of the task network."""
        losses: list[dict[str, torch.Tensor]] = []
        judging = [turn for turn in turns if LOSS_TASK in _used(turn.training.mixer)]
        logits = iter(())
        if judging:
            answers = self._judge.call(torch.cat([turn.image for turn in judging]))
            logits = iter(answers.split([len(turn.image) for turn in judging]))
        for turn in turns:
            used = {}
            for name in _used(turn.training.mixer):
                if name == LOSS_IMAGE:
                    used[name] = turn.training.image_loss(turn.image, turn.batch[FULL_DOSE])
                else:
                    used[name] = turn.training.task_loss_of(next(logits), turn.batch, turn.judged)
            losses.append(used)
        return losses


class _Stacked:
    """Reconstructors called as one. Their parameters become views of stacked tensors, which are what is trained."""

    def __init__(self, trainings: Sequence[StackedTraining]) -> None:
        modules = [training.reconstructor for training in trainings]
        self._parameters = [dict(module.named_parameters()) for module in modules]
        self._inputs = inputs_of(modules[0])
        self._in_precision = trainings[0].computing.in_precision
        self._base = deepcopy(modules[0])
        self._used: list[int] = []
        self._chosen: torch.Tensor | None = None  # the same on the device
        self._stacked: dict[str, torch.Tensor] = {}
        for name in self._parameters[0]:
            together = torch.stack([parameters[name].detach() for parameters in self._parameters])
            for index, parameters in enumerate(self._parameters):
                parameters[name].data = together[index]
            self._stacked[name] = together

    def call(self, batches: Sequence[Batch], indices: Sequence[int]) -> list[torch.Tensor]:
        """Images ``(B, 1, H, W)`` of the reconstructors ``indices``, each of its own batch."""
        if self._chosen is None or list(indices) != self._used:
            self._used = list(indices)
            self._chosen = on_device(torch.tensor(self._used), batches[0][FULL_DOSE].device)
        chosen = self._chosen
        self._leaves = {
            name: together.index_select(0, chosen).requires_grad_()
            for name, together in self._stacked.items()
        }
        tensors = [torch.stack([batch[name] for batch in batches]) for name in self._inputs]  # type: ignore[literal-required]
        called = vmap(lambda parameters, *inputs: functional_call(self._base, parameters, inputs))
        images = self._in_precision(called)(self._leaves, *tensors)
        return list(images.unbind())

    def share_out(self) -> None:
        """Give each reconstructor's parameters their gradients."""
        for name, leaf in self._leaves.items():
            assert leaf.grad is not None
            for place, index in enumerate(self._used):
                self._parameters[index][name].grad = leaf.grad[place]


def _used(mixer: Mixer) -> list[str]:
    """The names of the losses whose weight is not zero."""
    return [name for name, is_used in zip(GRADIENT_NORMS, mixer.uses(), strict=True) if is_used]


def _result(means: Means) -> dict[str, float] | TrainingError:
    try:
        return means.result()
    except TrainingError as error:
        return error


def _check(trainings: Sequence[StackedTraining]) -> None:
    """Refuse trials that cannot be trained as one.

    Raises:
        ConfigError: naming what differs.
    """
    modes = sorted({training.config.mode for training in trainings} - set(STACKED_MODES))
    if modes:
        raise ConfigError(
            f"a stack trains the modes {', '.join(STACKED_MODES)}",
            ", ".join(modes),
            "Set execution.stack to 1.",
        )
    for name in ALIKE_IN_A_STACK:
        values = [getattr(training.config, name) for training in trainings]
        if any(value != values[0] for value in values):
            raise ConfigError(f"trials of a stack have one {name}", f"{values}", "Stack those that share it.")
    if any(len(training.judges.all) > 1 for training in trainings):
        raise ConfigError("trials of a stack have one judge", "several", "Set execution.stack to 1.")
    if any(training.frozen_task_network is not trainings[0].frozen_task_network for training in trainings):
        raise ConfigError("trials of a stack share one task network", "several", "Load it once.")


def _default_how(training: StackedTraining) -> How:
    """On CPUs grouped convolutions are no faster than one network after the other (docs/front.md)."""
    is_plain = inputs_of(training.reconstructor) == ("fbp",) and not training.config.compile
    has_statistics = any(isinstance(module, _BatchNorm) for module in training.reconstructor.modules())
    return "vmap" if training.device.type == "cuda" and is_plain and not has_statistics else "loop"
