"""How long a configuration of the comparison takes: processor time of its training steps, measured, times their number.

    python benchmarks/real_ct/cost.py benchmarks/real_ct/architectures.yaml

Each point's phases are timed over a few steps of random samples at the preset's size, with networks that were never
trained. The first step of an epoch measures both losses, which overstates plain training by up to a half. Not
counted: fresh scans (about a tenth of a U-Net's step), validation, tests, and the tuning of TV and SIRT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from study.config import ExperimentConfig, load_experiment
from study.search.config import points_of
from study.search.space import SearchSpace
from study.trials.task import TrialTask
from taskct_core.contracts.rows import Batch, batch_of
from taskct_core.geometry import PRESETS, ParallelBeam
from taskct_core.modes import MODES
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.trial import build_training

TIMED_STEPS = 2
VALIDATION_SHARE = 0.2  # of a fold's training slices, with data.split.validation: slices


def step_seconds(config: TrialConfig, geometry: ParallelBeam) -> list[float]:
    """Processor seconds of a training step in each phase of the mode."""
    phases = len(MODES[config.mode].phases)
    short = config.model_copy(update={"epochs": phases, "first_phase_share": 0.5})
    judge = build_task_network(
        TaskNetworkConfig(classes="liver_tumour", architecture_parameters={"width": 12})
    )
    training = build_training(short, geometry=geometry, task_network=judge)
    batch, seconds = random_batch(config.batch_size, geometry), []
    for _ in range(phases):
        start = time.process_time()
        training.train_epoch([batch] * TIMED_STEPS)
        seconds.append((time.process_time() - start) / TIMED_STEPS)
    return seconds


def random_batch(count: int, geometry: ParallelBeam) -> Batch:
    """Samples of noise, of the shapes that a reconstructor takes."""
    rows, columns = geometry.image_shape
    image = torch.rand(count, 1, rows, columns)
    return batch_of(
        {
            "full_dose": image,
            "fbp": image + 0.02 * torch.randn_like(image),
            "sinogram": torch.rand(count, 1, geometry.num_angles, geometry.num_bins),
            "labels": torch.randint(0, 3, (count, rows, columns)),
        }
    )


def trial_of(experiment: ExperimentConfig, point: dict[str, Any]) -> TrialConfig:
    """What the study trains at a point; where the point leaves a parameter open, its middle."""
    space = SearchSpace.parse(experiment.study.space)
    given = space.parameters_of(point)
    values = space.draw(lambda name, dimension: given.get(name, dimension.parameter_at(0.5)))
    return TrialTask.from_search(experiment.trial, {"values": values, "folder": ".", "trial": 0}).config


def steps_of_epochs(experiment: ExperimentConfig, slices: list[int]) -> int:
    """Steps of one epoch of every fold with every seed, of patients with so many slices, one a fold."""
    kept = [count // experiment.data.slices.every for count in slices]
    batch = experiment.trial.batch_size
    folds = [-(-round((sum(kept) - tested) * (1 - VALIDATION_SHARE)) // batch) for tested in kept]
    return sum(folds) * experiment.study.repeats.seeds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--slices", type=int, nargs="+", default=[98, 71, 20], help="of each patient's liver")
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = load_experiment(options.experiment)
    geometry, total = PRESETS[experiment.simulation.preset], 0.0
    steps = steps_of_epochs(experiment, options.slices)
    for point in points_of(experiment.study.enqueue):
        config = trial_of(experiment, point)
        measured = step_seconds(config, geometry)
        first = MODES[config.mode].epoch_of_phase(1, config.epochs, config.first_phase_share)[1]
        epochs = [first, config.epochs - first][: len(measured)]
        hours = steps * sum(e * s for e, s in zip(epochs, measured, strict=True)) / 3600
        total += hours
        print(point, f"{hours:.1f} h,", ", ".join(f"{seconds:.2f} s a step" for seconds in measured))
    print(f"{total:.1f} hours of one core")


if __name__ == "__main__":
    main()
