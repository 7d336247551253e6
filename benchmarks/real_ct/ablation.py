"""What makes tumours survive? Several ways to fine-tune one pre-trained reconstructor, each scored once on the test patient.

    taskct simulate benchmarks/real_ct/ablation.yaml
    python benchmarks/real_ct/ablation.py benchmarks/real_ct/ablation.yaml                    # every way
    python benchmarks/real_ct/ablation.py benchmarks/real_ct/ablation.yaml --ways control task_loss
    python benchmarks/real_ct/ablation.py benchmarks/real_ct/ablation.yaml --ways --json FILE # what is trained so far

The control trains both phases; the other ways begin with its state after the first, so that they differ in the second
alone, but for ``front``, one training for every alpha, which trains its own. Each way is a trial's folder under ``<output>/<name>/ways``, and goes on after a kill. Everything is chosen
(the epoch) or told apart (the ways) on the validation patient; the record also has what the frozen judge and the one
that took no part see on the test patient.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from bench_record import write_result
from numpy.typing import NDArray

from analysis.pareto import hypervolume, non_dominated
from study.cluster.ray_session import ray_session
from study.config import load_experiment
from study.data.batches import Share
from study.data.feed import TableFeed
from study.experiment.experiment import Experiment
from study.experiment.inputs import fresh_samples, open_inputs
from study.trials.front import AXES
from study.trials.inputs import TrialInputs, Worker, load_judges
from study.trials.trial import TrialRun
from taskct_core import schema
from taskct_core.contracts.files import open_folder, write_whole
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow, read_rows
from taskct_core.metrics import summarise
from taskct_core.metrics.slices import evaluate_images
from taskct_core.modes import MODES
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import build_trial_training
from taskct_core.training.trial import Training

SHOWN = (
    schema.PRIMARY_DICE,
    schema.PRIMARY_PSNR,
    schema.PRIMARY_SSIM,
    "dice_liver_patient_monai",
    "dice_tumour_patient_monai",
    "tumour_false_positives",
)
CONTROL = "control"
FRONT = "front"
RESAMPLES = 2000


@dataclass(frozen=True)
class Way:
    """One way to fine-tune.

    Attributes:
        trial: settings of the trial that differ from the experiment's.
        lesion_share: of the slices that get synthetic lesions in the second phase; None: the experiment's.
    """

    trial: dict[str, Any] = field(default_factory=dict)
    lesion_share: float | None = None


WAYS = {
    CONTROL: Way({"alpha": 0.0}),
    "task_loss": Way({"alpha": 0.5}),
    "task_loss_without_lesions": Way({"alpha": 0.5}, lesion_share=0.0),
    "lesions_in_every_slice": Way({"alpha": 0.5}, lesion_share=1.0),
    "full_dose_target": Way({"alpha": 0.5, "task_target": "full_dose"}),
    "full_dose_probabilities": Way({"alpha": 0.5, "task_target": "full_dose_probabilities"}),
    "focal_tversky": Way({"alpha": 0.5, "task_loss": "focal_tversky"}),
    "lesion_dice_ce": Way({"alpha": 0.5, "task_loss": "lesion_dice_ce"}),
    "alpha_0.8": Way({"alpha": 0.8}),
    "two_judges": Way({"alpha": 0.5, "judges": "random"}),
    "two_judges_full_dose_target": Way({"alpha": 0.5, "judges": "random", "task_target": "full_dose"}),
    "two_judges_full_dose_probabilities": Way(
        {"alpha": 0.5, "judges": "random", "task_target": "full_dose_probabilities"}
    ),
    FRONT: Way({"mode": "front", "front_anchors": [0.5, 0.8]}),
}
SINGLE_ALPHAS = {0.0: CONTROL, 0.5: "task_loss", 0.8: "alpha_0.8"}  # what a front is compared with


def inputs_of(experiment: Experiment, way: Way) -> TrialInputs:
    """What a way is trained with: its fresh samples. Needs a Ray session."""
    config = experiment.config
    if way.lesion_share is not None:
        draw = config.simulation.fresh_draw.model_copy(update={"lesion_share": way.lesion_share})
        config = config.model_copy(
            update={"simulation": config.simulation.model_copy(update={"fresh_draw": draw})}
        )
    fresh = fresh_samples(config, experiment.dataset, experiment.workspace.dataset)
    inputs = open_inputs(
        experiment.dataset, experiment.workspace, config.execution.data_path, experiment.trust, fresh
    )
    return replace(inputs, audit=experiment.audit, further_judges=experiment.further_judges)


def train(experiment: Experiment, way: Way, folder: TrialFolder, first_phase: Path) -> None:
    """Train a way, or continue it, from the first phase if that has been trained."""
    inputs = inputs_of(experiment, way)
    config = TrialConfig.parse(experiment.config.trial.model_dump() | way.trial)
    network, card = load_task_network(open_folder(inputs.task_network))
    judges, judges_hash = load_judges(inputs, config)
    training = build_trial_training(
        config, geometry=inputs.geometry, task_network=network, further_judges=judges
    )
    run = TrialRun(training, folder, inputs, Worker(), card.content_hash, judges_hash=judges_hash)
    shares_first_phase = isinstance(training, Training)
    if shares_first_phase and not run.rows_so_far and first_phase.is_file():
        training.load_state_dict(torch.load(first_phase, weights_only=True))
    switch = switch_of(config)
    while not run.is_trained:
        start = time.perf_counter()
        batches = inputs.feeds["train"].shuffled(
            config.batch_size, seed=config.seed, epoch=training.epoch + 1, share=Share()
        )
        losses = training.train_epoch(batches)
        row = run.end_epoch(
            {name: value for name, value in losses.items() if name != "samples"}, time.perf_counter() - start
        )
        shown = {name: round(value, 3) for name, value in _shown(row).items() if value is not None}
        print(folder.path.name, row[schema.EPOCH], shown, flush=True)
        if shares_first_phase and training.epoch == switch:
            write_whole(first_phase, lambda path: torch.save(training.state_dict(), path))
    run.finish()


def switch_of(config: TrialConfig) -> int:
    """The last epoch of the first phase."""
    return MODES[config.mode].epoch_of_phase(1, config.epochs, config.first_phase_share)[1]


def record(experiment: Experiment, ways: Path) -> dict[str, Any]:
    """Scores of every way that is trained, by split, and what full dose and FBP have."""
    result: dict[str, Any] = {"trial": experiment.config.trial.settings(), "ways": {}}
    for name, way in WAYS.items():
        final = TrialFolder.at(ways / name).final
        if final.is_file():
            scores = {row[schema.SPLIT]: _shown(row) for row in read_rows(final) if schema.ALPHA not in row}
            gains = {} if name == CONTROL else gains_over_control(ways, name)
            told = {
                "trial": way.trial,
                "lesion_share": way.lesion_share,
                "tumour_pixels": tumour_rates(ways, name),
            }
            result["ways"][name] = told | scores | gains
    result |= {"references": references(experiment)}
    compared = [TrialFolder.at(ways / name).final for name in (FRONT, *SINGLE_ALPHAS.values())]
    if all(final.is_file() for final in compared):
        fbp = result["references"][schema.FBP]
        result[FRONT] = {split: front_against_single(ways, split, fbp[split]) for split in fbp}
    return result


def front_against_single(ways: Path, split: str, fbp: dict[str, float]) -> dict[str, Any]:
    """Points (alpha, mean Dice, PSNR) of the front and of the trainings at single alphas; the area that the front's
    dominate beyond FBP over that of the others; of its points, those that no other of its points dominates."""
    rows = [row for row in read_rows(TrialFolder.at(ways / FRONT).final) if row[schema.SPLIT] == split]
    front = [(row[schema.ALPHA], *_place(row)) for row in rows if schema.ALPHA in row]
    single = [
        (alpha, *_place(row))
        for alpha, name in SINGLE_ALPHAS.items()
        for row in read_rows(TrialFolder.at(ways / name).final)
        if row[schema.SPLIT] == split
    ]
    directions = [schema.METRICS[name].direction for name in AXES]
    places, single_places = (np.array(points)[:, 1:] for points in (front, single))
    areas = [hypervolume(points, _place(fbp), directions) for points in (places, single_places)]
    return {
        "points": front,
        "single": single,
        "hypervolume_share": areas[0] / areas[1],
        "nondominated_share": float(non_dominated(places, directions).mean()),
    }


def _place(scores: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(scores[name] for name in AXES)


def tumour_rates(ways: Path, name: str) -> dict[str, dict[str, float]]:
    """Sensitivity and precision of the first judge's tumour pixels, by split."""
    samples = pd.read_parquet(ways / name / TrialFolder.samples)
    counts = [f"tumour_{kind}_pixels" for kind in ("overlap", "true", "predicted")]
    sums = samples.groupby(schema.SPLIT)[counts].sum()
    rates = pd.DataFrame(
        {"sensitivity": sums[counts[0]] / sums[counts[1]], "precision": sums[counts[0]] / sums[counts[2]]}
    )
    return {str(split): row for split, row in rates.to_dict("index").items()}


