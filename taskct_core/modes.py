"""The training modes as data: what each phase minimises, and which networks learn in it. One line a mode.

Configuration, training, results and figures all go by this table: a mode is added here, and told of in
docs/objective.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Objective = Literal["image", "mixed", "task"]


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs under one objective.

    Attributes:
        objective: the image loss alone, the mix by alpha, or the task loss alone.
        reconstructor_learns: otherwise it runs in eval mode without gradients.
        task_network_learns: then the objective's task loss comes from the trial's own copy of the task
            network; otherwise from the frozen one.
    """

    objective: Objective
    reconstructor_learns: bool = True
    task_network_learns: bool = False


@dataclass(frozen=True)
class Mode:
    """A training mode: one phase, or two of which the first takes ``first_phase_share`` of the epochs.

    >>> [name for name, mode in MODES.items() if not mode.uses_task_loss]
    ['reconstruction_only']
    """

    phases: tuple[Phase, ...]

    @property
    def mixes(self) -> bool:
        """Whether alpha says how image loss and task loss are mixed."""
        return any(phase.objective == "mixed" for phase in self.phases)

    @property
    def uses_task_loss(self) -> bool:
        """Whether the task loss trains anything at all."""
        return any(phase.objective != "image" for phase in self.phases)

    @property
    def trains_task_network(self) -> bool:
        """Whether the trial trains a task network of its own."""
        return any(phase.task_network_learns for phase in self.phases)

    def phase_index(self, epoch: int, epochs: int, first_phase_share: float) -> int:
        """Which of ``phases`` the epoch (counted from 1, of ``epochs``) belongs to; each has at least one."""
        if len(self.phases) == 1:
            return 0
        return int(epoch > self._first_phase_epochs(epochs, first_phase_share))

    def epoch_of_phase(self, epoch: int, epochs: int, first_phase_share: float) -> tuple[int, int]:
        """The epoch counted within its phase, from 1, and how many that phase has.

        >>> MODES["fine_tune"].epoch_of_phase(7, epochs=9, first_phase_share=2 / 3)
        (1, 3)
        """
        first = self._first_phase_epochs(epochs, first_phase_share)
        return (epoch, first) if epoch <= first else (epoch - first, epochs - first)

    def _first_phase_epochs(self, epochs: int, first_phase_share: float) -> int:
        if len(self.phases) == 1:
            return epochs
        return min(max(round(first_phase_share * epochs), 1), epochs - 1)


MODES: dict[str, Mode] = {
    # image loss alone
    "reconstruction_only": Mode((Phase("image"),)),
    # image loss and the frozen task network's loss
    "task_adaptive": Mode((Phase("mixed"),)),
    # both losses, reconstructor and task network learn together
    "joint": Mode((Phase("mixed", task_network_learns=True),)),
    # reconstruction only, then a task network trained on its reconstructions
    "sequential": Mode((Phase("image"), Phase("task", reconstructor_learns=False, task_network_learns=True))),
    # task loss alone, both networks learn
    "end_to_end": Mode((Phase("task", task_network_learns=True),)),
    # reconstruction only, then task-adaptive
    "fine_tune": Mode((Phase("image"), Phase("mixed"))),
    # one trial that answers for every alpha, in one of FRONT_WAYS; its row is that of its own alpha
    "front": Mode((Phase("mixed"),)),
}

# How a trial of mode `front` is trained: name -> a taskct_core.training.front.FrontTraining
FRONT_WAYS: dict[str, str] = {
    "interpolated": "taskct_core.training.front.interpolated:InterpolatedFront",
    "line": "taskct_core.training.front.line:LineFront",
    "conditioned": "taskct_core.training.front.conditioned:ConditionedFront",
}
