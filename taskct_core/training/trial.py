"""A trial's networks, objective and optimiser, and the epochs over them. Knows no cluster and no files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from taskct_core.config import TrialConfig
from taskct_core.errors import DataError, TrainingError
from taskct_core.geometry import ParallelBeam
from taskct_core.losses import build_image_loss, build_task_loss
from taskct_core.losses.mixing import Mixer
from taskct_core.metrics.slices import Batch, evaluate, to_device
from taskct_core.reconstructors import build_reconstructor, count_parameters, inputs_of
from taskct_core.reconstructors.calling import reconstruct
from taskct_core.schema import FULL_DOSE, LABELS, LOSS, LOSS_IMAGE, LOSS_TASK, OWN_NETWORK_SUFFIX
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.means import Means
from taskct_core.training.modes import MODES, Phase, phase_index, trains_task_network
from taskct_core.training.schedule import learning_rate_share
from taskct_core.training.step import LossOfImage, differentiate, measure

Wrap = Callable[[nn.Module], nn.Module]

_SINGLE_LOSS = {"image": 0.0, "task": 1.0}  # objective -> the convex alpha that leaves one loss


def build_training(
    config: TrialConfig,
    *,
    geometry: ParallelBeam | None,
    task_network: TaskNetwork,
    device: torch.device | str = "cpu",
    wrap: Wrap = lambda module: module,
) -> Training:
    """Build a trial ready for its first epoch. Seeds torch's global random state with ``config.seed``.

    Args:
        geometry: of the scan; for reconstructors that hold the projector.
        task_network: the pre-trained network; it is frozen here, and moved to ``device``.
        wrap: makes a module that learns distributed, such as Ray's ``prepare_model``.

    Raises:
        ConfigError: if an architecture, loss or parameter is not valid.
    """
    torch.manual_seed(config.seed)
    reconstructor = build_reconstructor(config.architecture, config.architecture_parameters, geometry).to(
        device
    )
    frozen = task_network.to(device).freeze()
    own = _own_task_network(config, frozen).to(device) if trains_task_network(config.mode) else None
    return Training(config, reconstructor, frozen, own, torch.device(device), wrap)


def _own_task_network(config: TrialConfig, frozen: TaskNetwork) -> TaskNetwork:
    if config.own_task_network == "scratch":
        return TaskNetwork.from_config(frozen.config.model_copy(update={"seed": config.seed}))
    return copy.deepcopy(frozen).unfreeze()


class Training:
    """A trial in training.

    Attributes:
        reconstructor: the bare module, whatever ``wrap`` made of it.
        frozen_task_network: the pre-trained network, which never changes.
        own_task_network: the one that the trial trains, in the modes that do.
        epoch: epochs trained so far.
    """

    def __init__(
        self,
        config: TrialConfig,
        reconstructor: nn.Module,
        task_network: TaskNetwork,
        own_task_network: TaskNetwork | None,
        device: torch.device,
        wrap: Wrap,
    ) -> None:
        self.config = config
        self.device = device
        self.reconstructor = reconstructor
        self.frozen_task_network = task_network
        self.own_task_network = own_task_network
        self.epoch = 0
        self.image_loss = build_image_loss(config.image_loss, task_network).to(device)
        self.task_loss = build_task_loss(config.task_loss).to(device)
        self._mixers = [_mixer(phase, config) for phase in MODES[config.mode]]
        self._learning_reconstructor = wrap(reconstructor)
        self._learning_task_network = None if own_task_network is None else wrap(own_task_network)
        learned = [module for module in (reconstructor, own_task_network) if module is not None]
        parameters = [parameter for module in learned for parameter in module.parameters()]
        self.optimiser = torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def train_epoch(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Train one epoch, and return means over its samples: the losses and gradient norms, by column.

        A loss of weight zero is measured on the first batch alone, and the mean is over that one.

        Raises:
            TrainingError: if a loss or gradient is not finite, naming step and values.
            DataError: if there is no batch, or the batches lack a tensor that the architecture needs.
        """
        self.epoch += 1
        config = self.config
        index = phase_index(config.mode, self.epoch, config.epochs, config.first_phase_share)
        phase, mixer = MODES[config.mode][index], self._mixers[index]
        share = learning_rate_share(config.learning_rate_schedule, self.epoch, config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * share
        self.reconstructor.train(phase.reconstructor_learns)
        if self.own_task_network is not None:
            self.own_task_network.train(phase.task_network_learns)
        means = Means()
        for step, batch in enumerate(batches, start=1):
            batch = to_device(batch, self.device)
            measured = self._step(batch, phase, mixer, step)
            means.add(measured, len(batch[FULL_DOSE]))
        if not means.samples:
            raise DataError(
                "an epoch needs training samples", "none", "Give the train split a patient (data.split)."
            )
        return means.result()

    def _step(self, batch: Batch, phase: Phase, mixer: Mixer, step: int) -> dict[str, float]:
        self.optimiser.zero_grad(set_to_none=True)
        if phase.reconstructor_learns:
            reconstruction = self._call(self._learning_reconstructor, batch)
        else:
            reconstruction = self.reconstruct(batch)
        network = self._learning_task_network if phase.task_network_learns else None
        losses = self._losses(batch, network or self.frozen_task_network)
        result = differentiate(reconstruction, losses, mixer)
        measured = {LOSS: result.loss, **result.measured}
        if step == 1:
            measured = measure(reconstruction, self._losses(batch, self.frozen_task_network)) | measured
        self._require_finite(measured, step)
        if phase.reconstructor_learns:
            reconstruction.backward(result.gradient)
        self.optimiser.step()
        return measured

    def _losses(self, batch: Batch, network: nn.Module) -> dict[str, LossOfImage]:
        """Both losses as functions of the image; ``network`` is the one whose logits the task loss judges."""
        targets = self.frozen_task_network.targets(batch[LABELS])
        return {
            LOSS_IMAGE: lambda image: self.image_loss(image, batch[FULL_DOSE]),
            LOSS_TASK: lambda image: self.task_loss(network(image), targets),
        }

    def _call(self, reconstructor: nn.Module, batch: Batch) -> torch.Tensor:
        inputs = inputs_of(self.reconstructor)
        return reconstruct(reconstructor, inputs, batch, self.config.architecture)

    def _require_finite(self, measured: dict[str, float], step: int) -> None:
        if all(map(math.isfinite, measured.values())):
            return
        values = ", ".join(f"{name} = {value:.6g}" for name, value in measured.items())
        raise TrainingError(
            "losses and gradients must stay finite",
            f"{values} at step {step} of epoch {self.epoch}",
            "Lower the learning rate, or choose another loss or architecture.",
        )

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> torch.Tensor:
        """Images ``(B, 1, H, W)`` of a batch, in eval mode, on the trial's device."""
        was_training = self.reconstructor.training
        self.reconstructor.eval()
        image = self._call(self.reconstructor, to_device(batch, self.device))
        self.reconstructor.train(was_training)
        return image

    def evaluate(self, batches: Iterable[Batch]) -> list[dict[str, Any]]:
        """Score every slice; see ``metrics.slices.evaluate``.

        Segmentation columns mean the frozen network; those of a network that the trial trains itself
        carry ``schema.OWN_NETWORK_SUFFIX``.
        """
        networks = {"": self.frozen_task_network}
        if self.own_task_network is not None:
            networks[OWN_NETWORK_SUFFIX] = self.own_task_network
        return evaluate(batches, self.reconstruct, networks, self.device)

    @property
    def parameter_count(self) -> int:
        """How many numbers the reconstructor learns."""
        return count_parameters(self.reconstructor)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, so that a resumed trial goes on exactly."""
        own = self.own_task_network
        return {
            "epoch": self.epoch,
            "reconstructor": self.reconstructor.state_dict(),
            "own_task_network": None if own is None else own.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "loss_scales": [mixer.scales for mixer in self._mixers],
            "random": _random_state(self.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict`` of a training of the same configuration."""
        self.epoch = state["epoch"]
        self.reconstructor.load_state_dict(state["reconstructor"])
        if self.own_task_network is not None:
            self.own_task_network.load_state_dict(state["own_task_network"])
        self.optimiser.load_state_dict(state["optimiser"])
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