def gains_over_control(ways: Path, name: str) -> dict[str, Any]:
    """Gains in pooled Dice over the control, with 95 % intervals over slices: they say nothing about other patients."""
    control, way = (
        pd.read_parquet(ways / each / TrialFolder.samples).sort_values([schema.PATIENT, schema.SLICE_INDEX])
        for each in (CONTROL, name)
    )
    gains: dict[str, Any] = {}
    for split in control[schema.SPLIT].unique():
        before, after = (table[table[schema.SPLIT] == split] for table in (control, way))
        drawn = np.random.default_rng(0).integers(len(before), size=(RESAMPLES, len(before)))
        for structure, suffix in product(("liver", "tumour"), ("", schema.AUDIT_NETWORK_SUFFIX)):
            names = [f"{structure}_{kind}_pixels" for kind in ("overlap", "true", "predicted")]
            columns = [names[0] + suffix, names[1], names[2] + suffix]
            counts = [table[columns].to_numpy(float) for table in (before, after)]
            draws = pooled_dice(counts[1][drawn].sum(1)) - pooled_dice(counts[0][drawn].sum(1))
            gain = float(pooled_dice(counts[1].sum(0)) - pooled_dice(counts[0].sum(0)))
            gains[f"dice_{structure}{suffix}_gain_{split}"] = [gain, *np.percentile(draws, [2.5, 97.5])]
    return gains


