"""A trial's training, of any mode, and the network that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from taskct_core import registry
from taskct_core.errors import ConfigError
from taskct_core.geometry import Geometry
from taskct_core.modes import FRONT_WAYS
from taskct_core.reconstructors import build_reconstructor
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.front.base import FrontTraining
from taskct_core.training.trial import Training, build_training
from taskct_core.training.trial_networks import Wrap


def build_trial_training(
    config: TrialConfig,
    *,
    geometry: Geometry | None,
    task_network: TaskNetwork,
    further_judges: Sequence[TaskNetwork] = (),
    device: torch.device | str = "cpu",
    wrap: Wrap = lambda module: module,
) -> Training | FrontTraining:
    """``build_training``, and for mode ``front`` the training of the whole front. Seeds torch's random state.

    Raises:
        ConfigError: if an architecture, loss or parameter is not valid.
    """
    if config.mode != "front":
        return build_training(
            config,
            geometry=geometry,
            task_network=task_network,
            further_judges=further_judges,
            device=device,
            wrap=wrap,
        )
    torch.manual_seed(config.seed)
    plain = build_reconstructor(config.architecture, config.architecture_parameters, geometry).to(device)
    way = registry.load(config.front_way, FRONT_WAYS, "way to a front")
    front: FrontTraining = way(config, plain, task_network.to(device).freeze(), torch.device(device), wrap)
    return front


def trained_reconstructor(training: Training | FrontTraining, alpha: float | None = None) -> nn.Module:
    """The network that a trained trial leaves, as a plain module of its architecture, in eval mode.

    Args:
        training: with its checkpoint loaded and ``use_kept`` called.
        alpha: in [0, 1], of a trial of mode ``front``; by default the trial's own.

    Raises:
        ConfigError: if an alpha is asked of a trial of another mode, or one outside [0, 1].
        DataError: if a front's epochs are not all trained.
    """
    if isinstance(training, FrontTraining):
        alpha = training.config.alpha if alpha is None else alpha
        if not 0 <= alpha <= 1:
            raise ConfigError("alpha must lie in [0, 1]", f"{alpha:g}", "Correct it.")
        return training.reconstructor_at(alpha)
    if alpha is not None and alpha != training.config.alpha:
        raise ConfigError(
            "only a trial of mode front has a network for every alpha",
            f"alpha {alpha:g} of a trial of mode {training.config.mode}, which has alpha {training.config.alpha:g}",
            "Leave alpha out, or train with trial.mode: front.",
        )
    return deepcopy(training.scored_reconstructor).eval()
