"""The training modes as data: what each phase minimises, and which networks learn in it."""

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


MODES: dict[str, tuple[Phase, ...]] = {
    "reconstruction_only": (Phase("image"),),
    "task_adaptive": (Phase("mixed"),),
    "joint": (Phase("mixed", task_network_learns=True),),
    "sequential": (Phase("image"), Phase("task", reconstructor_learns=False, task_network_learns=True)),
    "end_to_end": (Phase("task", task_network_learns=True),),
    "fine_tune": (Phase("image"), Phase("mixed")),
}


def trains_task_network(mode: str) -> bool:
    """Whether the mode trains a task network of its own."""
    return any(phase.task_network_learns for phase in MODES[mode])


def phase_index(mode: str, epoch: int, epochs: int, first_phase_share: float) -> int:
    """Which phase of ``MODES[mode]`` the epoch (counted from 1, of ``epochs``) belongs to.

    Of two phases, the first takes ``first_phase_share`` of the epochs, and each takes at least one.
    """
    if len(MODES[mode]) == 1:
        return 0
    switch = min(max(round(first_phase_share * epochs), 1), epochs - 1)
    return int(epoch > switch)
