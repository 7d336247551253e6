"""Is a whole front from one training as good as independent trainings at many alphas, and what does it cost?

    python benchmarks/front_training.py
    python benchmarks/front_training.py --seeds 5 --epochs 20 --json result.json   # flat keys, and a row a way
    python benchmarks/front_training.py --only stack
    python benchmarks/front_training.py --only stack --device cuda

Phantoms, a small U-Net. Each seed trains ``--alphas`` independent networks of ``--epochs`` epochs, and a front of twice
as many epochs in each way; all are scored at those alphas on test patients, whom nothing was chosen on.

``hypervolume_share``: area beyond plain FBP in Dice and PSNR that the front's points dominate, over that of the
independent ones; mean over seeds, ``worst_seed_share`` the least. ``cost_ratio``: processor time of the independent
trainings over that of the front, validation included. ``nondominated_share``: of the front's points, those that no
other of its points dominates; ``monotone_share``: of its neighbours in alpha, those where Dice does not fall and PSNR
does not rise. These are of the default way; ``ways`` has all of them. ``stack_speedup``: processor time of 8 U-Nets of
width 8 trained one after the other over that of the same 8 as a stack, each with one thread, and on a GPU seconds that
pass; ``stack_error``: the largest difference of their images and losses after an epoch. Both are of the device's default
way to call a stack, and again with the name of each way.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
import torch
from bench_record import write_result
from scipy import stats
from small_study import SETTINGS, prepare_here, table_feed

from analysis.pareto import hypervolume, non_dominated
from study.data.batches import Share
from taskct_core import schema
from taskct_core.metrics import summarise
from taskct_core.metrics.slices import evaluate_images, sample_of
from taskct_core.modes import FRONT_WAYS
from taskct_core.reconstructors import build_reconstructor
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import FrontTraining, build_trial_training
from taskct_core.training.stack import How, StackedTraining, TrainingStack
from taskct_core.training.trial import Training, build_training

AXES = (schema.PRIMARY_DICE, schema.PRIMARY_PSNR)
DIRECTIONS = ("maximize", "maximize")
BATCH_SIZE = 8
Points = np.ndarray  # (alpha, 2): Dice and PSNR on the test split


@dataclass(frozen=True)
class Scored:
    """A front's points, and the processor seconds of training and validation."""

    points: Points
    seconds: float


