"""Running a study's trials as stacks: several in one process, where those that can be are trained as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from study.cluster.ray_session import ray_session
from study.search.conductor import Conductor
from study.search.trial_state import Proposal
from study.trials.config import ExecutionConfig
from study.trials.inputs import TrialInputs
from study.trials.resources import worker_resources
from study.trials.stacked import StackRunner, TrialFailed
from taskct_core.contracts.rows import EpochRow
from taskct_core.training.config import TrialConfig

if TYPE_CHECKING:  # Ray takes seconds to import
    from ray import ObjectRef

_Answer = TypeVar("_Answer")


class Runner(Protocol):
    """What :class:`study.trials.stacked.StackRunner` does, here or in another process."""

    def begin(self, proposal: dict[str, Any]) -> list[EpochRow] | TrialFailed: ...
    def epoch(self, trials: Sequence[int]) -> dict[int, EpochRow | TrialFailed]: ...
    def is_trained(self, trial: int) -> bool: ...
    def finish(self, trial: int) -> TrialFailed | None: ...
    def drop(self, trial: int) -> None: ...


class RunnerDied(Exception):
    """The process of a runner ended, and with it all trials that it held in memory."""


class StackExecutor:
    """Executes trials ``execution.stack`` at a time in one Ray actor. Proposals fill the place of trials that ended."""

    def __init__(self, base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig) -> None:
        self._base = base
        self._inputs = inputs
        self._execution = execution

    @property
    def max_concurrent(self) -> int:
        return self._execution.stack

    @property
    def reports_wait(self) -> bool:
        return True

    def run(self, conductor: Conductor) -> None:
        """Run trials until the conductor proposes no more, or its time is up."""
        with ray_session():
            drive(conductor, self._start)

    def _start(self) -> Runner:
        return _RemoteRunner(self._base, self._inputs, self._execution)


def drive(conductor: Conductor, start: Callable[[], Runner]) -> None:
    """Run the conductor's trials in a runner, as many at a time as it proposes.

    Args:
        conductor: of the study.
        start: makes a runner, and another where one died.
    """
    stack = _Stack(conductor, start)
    while not conductor.time_is_up and stack.fill():
        stack.train_epoch()


class _Stack:
    def __init__(self, conductor: Conductor, start: Callable[[], Runner]) -> None:
        self._conductor = conductor
        self._start = start
        self._runner = start()
        self._trials: list[int] = []

    def fill(self) -> bool:
        """Begin as many trials as there is room for; returns whether any is there."""
        while (proposal := self._conductor.suggest()) is not None:
            self._guarded(proposal.trial, partial(self._begin, proposal))
        return bool(self._trials)

    def train_epoch(self) -> None:
        """Train an epoch of every trial; those that end leave."""
        for trial in self._conductor.overdue():
            self._leave(trial)
        try:
            results = self._runner.epoch(list(self._trials))
        except RunnerDied as error:
            self._died(error)
            return
        for trial, found in results.items():
            if isinstance(found, TrialFailed):
                self._fail(trial, found)
            else:
                self._guarded(trial, partial(self._report, trial, [found]))

    def _guarded(self, trial: int, act: Callable[[], None]) -> None:
        try:
            act()
        except RunnerDied as error:
            if trial not in self._trials:
                self._trials.append(trial)
            self._died(error)

    def _begin(self, proposal: Proposal) -> None:
        self._conductor.started(proposal.trial)
        values = {"trial": proposal.trial, "folder": str(proposal.folder), "values": proposal.values}
        rows = self._runner.begin(values)
        self._trials.append(proposal.trial)
        if isinstance(rows, TrialFailed):
            self._fail(proposal.trial, rows)
        else:
            self._report(proposal.trial, rows)

    def _report(self, trial: int, rows: Sequence[EpochRow]) -> None:
        if not all(self._conductor.report(trial, row) for row in rows):
            self._leave(trial)
        elif self._runner.is_trained(trial):
            failed = self._runner.finish(trial)
            if failed is not None:
                self._fail(trial, failed)
            else:
                self._leave(trial)

    def _fail(self, trial: int, failed: TrialFailed) -> None:
        self._conductor.fail(trial, failed.error, is_fatal=failed.is_fatal)
        self._leave(trial, failed=True)

    def _leave(self, trial: int, *, failed: bool = False) -> None:
        self._runner.drop(trial)
        self._trials.remove(trial)
        self._conductor.complete(trial, failed=failed)

    def _died(self, error: RunnerDied) -> None:
        """All trials go on from their last checkpoints in another process, as far as they have retries left."""
        self._runner = self._start()
        for trial in list(self._trials):
            self._fail(trial, TrialFailed(f"the trial's process died: {error}", is_fatal=False))


class _RemoteRunner:
    """A ``StackRunner`` in a Ray actor."""

    def __init__(self, base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig) -> None:
        import ray

        resources = worker_resources(execution)
        actor = ray.remote(num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0))(StackRunner)
        self._actor: Any = actor.remote(base, inputs, execution)

    def begin(self, proposal: dict[str, Any]) -> list[EpochRow] | TrialFailed:
        rows: list[EpochRow] | TrialFailed = self._get(self._actor.begin.remote(proposal))
        return rows

    def epoch(self, trials: Sequence[int]) -> dict[int, EpochRow | TrialFailed]:
        results: dict[int, EpochRow | TrialFailed] = self._get(self._actor.epoch.remote(trials))
        return results

    def is_trained(self, trial: int) -> bool:
        return bool(self._get(self._actor.is_trained.remote(trial)))

    def finish(self, trial: int) -> TrialFailed | None:
        failed: TrialFailed | None = self._get(self._actor.finish.remote(trial))
        return failed

    def drop(self, trial: int) -> None:
        self._actor.drop.remote(trial)

    def _get(self, reference: ObjectRef[_Answer]) -> _Answer:
        import ray
        from ray.exceptions import RayActorError

        try:
            return ray.get(reference)
        except RayActorError as error:
            raise RunnerDied(str(error).splitlines()[0]) from error
