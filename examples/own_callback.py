"""A callback of one's own: told of everything that happens in a study that is run from Python.

python examples/own_callback.py runs/own_callback
"""

import sys
from pathlib import Path
from typing import Any

from ray import tune

from study import StudyPlan, TuneExecutor, run_study
from study.config import StudyConfig
from study.search.events import Event, TrialFinished
from study.trials import epoch_log


def tell(event: Event) -> None:
    """Called in the driver with each event of ``study.search.events``."""
    if isinstance(event, TrialFinished):
        print(f"trial {event.trial}: {event.status}")


def trainable(proposal: dict[str, Any]) -> None:
    """One epoch of made-up scores: PSNR falls with alpha, Dice rises."""
    alpha = proposal["values"]["alpha"]
    row: Any = {"epoch": 1, "dice_mean_patient_nnunet": 0.8 + 0.1 * alpha, "psnr_lodopab": 32 - alpha}
    epoch_log.append(Path(proposal["folder"]), row)
    tune.report(row)


if __name__ == "__main__":
    from study.cluster.ray_session import ray_session

    space = {"alpha": {"kind": "uniform", "low": 0, "high": 1}}
    plan = StudyPlan(StudyConfig(trials=3, space=space), Path(sys.argv[1]), fingerprint={"data": "made up"})
    with ray_session():
        run_study(plan, TuneExecutor(trainable, resources={"cpu": 1}, max_concurrent=1), on_event=tell)
