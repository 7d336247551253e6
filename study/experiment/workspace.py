"""Where an experiment's stages keep their files, and what each stage hands to the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.config import ExperimentConfig
from taskct_core.contracts.files import open_folder


@dataclass(frozen=True)
class Workspace:
    """The folders of one experiment, on this machine or remote.

    Attributes:
        root: ``<output>/<name>``.
        dataset: shards and ``dataset.json``; made by ``taskct simulate``.
        task_network: weights and ``card.json``; made by ``taskct pretrain``.
        trial: of ``taskct train``.
        study: of ``taskct study run``.
    """

    root: Path
    dataset: Path
    task_network: Path
    trial: Path
    study: Path

    @classmethod
    def of(cls, experiment: ExperimentConfig) -> Workspace:
        """The folders that an experiment's configuration names."""
        root = open_folder(experiment.output) / experiment.name
        return cls(
            root=root,
            dataset=_given(experiment.dataset) or root / "data",
            task_network=_given(experiment.pretrained) or root / "task_network",
            trial=root / "trial",
            study=root / "study",
        )


def _given(folder: str | None) -> Path | None:
    return open_folder(folder) if folder else None
