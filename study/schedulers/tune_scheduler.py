"""The bridge to Ray Tune's schedulers: epochs go in order to a pruner, decisions come back once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from study.events import EpochReported, OnEvent
from study.search.searcher import StudySearcher
from taskct_core.schema import EPOCH


class StudyScheduler(FIFOScheduler):
    """Runs trials in the order of their proposals and passes on what they report."""

    def __init__(self, searcher: StudySearcher, on_event: OnEvent) -> None:
        super().__init__()
        self._searcher = searcher
        self._on_event = on_event

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if EPOCH in result:
            self._on_event(EpochReported(self._searcher.number_of(trial.trial_id), result))
        return str(FIFOScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._searcher.note_error(trial.trial_id, _last_error(trial))


def _last_error(trial: Trial) -> BaseException | str | None:
    # Trial.get_pickled_error looks in storage, where the file of a trial that is retried never comes.
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled and Path(pickled).exists():
        error: BaseException = cloudpickle.loads(Path(pickled).read_bytes())
        return error
    return Path(text).read_text(encoding="utf-8") if text and Path(text).exists() else None
