"""A trial in training: its objective, and the epochs over its networks. Knows no cluster and no files."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.geometry import Geometry
from taskct_core.losses import build_image_loss, build_task_loss
from taskct_core.losses.mixing import Mixer
from taskct_core.metrics.slices import evaluate
from taskct_core.modes import MODES, Phase
from taskct_core.networks import exact_convolutions
from taskct_core.reconstructors import build_reconstructor, inputs_of
from taskct_core.reconstructors.calling import reconstruct
from taskct_core.schema import (
    AUDIT_NETWORK_SUFFIX,
    FULL_DOSE,
    KEPT_EPOCH,
    LABELS,
    LOSS_IMAGE,
    LOSS_TASK,
    OWN_NETWORK_SUFFIX,
)
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.computing import Call, Judge
from taskct_core.training.config import TrialConfig
from taskct_core.training.judged import Judged
from taskct_core.training.judges import Judges
from taskct_core.training.keep import KeptEpoch, ValidationObjective
from taskct_core.training.measured import Means, Measured
from taskct_core.training.schedule import SCHEDULES, warmup_share
from taskct_core.training.step import LossOfImage, differentiate, measure
from taskct_core.training.trial_networks import OWN_TASK_NETWORK, RECONSTRUCTOR, TrialNetworks, Wrap
from taskct_core.transfer import placed, to_device

_SINGLE_LOSS = {"image": 0.0, "task": 1.0}  # objective -> the convex alpha that leaves one loss


def build_training(
    config: TrialConfig,
    *,
    geometry: Geometry | None,
    task_network: TaskNetwork,
    further_judges: Sequence[TaskNetwork] = (),
    device: torch.device | str = "cpu",
    wrap: Wrap = lambda module: module,
) -> Training:
    """Build a trial ready for its first epoch. Seeds torch's global random state with ``config.seed``.

    Args:
        geometry: of the scan; for reconstructors that hold the projector.
        task_network: the pre-trained network; it is frozen here, and moved to ``device``.
        further_judges: others that judge beside it in training, where ``config.judges`` says so; likewise.
        wrap: makes a module that learns distributed, such as Ray's ``prepare_model``.

    Raises:
        ConfigError: if an architecture, loss or parameter is not valid.
    """
    torch.manual_seed(config.seed)
    reconstructor = build_reconstructor(config.architecture, config.architecture_parameters, geometry).to(
        device
    )
    frozen = task_network.to(device).freeze()
    own = _own_task_network(config, frozen).to(device) if MODES[config.mode].trains_task_network else None
    others = [network.to(device).freeze() for network in further_judges]
    return Training(config, reconstructor, frozen, own, torch.device(device), wrap, others)


def _own_task_network(config: TrialConfig, frozen: TaskNetwork) -> TaskNetwork:
    if config.own_task_network == "scratch":
        return TaskNetwork.from_config(frozen.config.model_copy(update={"seed": config.seed}))
    return copy.deepcopy(frozen).unfreeze()


class Training(TrialNetworks):
    """A trial in training: its networks, its objective, and the epochs.

    Attributes:
        epoch: epochs trained so far.
        kept: the epoch whose weights count.
        judges: the frozen networks whose losses it minimises.
    """

    def __init__(
        self,
        config: TrialConfig,
        reconstructor: nn.Module,
        task_network: TaskNetwork,
        own_task_network: TaskNetwork | None,
        device: torch.device,
        wrap: Wrap,
        further_judges: Sequence[TaskNetwork] = (),
    ) -> None:
        super().__init__(config, reconstructor, task_network, own_task_network, wrap)
        self.config = config
        self.device = device
        self.epoch = 0
        self.steps = 0
        self.kept = KeptEpoch(config.keep, config.keep_metric)
        self.image_loss = build_image_loss(config.image_loss, task_network).to(device)
        of_probabilities = config.task_target == "full_dose_probabilities"
        self.task_loss = build_task_loss(config.task_loss, of_probabilities).to(device)
        self.judges = Judges(config.judges, [task_network, *further_judges], config.seed)
        self._judges = {network: self.computing.judge(network) for network in self.judges.all}
        self._mixers = [_mixer(phase, config) for phase in MODES[config.mode].phases]
        self._objective = ValidationObjective(self._mixers[-1].mixing, self._mixers[-1].alpha)

    def train_epoch(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Train one epoch, and return means over its samples: the losses and gradient norms, by column.

        A loss of weight zero is measured on the first batch alone, and the mean is over that one.

        Raises:
            TrainingError: if a loss or gradient is not finite, naming step and values.
            DataError: if there is no batch, or the batches lack a tensor that the architecture needs.
        """
        self.epoch += 1
        index = self._phase_index(self.epoch)
        phase, mixer = MODES[self.config.mode].phases[index], self._mixers[index]
        self._put_in_mode(phase)
        means = Means(self.epoch)
        for step, (host, batch) in enumerate(placed(batches, self.device), start=1):
            measured = self._step(batch, self._judged(host), phase, mixer, step)
            means.add(measured, len(batch[FULL_DOSE]))
        return means.result()

    def _phase_index(self, epoch: int) -> int:
        config = self.config
        return MODES[config.mode].phase_index(epoch, config.epochs, config.first_phase_share)

    def _judged(self, host: Batch) -> Judged:
        """The samples that the task loss takes in, of a batch in this process's memory."""
        if self.config.task_target == "labels":
            return Judged.labelled(host[LABELS], self.device)
        return Judged(len(host[LABELS]))

    def _step(self, batch: Batch, judged: Judged, phase: Phase, mixer: Mixer, step: int) -> Measured:
        self.steps += 1
        self.computing.begin_step()
        self._set_learning_rate()
        self.optimiser.zero_grad(set_to_none=True)
        if phase.reconstructor_learns:
            reconstruction = self._call(self._learning[RECONSTRUCTOR], batch)
        else:
            reconstruction = self.reconstruct(batch)
        losses = self._losses(batch, judged, self._judges_of_step(phase))
        result = differentiate(reconstruction, losses, mixer)
        measured = result.measured
        if step == 1:
            frozen = self._losses(batch, judged, [self.judge(self.frozen_task_network)])
            measured = measure(reconstruction, frozen) | measured
        if phase.reconstructor_learns:
            reconstruction.backward(result.gradient)
        self._take_step(phase)
        return measured

    def _set_learning_rate(self) -> None:
        config = self.config
        schedule, stretch = SCHEDULES[config.learning_rate_schedule], (self.epoch, config.epochs)
        if schedule.each_phase:
            stretch = MODES[config.mode].epoch_of_phase(*stretch, config.first_phase_share)
        share = schedule.share(*stretch)
        share *= warmup_share(self.steps, config.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * share

    def judge(self, network: TaskNetwork) -> Judge:
        """A frozen network that judges, as training steps call it."""
        return self._judges[network]

    def _judges_of_step(self, phase: Phase) -> list[Judge]:
        """Those whose answers give the task loss of this step; one that learns is held to what the frozen one is."""
        if phase.task_network_learns:
            return [Judge(self.frozen_task_network, self._learning[OWN_TASK_NETWORK])]
        return [self.judge(network) for network in self.judges.of_step(self.steps)]

    def _losses(self, batch: Batch, judged: Judged, judges: Sequence[Judge]) -> dict[str, LossOfImage]:
        """Both losses as functions of the image; the task loss is the mean over ``judges``."""

        def task_loss(image: torch.Tensor) -> torch.Tensor:
            if not judged.count:
                return image.sum() * 0
            image = judged.of(image)
            losses = [
                self.task_loss(judge.call(image), judged.of(self._truth(batch, judge.classes)))
                for judge in judges
            ]
            return torch.stack(losses).mean() if len(losses) > 1 else losses[0]

        return {LOSS_IMAGE: lambda image: self.image_loss(image, batch[FULL_DOSE]), LOSS_TASK: task_loss}

    def _truth(self, batch: Batch, judge: TaskNetwork) -> torch.Tensor:
        """What the task loss compares a judge's answer with: classes of a frozen network ``(B, 1, H, W)``, or their
        probabilities ``(B, C, H, W)``."""
        if self.config.task_target == "full_dose":
            return judge.predict(batch[FULL_DOSE]).unsqueeze(1)
        if self.config.task_target == "full_dose_probabilities":
            return judge.probabilities(batch[FULL_DOSE])
        return judge.targets(batch[LABELS])

    def _call(self, reconstructor: Call, batch: Batch) -> torch.Tensor:
        inputs = inputs_of(self.reconstructor)
        return reconstruct(reconstructor, inputs, batch, self.config.architecture)

    @torch.no_grad()
    @exact_convolutions()
    def reconstruct(self, batch: Batch) -> torch.Tensor:
        """Images ``(B, 1, H, W)`` of a batch, by the scored weights, in eval mode, on the trial's device."""
        reconstructor = self._scored(RECONSTRUCTOR)
        was_training = reconstructor.training
        reconstructor.eval()
        image = self._call(reconstructor, to_device(batch, self.device))
        reconstructor.train(was_training)
        return image

    def evaluate(self, batches: Iterable[Batch], audit: TaskNetwork | None = None) -> list[SliceRow]:
        """Score every slice; see ``metrics.slices.evaluate``.

        Segmentation columns mean the frozen network; those of a network that the trial trains itself
        carry ``schema.OWN_NETWORK_SUFFIX``, those of ``audit`` ``schema.AUDIT_NETWORK_SUFFIX``. ``loss_image`` and ``loss_task`` are those of the trial's last phase.
        """
        networks: dict[str, Any] = {"": self.frozen_task_network}
        if self.own_task_network is not None:
            networks[OWN_NETWORK_SUFFIX] = self._scored(OWN_TASK_NETWORK)
        if audit is not None:
            networks[AUDIT_NETWORK_SUFFIX] = audit.to(self.device).freeze()
        is_own = MODES[self.config.mode].phases[-1].task_network_learns
        own_or_first = OWN_NETWORK_SUFFIX if is_own else ""
        further = [] if is_own else self.judges.all[1:]

        def losses(batch: Batch, image: torch.Tensor, logits: Mapping[str, torch.Tensor]) -> Measured:
            image_loss = self.image_loss(image, batch[FULL_DOSE])
            answers = [(self.frozen_task_network, logits[own_or_first])]
            answers += [(network, network(image)) for network in further]
            task_losses = [self.task_loss(found, self._truth(batch, judge)) for judge, found in answers]
            return {LOSS_IMAGE: image_loss, LOSS_TASK: torch.stack(task_losses).mean()}

        return evaluate(batches, self.reconstruct, networks, self.device, losses)

    def keep(self, rows: list[SliceRow], scores: dict[str, float]) -> dict[str, float]:
        """Keep this epoch's weights if validation prefers them.

        Args:
            rows: of ``evaluate`` on the whole validation split.
            scores: their metrics, by column.

        Returns:
            The epoch's validation losses, and which epoch is kept so far, by column.
        """
        if self._phase_index(self.epoch) != self._phase_index(self.kept.epoch):
            self.kept.forget()
        means = (float(np.mean([row[name] for row in rows])) for name in (LOSS_IMAGE, LOSS_TASK))
        losses = self._objective.columns(*means)
        self.kept.offer(self.epoch, scores | losses, rows, self._scored_weights())
        return losses | {KEPT_EPOCH: self.kept.epoch}

    def use_kept(self) -> None:
        """Put the kept epoch's weights where images are scored and shown."""
        for name, weights in self.kept.weights.items():
            self._scored(name).load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, so that a resumed trial goes on exactly."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "kept": self.kept.state_dict(),
            "objective_scales": self._objective.scales,
            "loss_scales": [mixer.plain_scales() for mixer in self._mixers],
            "random": _random_state(self.device),
            **super().state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict`` of a training of the same configuration."""
        self.epoch = state["epoch"]
        if "kept" in state:  # absent from checkpoints before epochs were kept, of which the weights count
            self.steps = state["steps"]
            self.kept.load_state_dict(state["kept"])
            self._objective.scales = state["objective_scales"]
        super().load_state_dict(state)
        for mixer, scales in zip(self._mixers, state["loss_scales"], strict=True):
            mixer.scales = scales
        torch.set_rng_state(state["random"]["cpu"])
        if "device" in state["random"] and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["device"], self.device)


def _mixer(phase: Phase, config: TrialConfig) -> Mixer:
    if phase.objective == "mixed":
        return Mixer(config.mixing, config.alpha)
    return Mixer("convex", _SINGLE_LOSS[phase.objective])


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["device"] = torch.cuda.get_rng_state(device)
    return state