def pooled_dice(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dice of ``(..., 3)`` voxels: overlap, true and predicted."""
    dice: NDArray[np.float64] = 2 * counts[..., 0] / (counts[..., 1] + counts[..., 2])
    return dice


def references(experiment: Experiment) -> dict[str, Any]:
    """What both judges see of the full-dose and the low-dose image."""
    card, workspace = experiment.dataset, experiment.workspace
    scores: dict[str, Any] = {}
    for split in ("validation", "test"):
        feed = TableFeed([pq.read_table(path) for path in card.shard_paths(workspace.dataset, split)])
        for column in (schema.FULL_DOSE, schema.FBP):
            here = scores.setdefault(column, {}).setdefault(split, {})
            for suffix, folder in (
                ("", workspace.task_network),
                (schema.AUDIT_NETWORK_SUFFIX, experiment.audit),
            ):
                assert folder is not None
                network, _ = load_task_network(open_folder(folder))
                found = summarise(evaluate_images(network, feed.ordered(16, share=Share()), column))
                here |= {
                    name + suffix: found[name] for name in SHOWN if math.isfinite(found.get(name, math.nan))
                }
    return scores


def _shown(row: EpochRow) -> dict[str, Any]:
    names = (schema.KEPT_EPOCH, *SHOWN, *(name + schema.AUDIT_NETWORK_SUFFIX for name in SHOWN))
    return {name: value for name, value in row.items() if name in names}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--set", action="append", dest="overrides", help="a.b=value of the experiment")
    parser.add_argument("--ways", nargs="*", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--json", type=Path, help="write the record of all ways that are trained")
    options = parser.parse_args()
    experiment = Experiment(load_experiment(options.experiment, options.overrides))
    ways = experiment.workspace.root / "ways"
    first_phase = ways / "first_phase.pt"
    if options.ways and CONTROL not in options.ways and not first_phase.is_file():
        parser.error(f"the first phase is the {CONTROL}'s: name it too")
    missing = [
        name for name in WAYS if name in options.ways and not TrialFolder.at(ways / name).final.is_file()
    ]
    with ray_session(num_cpus=2) if missing else nullcontext():
        for name in missing:
            train(experiment, WAYS[name], TrialFolder.at(ways / name), first_phase)
    if options.json:
        write_result(options.json, record(experiment, ways))


if __name__ == "__main__":
    main()
