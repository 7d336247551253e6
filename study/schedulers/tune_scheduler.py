"""The bridge to Ray Tune's schedulers: each epoch of a trial is judged once, however often it is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS, DONE, TRIAL_ID
from ray.tune.schedulers import FIFOScheduler

from study.monitor.events import EpochReported, OnEvent
from study.schedulers.pruner import Pruner
from study.search.ledger import Pruning
from study.search.records import TrialRecord
from study.search.searcher import StudySearcher
from study.trials import epoch_log
from study.trials.failures import FATAL
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, epoch_row
from taskct_core.schema import EPOCH, RUNNING

_TUNES_OWN = {*AUTO_RESULT_KEYS, DONE, TRIAL_ID, "checkpoint_dir_name"}


class StudyScheduler(FIFOScheduler):
    """Runs trials in the order of their proposals and stops those that the pruner gives up.

    A trial that starts again reports its earlier epochs again. They were decided on, so they only pass
    through: an interrupted study prunes as an uninterrupted one does.

    Args:
        epochs: of a trial whose values name no other number; its last epoch is no ground to stop it.
        max_retries: of a trial, however many drivers it has seen.
        reports_wait: whether a trial waits for the decision on each epoch before it trains on, as Tune's functions do;
            Ray Train's workers do not.
    """

    def __init__(
        self,
        pruner: Pruner,
        searcher: StudySearcher,
        epochs: int | None,
        max_retries: int,
        on_event: OnEvent,
        reports_wait: bool = True,
    ) -> None:
        super().__init__()
        self._reports_wait = reports_wait
        self._pruner = pruner
        self._epochs = epochs
        self._max_retries = max_retries
        self._searcher = searcher
        self._on_event = on_event
        self._decided: dict[int, int] = {}  # trial -> last epoch that was decided on

    def __getstate__(self) -> dict[str, Any]:
        return {}  # see StudySearcher

    def replay(self, folder: Path, trials: list[TrialRecord]) -> None:
        """Rebuild the pruner's state from the epoch logs of the study in ``folder``.

        Epochs of a trial left RUNNING on which there was perhaps no decision are left out: they are judged when the
        trial is adopted and reports them again.
        """
        for trial in trials:
            for row in self._decided_rows(folder, trial):
                self._pruner.observe(trial.trial, row)
                self._decided[trial.trial] = row[EPOCH]

    def _decided_rows(self, folder: Path, trial: TrialRecord) -> list[EpochRow]:
        rows = epoch_log.read(StudyFolder(folder).trial(trial.trial))
        if trial.status != RUNNING:
            return [row for row in rows if row[EPOCH] <= trial.last_epoch]
        return rows[:-1] if self._reports_wait else []

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        row = epoch_row({n: value for n, value in result.items() if n.partition("/")[0] not in _TUNES_OWN})
        if FATAL in result:
            self._searcher.note_fatal(trial.trial_id, result[FATAL])
            return str(FIFOScheduler.STOP)
        if EPOCH not in row:
            return str(FIFOScheduler.CONTINUE)
        number = self._searcher.number_of(trial.trial_id)
        self._on_event(EpochReported(number, row))
        if row[EPOCH] <= self._decided.get(number, 0):
            return str(FIFOScheduler.CONTINUE)
        self._decided[number] = row[EPOCH]
        reason = self._pruner.reason_to_stop(number, row)
        if reason is None or row[EPOCH] == trial.config["values"].get("epochs", self._epochs):
            return str(FIFOScheduler.CONTINUE)
        self._searcher.note_pruned(trial.trial_id, Pruning(row[EPOCH], reason))
        return str(FIFOScheduler.STOP)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        # Called again at each restart. Tune counts the errors that it has seen; an adopted trial has earlier ones, too.
        earlier = self._searcher.errors_of(trial.trial_id) - trial.num_failures
        trial.max_failures = max(0, self._max_retries - earlier)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._searcher.note_error(trial.trial_id, _last_error(trial), trial.status == Trial.PENDING)


def _last_error(trial: Trial) -> BaseException | str | None:
    # Trial.get_pickled_error looks in storage, where the file of a trial that is retried never comes.
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled and Path(pickled).exists():
        error: BaseException = cloudpickle.loads(Path(pickled).read_bytes())
        return error
    return Path(text).read_text(encoding="utf-8") if text and Path(text).exists() else None
