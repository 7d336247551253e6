"""The first stage: CT volumes -> the dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from study.data.dataset import DatasetCard
from study.data.simulate import carry_out
from study.data.simulation_plan import ChangedSource, SimulationPlan, plan_simulation
from study.experiment.experiment import Experiment
from study.experiment.stage import Stage


@dataclass(frozen=True)
class PatientStep:
    """What was done with a patient.

    Attributes:
        patient: whose.
        samples: how many came of the patient; None where only the body was measured.
    """

    patient: str
    samples: int | None


class SimulateStage(Stage[PatientStep]):
    """Makes the dataset, or mends it where it is damaged; one that was made elsewhere is taken as it is.

    Args:
        experiment: whose stage it is.
        changed_source: see :func:`study.data.simulation_plan.plan_simulation`.
    """

    makes = "dataset"

    def __init__(self, experiment: Experiment, changed_source: ChangedSource | None = None) -> None:
        super().__init__(experiment)
        self._changed_source = changed_source

    @property
    def folder(self) -> Path:
        return self.experiment.workspace.dataset

    @property
    def is_elsewhere(self) -> bool:
        """Whether the experiment names a dataset that was made before."""
        return self.experiment.config.dataset is not None

    @cached_property
    def plan(self) -> SimulationPlan:
        """What there is to do."""
        return plan_simulation(self.experiment.config, self.folder, self._changed_source)

    def check(self) -> None:
        if not self.is_elsewhere:
            _ = self.plan

    def find_done(self) -> bool:
        if not self.is_elsewhere and self.plan.is_done:
            self._hand_on(carry_out(self.plan))  # notes what the user chose to disregard
        return self.is_elsewhere or self.plan.is_done

    def make(self, on_step: Callable[[PatientStep], None]) -> None:
        card = carry_out(
            self.plan,
            lambda patient, samples: on_step(PatientStep(patient, samples)),
            lambda patient: on_step(PatientStep(patient, None)),
        )
        self._hand_on(card)

    def _hand_on(self, card: DatasetCard) -> None:
        """To the stages that follow, so that they need not look at each shard once more."""
        self.experiment.__dict__["dataset"] = card
