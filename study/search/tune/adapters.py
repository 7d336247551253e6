"""Ray Tune's searcher and scheduler, which pass on to the conductor what Tune asks and tells them, and its silence.

Tune pickles its parts to restore them; a study is restored from Optuna's storage instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.result import AUTO_RESULT_KEYS, DONE, TRIAL_ID
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from typing_extensions import override

from study.search.conductor import Conductor
from study.trials.failures import FATAL
from study.trials.preemption import PREEMPTED
from taskct_core.contracts.rows import epoch_row
from taskct_core.errors import TaskctError
from taskct_core.schema import EPOCH

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

_NO_COLUMNS = {*AUTO_RESULT_KEYS, DONE, TRIAL_ID, "checkpoint_dir_name", PREEMPTED}


class StudySearcher(Searcher):
    """Asks the conductor for trials, and tells it when Tune is done with one.

    Tune retries by itself, but gives up a trial whose process dies while it is started, such as a warm one that was
    killed between two trials; the conductor proposes it again.
    """

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor
        self._numbers: dict[str, int] = {}  # Tune's trial id -> the trial's number

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        proposal = self._conductor.suggest()
        if proposal is None:
            return Searcher.FINISHED if self._conductor.is_done else None
        self._numbers[trial_id] = proposal.trial
        return {"trial": proposal.trial, "folder": str(proposal.folder), "values": proposal.values}

    @override
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._conductor.complete(self._numbers[trial_id], failed=error)
        del self._numbers[trial_id]


class StudyScheduler(FIFOScheduler):
    """Runs trials in the order of their proposals, passes their reports and errors on, and stops those it is told to."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def __getstate__(self) -> dict[str, Any]:
        return {}

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        number = trial.config["trial"]
        row = epoch_row({n: value for n, value in result.items() if n.partition("/")[0] not in _NO_COLUMNS})
        if FATAL in result:
            self._conductor.fail(number, result[FATAL], is_fatal=True)
            return str(FIFOScheduler.STOP)
        goes_on = EPOCH not in row or self._conductor.report(number, row, is_preempted=PREEMPTED in result)
        return str(FIFOScheduler.CONTINUE if goes_on else FIFOScheduler.STOP)

    @override
    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        # Called again at each restart. Tune counts the errors that it has seen; an adopted trial has earlier ones, too.
        trial.max_failures = max(0, self._conductor.retries_left(trial.config["trial"]) + trial.num_failures)

    @override
    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        is_waiting = trial.status == Trial.PENDING
        self._conductor.fail(trial.config["trial"], _reason(_last_error(trial)), while_starting=is_waiting)

    @override
    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> None:
        _forget_ended(tune_controller)


class Silence(TrialProgressCallback):
    """Tells nothing of trials, in place of the callback that Tune adds where it is given none of this kind.

    That one prints nothing at this verbosity either, and keeps every trial.
    """

    @override
    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: object
    ) -> None: ...

    @override
    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None: ...

    @override
    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None: ...


def _forget_ended(controller: TuneController) -> None:
    """Let Tune drop the trials that have ended: it keeps each with all it reported, and has no public way to let it go.

    The trial that completes at this moment has not ended yet, so that Tune's list never becomes empty: it would look
    for the trials of an empty list on disk.
    """
    trials = controller.get_trials()
    ended = [trial for trial in trials if trial.is_finished()]
    trials[:] = [trial for trial in trials if not trial.is_finished()]
    for held in (
        controller._stopped_trials,
        controller._failed_trials,
        controller._live_trials,
        controller._trials_to_cache,
    ):
        held.difference_update(ended)


def _last_error(trial: Trial) -> BaseException | str | None:
    # Trial.get_pickled_error looks in storage, where the file of a trial that is retried never comes.
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled and Path(pickled).exists():
        error: BaseException = cloudpickle.loads(Path(pickled).read_bytes())
        return error
    return Path(text).read_text(encoding="utf-8") if text and Path(text).exists() else None


def _reason(error: BaseException | str | None) -> str:
    """The message of a failure: ours as it is, others as ``Type: message``."""
    if isinstance(error, RayTaskError):
        error = error.cause
    if isinstance(error, TaskctError):
        return str(error)
    if isinstance(error, RayError):
        return f"the trial's process died: {str(error).splitlines()[0]}"
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}"
    return str(error) if error else "unknown error"
