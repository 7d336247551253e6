"""Running a study's trials with Ray Tune: the only part of the search that knows Ray.

Importing this imports no Ray, whose environment is set when a session starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from study.cluster.ray_session import ray_session
from study.interruption import handlers_kept
from study.search.conductor import Conductor
from taskct_core.contracts.files import scratch_folder
from taskct_core.contracts.folders import StudyFolder

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory
    from ray.tune.experiment import Trial

_MOST_PENDING = 1000
Trainable = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TuneExecutor:
    """Executes trials with Ray Tune; starts Ray if no session is open.

    Every run makes a fresh Tuner, which adopts the trials that an earlier one left RUNNING: what Tune keeps of itself
    is thrown away.

    Attributes:
        trainable: a Ray Tune function; called with ``{"trial": number, "folder": its folder, "values": overrides of
            the trial's configuration}``, it appends each epoch's row to the folder's :mod:`study.trials.epoch_log` and
            then reports it. Started again, it continues from its checkpoint.
        resources: of one trial.
        max_concurrent: trials that run at a time, as long as no command changes it; the conductor sees to it.
        reports_wait: whether the trainable waits for the decision on each report before it trains on, as whatever
            calls ``ray.tune.report`` does; Ray Train's workers do not.
    """

    trainable: Trainable
    resources: dict[str, float] | PlacementGroupFactory
    max_concurrent: int = 1
    reports_wait: bool = True

    def run(self, conductor: Conductor) -> None:
        """Run trials until the conductor proposes no more, or Ctrl-C or the end of its time leaves some RUNNING.

        Raises:
            ResourceError: if the last Ray node died; run again, the study continues.
        """
        os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
        # As many trials wait for a place as the conductor proposes; Tune would start them one after another.
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(_MOST_PENDING))
        # What Tune keeps of itself is thrown away, and all trials are in it each time.
        os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial's reason is in its record
        with (
            scratch_folder(conductor.folder.path, StudyFolder.tune_scratch) as scratch,
            ray_session(),
            handlers_kept(),
        ):
            from ray import tune

            from study.search.tune.adapters import Silence, StudyScheduler, StudySearcher
            from study.search.tune.watch import OutOfTime, StudyWatch
            from study.trials.failures import report_fatal_errors

            tune_config = tune.TuneConfig(
                search_alg=StudySearcher(conductor),
                scheduler=StudyScheduler(conductor),
                num_samples=-1,  # the conductor knows when there are no more
                reuse_actors=True,  # starting a process and importing takes longer than most trials' first epoch
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            )
            run_config = tune.RunConfig(
                name=scratch.name,
                storage_path=str(scratch.parent),
                failure_config=tune.FailureConfig(max_failures=conductor.rules.max_retries),
                callbacks=[StudyWatch(conductor), Silence()],
                verbose=0,
            )
            guarded = tune.with_resources(report_fatal_errors(self.trainable), self.resources)
            with suppress(OutOfTime):
                tune.Tuner(guarded, tune_config=tune_config, run_config=run_config).fit()


def _name(trial: Trial) -> str:
    return f"{trial.config['trial']:04d}"
