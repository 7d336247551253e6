"""config.yaml of a trial's folder: what the trial is made with."""

from __future__ import annotations

from pathlib import Path

import yaml

from taskct_core.contracts.files import write_text
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.yaml_loader import read_yaml
from taskct_core.errors import ConfigError, DataError
from taskct_core.losses import IMAGE_LOSSES, TASK_LOSSES, parse_mix
from taskct_core.reconstructors import RECONSTRUCTORS
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.training.config import TrialConfig


def write_trial_config(folder: TrialFolder | Path, config: TrialConfig) -> None:
    """Write what a trial is made with into its folder; ``read_trial_config`` reads it."""
    text = yaml.safe_dump(config.settings(), sort_keys=False)
    write_text(TrialFolder.at(folder).config, text)


def read_trial_config(folder: TrialFolder | Path, trust: Trust = BUILT_IN_ONLY) -> TrialConfig:
    """The configuration a trial's folder was made with.

    Raises:
        ConfigError: if it names a plug-in that is not trusted.
        DataError: if the folder is no trial's.
    """
    path = TrialFolder.at(folder).config
    if not path.is_file():
        raise DataError(
            f"a trial folder must hold {TrialFolder.config}", str(folder), "Name a folder under trials/."
        )
    next_step = "Restore it from a copy; `taskct study run` writes it for trials that go on."
    values = read_yaml(path, next_step)
    try:
        config = TrialConfig.parse(values)
    except ConfigError as error:
        raise DataError(
            f"{path.name} must be a trial's configuration", f"{path} ({error})", next_step
        ) from None
    require_trusted(config, trust, path)
    return config


def require_trusted(config: TrialConfig, trust: Trust, source: object) -> None:
    """Refuse a configuration that comes from a folder and names plug-ins that are not trusted.

    Raises:
        ConfigError: naming the plug-in and ``source``.
    """
    trust.require(config.architecture, RECONSTRUCTORS, "reconstructor", source)
    trust.require(config.task_loss, TASK_LOSSES, "task loss", source)
    for _, name in parse_mix(config.image_loss):
        trust.require(name, IMAGE_LOSSES, "image loss", source)