class Setting:
    """Phantoms of a preset, and a task network."""

    def __init__(self, folder: Path, preset: str, pretraining: int, slices: int) -> None:
        source = {"kind": "phantom", "patients": 12, "slices_per_patient": slices, "pixels": 128, "seed": 1}
        _experiment, workspace, card = prepare_here(
            folder,
            preset,
            data={"source": source, "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
            simulation={"preset": preset, "photons_per_ray": 1024.0, "fresh": False},
            task_network=SETTINGS["task_network"] | {"epochs": pretraining, "window_hu": [-20, 200]},
        )
        self.network, _ = load_task_network(workspace.task_network)
        self.feeds = {split: table_feed(card, workspace.dataset, split) for split in schema.SPLITS}

    def batches(self, split: str) -> Any:
        return self.feeds[split].ordered(16, share=Share())

    def to_keep_by(self, config: TrialConfig) -> Any:
        """What an epoch is scored on; one slice where the last epoch is kept whatever its scores."""
        if config.keep == "best":
            return self.batches("validation")
        return [sample_of(next(iter(self.batches("validation"))), 0)]

    def train(self, training: Training | FrontTraining) -> None:
        """One epoch."""
        config = training.config
        order = self.feeds["train"].shuffled(
            BATCH_SIZE, seed=config.seed, epoch=training.epoch + 1, share=Share()
        )
        training.train_epoch(order)

    def test(self, training: Training | FrontTraining) -> list[float]:
        scores = summarise(training.evaluate(self.batches("test")))
        return [scores[name] for name in AXES]

    def fbp(self) -> list[float]:
        scores = summarise(evaluate_images(self.network, self.batches("test"), "fbp"))
        return [scores[name] for name in AXES]


def independent(setting: Setting, base: dict[str, Any], alphas: list[float]) -> Scored:
    """A training for each alpha."""
    points, seconds = [], 0.0
    for alpha in alphas:
        start = time.process_time()
        config = TrialConfig.parse(base | {"mode": "task_adaptive", "alpha": alpha})
        training = build_training(config, geometry=None, task_network=setting.network)
        while training.epoch < config.epochs:
            setting.train(training)
            rows = training.evaluate(setting.to_keep_by(config))
            training.keep(rows, summarise(rows))
        training.use_kept()
        seconds += time.process_time() - start
        points.append(setting.test(training))
    return Scored(np.array(points), seconds)


def front(setting: Setting, base: dict[str, Any], alphas: list[float], way: str) -> Scored:
    """One training for all alphas, of twice the epochs."""
    start = time.process_time()
    changes = {"mode": "front", "front_way": way, "front_alphas": alphas, "epochs": 2 * base["epochs"]}
    training = build_trial_training(
        TrialConfig.parse(base | changes), geometry=None, task_network=setting.network
    )
    assert isinstance(training, FrontTraining)

    def measure() -> list[Any]:
        return training.evaluate(setting.batches("validation"))

    while training.epoch < training.config.epochs:
        setting.train(training)
        rows = {}
        for alpha in training.epoch_alphas:
            training.show_while_training(alpha)
            rows[alpha] = training.evaluate(setting.to_keep_by(training.config))
        training.keep(rows, summarise(rows[training.epoch_alphas[0]]))
    training.settle(measure, summarise)
    seconds = time.process_time() - start
    points: dict[float, list[float]] = {}  # by position: several alphas may have the same
    for alpha in alphas:
        position = training.at(alpha).position
        if position not in points:
            training.show(position)
            points[position] = setting.test(training)
    return Scored(np.array([points[training.at(alpha).position] for alpha in alphas]), seconds)


def measures(found: Scored, reference: Scored, fbp: list[float]) -> dict[str, float]:
    """What the module's text names, of one seed."""
    area, area_of_reference = (hypervolume(s.points, fbp, DIRECTIONS) for s in (found, reference))
    steps = np.diff(found.points, axis=0)
    differences = np.abs(found.points - reference.points).mean(axis=0)
    return {
        "hypervolume_share": area / area_of_reference,
        "cost_ratio": reference.seconds / found.seconds,
        "nondominated_share": float(non_dominated(found.points, DIRECTIONS).mean()),
        "monotone_share": float(((steps[:, 0] >= 0) & (steps[:, 1] <= 0)).mean()),
        "distinct_points": float(len(np.unique(found.points, axis=0))),
        "dice_from_independent": float(differences[0]),
        "psnr_from_independent_db": float(differences[1]),
    }


def with_interval(values: list[float]) -> dict[str, Any]:
    """Mean, 95 % interval of the mean by Student's t over seeds, the least, and the values."""
    mean, low, high = float(np.mean(values)), math.nan, math.nan
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
        low, high = mean - half, mean + half
    return {"mean": mean, "low": low, "high": high, "least": min(values), "seeds": values}


def fronts(folder: Path, options: argparse.Namespace, save: Any) -> None:
    """Compare the ways seed by seed; what is known is saved after each."""
    setting = Setting(folder, options.preset, options.pretraining, options.slices)
    fbp = setting.fbp()
    alphas = [round(float(alpha), 6) for alpha in np.linspace(0, 1, options.alphas)]
    base: dict[str, Any] = {
        "epochs": options.epochs,
        "batch_size": BATCH_SIZE,
        "learning_rate": options.learning_rate,
        "architecture": "unet",
        "architecture_parameters": {"width": options.width},
        "weight_average": 0.9,
        "keep": options.keep,
    }
    if options.anchors:
        base["front_anchors"] = options.anchors
    rows: dict[str, dict[str, Any]] = {}
    if options.json and options.json.is_file():
        known = json.loads(options.json.read_text(encoding="utf-8"))
        rows = known.get("rows", {}) if known.get("settings") == base | {"preset": options.preset} else {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        seeded = base | {"seed": seed}
        reference = independent(setting, seeded, alphas)
        _tell(f"seed {seed}, independent", reference, fbp)
        here: dict[str, Any] = {
            "independent": {
                "nondominated_share": float(non_dominated(reference.points, DIRECTIONS).mean()),
                "points": reference.points.tolist(),
            }
        }
        for way in FRONT_WAYS:
            found = front(setting, seeded, alphas, way)
            here[way] = measures(found, reference, fbp) | {"points": found.points.tolist()}
            _tell(f"seed {seed}, {way}", found, fbp)
        rows[str(seed)] = here
        save(summary(rows) | {"settings": base | {"preset": options.preset}, "fbp": fbp, "rows": rows})


def summary(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The keys that the module's text names, over all seeds that are there."""
    default = TrialConfig().front_way
    names = [name for name in rows[next(iter(rows))][default] if name != "points"]
    ways = {
        way: {name: with_interval([row[way][name] for row in rows.values()]) for name in names}
        for way in FRONT_WAYS
    }
    best = ways[default]
    independent_shares = [row["independent"]["nondominated_share"] for row in rows.values()]
    return {
        "seeds": len(rows),
        "default_way": default,
        "hypervolume_share": best["hypervolume_share"]["mean"],
        "worst_seed_share": best["hypervolume_share"]["least"],
        "cost_ratio": best["cost_ratio"]["mean"],
        "nondominated_share": best["nondominated_share"]["mean"],
        "nondominated_share_of_independent": float(np.mean(independent_shares)),
        "ways": ways,
    }


def _tell(what: str, scored: Scored, fbp: list[float]) -> None:
    area = hypervolume(scored.points, fbp, DIRECTIONS)
    ends = ", ".join(f"{dice:.3f} at {psnr:.2f} dB" for dice, psnr in scored.points[[0, -1]])
    print(f"{what}: {area:.4f} in {scored.seconds:.1f} s; ends {ends}", file=sys.stderr, flush=True)


def stack(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """8 U-Nets of width 8 one after the other and as a stack."""
    setting = Setting(folder, options.preset, pretraining=1, slices=options.slices)
    device = torch.device(options.device)
    network = setting.network.to(device).freeze()
    settings: dict[str, Any] = {"architecture_parameters": {"width": 8}, "batch_size": BATCH_SIZE}
    configs = [TrialConfig.parse(settings | {"alpha": n / 8, "seed": n % 2}) for n in range(8)]

    def made(kind: Any) -> list[Any]:
        trainings = []
        for config in configs:
            torch.manual_seed(config.seed)
            module = build_reconstructor("unet", config.architecture_parameters).to(device)
            trainings.append(kind(config, module, network, None, device, lambda module: module))
        return trainings

    def order(config: TrialConfig) -> list[Any]:
        return list(setting.feeds["train"].shuffled(BATCH_SIZE, seed=config.seed, epoch=1, share=Share()))

    batches = [order(config) for config in configs]
    seconds: dict[str, list[float]] = {}
    errors: dict[str, float] = {}
    hows: tuple[How, How] = ("loop", "vmap")
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for _ in range(options.rounds):
        alone = made(Training)
        start = clock()
        expected = [training.train_epoch(own) for training, own in zip(alone, batches, strict=True)]
        seconds.setdefault("alone", []).append(clock() - start)
        for how in hows:
            together: list[StackedTraining] = made(StackedTraining)
            start = clock()
            found = TrainingStack(together, how).train_epoch(together, batches)
            seconds.setdefault(how, []).append(clock() - start)
            errors[how] = max(
                _difference(pair, figures, batches[0][0])
                for *pair, figures in zip(alone, together, zip(expected, found, strict=True), strict=True)
            )
    ratios = {how: np.divide(seconds["alone"], seconds[how]) for how in hows}
    default: How = "loop" if device.type == "cpu" else "vmap"
    result = {"stack_speedup": float(np.median(ratios[default])), "stack_error": errors[default]}
    for how in hows:
        result |= {
            f"stack_speedup_{how}": float(np.median(ratios[how])),
            f"stack_speedup_{how}_worst": float(ratios[how].min()),
            f"stack_error_{how}": errors[how],
        }
    return result


def _difference(pair: list[Any], figures: Any, batch: Any) -> float:
    alone, together = (training.reconstruct(batch) for training in pair)
    expected, found = figures
    losses = max(abs(found[name] - expected[name]) / max(1.0, abs(expected[name])) for name in expected)
    return max(losses, float((alone - together).abs().max()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="tiny", help="of the scanner: tiny has 64 px, small 128")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="seeds in --json of the same settings stay")
    parser.add_argument("--slices", type=int, default=8, help="of each of 12 patients")
    parser.add_argument("--alphas", type=int, default=21)
    parser.add_argument("--epochs", type=int, default=16, help="of an independent training")
    parser.add_argument("--keep", choices=["best", "last"], default="best", help="epoch of each training")
    parser.add_argument("--width", type=int, default=4, help="of the U-Net")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--pretraining", type=int, default=15, help="epochs of the task network")
    parser.add_argument(
        "--anchors", type=float, nargs="+", help="of the interpolated way, if not its default"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of the stack's timing")
    parser.add_argument("--device", default="cpu", help="of the stack: cpu or cuda (default cpu)")
    parser.add_argument("--only", choices=["fronts", "stack"], help="one of its parts")
    parser.add_argument(
        "--json", type=Path, help="write the result here; with --only, beside the other part's"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    if options.only and options.json and options.json.is_file():
        result = json.loads(options.json.read_text(encoding="utf-8"))  # the other part's results stay

    def save(found: dict[str, Any]) -> None:
        result.update(found)
        for key, value in found.items():
            if isinstance(value, float):
                print(f"{key:>34}: {value:.4g}", flush=True)
        if options.json:
            gpu = {"gpu": torch.cuda.get_device_name()} if options.device != "cpu" else {}
            write_result(options.json, result | {"device": options.device} | gpu)

    with tempfile.TemporaryDirectory() as folder:
        if options.only != "fronts":
            save(stack(Path(folder) / "stack", options))
        if options.only != "stack":
            fronts(Path(folder) / "fronts", options, save)


if __name__ == "__main__":
    main()
