"""A trial as it travels to the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from study.trials.inputs import TrialInputs
from study.trials.trial_config import require_trusted
from taskct_core.contracts.folders import TrialFolder
from taskct_core.training.config import TrialConfig


@dataclass(frozen=True)
class TrialTask:
    """One trial of a study: what it trains, and where it leaves its record."""

    config: TrialConfig
    folder: TrialFolder
    trial: int

    @classmethod
    def from_search(cls, base: TrialConfig, proposal: dict[str, Any]) -> TrialTask:
        """The trial that a search proposed: ``base`` with its ``values``, in its ``folder``.

        Raises:
            ConfigError: if the values make no valid trial.
        """
        values = base.model_dump() | proposal["values"]
        if (
            values["architecture"] != base.architecture
            and "architecture_parameters" not in proposal["values"]
        ):
            values["architecture_parameters"] = {}  # the base's belong to its own architecture
        return cls(TrialConfig.parse(values), TrialFolder.at(proposal["folder"]), int(proposal["trial"]))


def trusted_task(base: TrialConfig, proposal: dict[str, Any], inputs: TrialInputs) -> TrialTask:
    """The proposed trial; a storage that others filled may have names of theirs in it.

    Raises:
        ConfigError: if its values make no valid trial, or name a plug-in that the experiment does not.
    """
    task = TrialTask.from_search(base, proposal)
    require_trusted(task.config, inputs.trust, "the study's storage")
    return task
