"""The frozen task networks that judge a reconstructor while it learns: one, or several that it cannot fool as easily."""

from __future__ import annotations

from collections.abc import Sequence

from taskct_core.errors import ConfigError
from taskct_core.random_streams import random_stream
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import Judging


class Judges:
    """Which networks give the task loss of a step.

    Args:
        judging: ``first``: the first network alone; ``ensemble``: all of them, whose losses are averaged; ``random``: one
            of them at each step, which follows from the seed and the step alone.
        networks: frozen; the first is the one whose scores are the trial's.
        seed: of the trial.
    """

    def __init__(self, judging: Judging, networks: Sequence[TaskNetwork], seed: int) -> None:
        self._judging = judging
        self._networks = list(networks)
        self._seed = seed

    @property
    def all(self) -> list[TaskNetwork]:
        """Those that may give the loss of a step, the first first: its mean over them is what is minimised."""
        return self._networks[:1] if self._judging == "first" else self._networks

    def of_step(self, step: int) -> list[TaskNetwork]:
        """Those that give the loss of a trial's step, counted from 1; the same for all workers.

        Raises:
            ConfigError: if there should be several and is one.
        """
        if self._judging != "first" and len(self._networks) == 1:
            raise ConfigError(
                f"trial.judges: {self._judging} needs several task networks",
                "one",
                "Name the folders of others in further_judges, or set trial.judges to first.",
            )
        if self._judging != "random":
            return self.all
        chosen = int(random_stream("judge", self._seed, step).integers(len(self._networks)))
        return [self._networks[chosen]]
