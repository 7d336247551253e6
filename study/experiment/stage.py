"""What a stage of an experiment is, and how one is completed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from study.experiment.experiment import Experiment
from study.experiment.preflight import check_gpu
from study.search.lock import study_lock

Step = TypeVar("Step")


class Stage(ABC, Generic[Step]):
    """Reads what the stages before it have made, and makes what is in its folder.

    Attributes:
        makes: what, in words.
        experiment: whose stage it is.
    """

    makes: ClassVar[str]

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where the stage's results go."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what can be refused before anything starts. Needs neither Ray nor what earlier stages make.

        Raises:
            TaskctError: naming what is wrong.
        """

    @cached_property
    def is_done(self) -> bool:
        """Whether nothing was left to be made when this was first asked. Needs no Ray.

        Raises:
            TaskctError: if what an earlier stage made is missing or broken, or the folder holds something else.
        """
        return self.find_done()

    @abstractmethod
    def find_done(self) -> bool:
        """See ``is_done``."""

    @abstractmethod
    def make(self, on_step: Callable[[Step], None]) -> None:
        """Make what is missing, and call ``on_step`` with each step of it. Needs a running Ray session."""

    def lock(self) -> AbstractContextManager[object]:
        """Keeps other processes from making the same at the same time.

        Raises:
            StudyError: if one is.
        """
        return study_lock(self.folder, self.makes)


def complete(
    stage: Stage[Step],
    on_step: Callable[[Step], None],
    session: Callable[[], AbstractContextManager[None]],
) -> None:
    """Make what a checked stage makes, unless it is there already.

    Args:
        stage: whose ``check`` has passed.
        on_step: see ``Stage.make``.
        session: starts or joins Ray, or goes on in the session that is open.
    """
    if stage.is_done:
        return
    with stage.lock(), session():
        check_gpu(stage.experiment.config.execution)  # of a cluster, which could not be asked before
        stage.make(on_step)
