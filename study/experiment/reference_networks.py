"""An experiment's networks made elsewhere: where their files are, and whether they run, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from study.data.batches import Share
from study.trials.inputs import TrialInputs
from taskct_core.errors import TaskctError
from taskct_core.reconstructors.calling import reconstruct
from taskct_core.reconstructors.config import ReferenceNetworkConfig
from taskct_core.reconstructors.imported import load_reference_network

_SLICES = 2


def located(references: Iterable[ReferenceNetworkConfig]) -> tuple[ReferenceNetworkConfig, ...]:
    """The same with absolute paths: who scores them may work in another folder."""
    return tuple(map(_with_absolute_paths, references))


def reference_problems(inputs: TrialInputs) -> list[str]:
    """What is wrong with networks made elsewhere, on some slices of the data."""
    problems = []
    for config in inputs.references:
        try:
            network = load_reference_network(config)
            batch = next(iter(inputs.feeds["validation"].ordered(_SLICES, share=Share())))
            reconstruct(network, network.inputs, batch, config.name)
        except TaskctError as error:
            problems.append(f"reference {config.name}: {error}")
    return problems


def _with_absolute_paths(config: ReferenceNetworkConfig) -> ReferenceNetworkConfig:
    paths = {"weights": config.weights, "network": config.network if config.is_file else None}
    return config.model_copy(
        update={name: str(Path(path).absolute()) for name, path in paths.items() if path is not None}
    )
