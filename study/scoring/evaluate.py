"""Scores trained trials and references on any dataset, without training: another dose, another patient.

Appends to ``evaluations.parquet`` in the study folder: one row a method and split, with the hash and dose of
the data it was scored on, so that results on different data never pass for each other; and the slices' rows to
``evaluation-samples.parquet``, so that their statistics can be paired. A second task network
that took no part in the training can judge beside the first (cross-task audit): a gain that only fools the
frozen network does not show in its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch

from study.data.batches import to_batch
from study.data.dataset import DatasetCard, load_card, verify_shards
from study.data.leakage import check_no_leakage
from study.data.shards import from_table, read_batches
from study.provenance import provenance
from study.run import load_study
from study.scoring.judges import Judges
from study.scoring.outside import OutsideCheckpoint
from study.scoring.reference_scorer import IMAGES
from study.search.storage.records import best_records
from study.trials.checkpoint import read_checkpoint
from study.trials.plugins import own_scores
from study.trials.trial_config import read_trial_config
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.rows import Batch, EpochRow, SliceRow, epoch_row, slice_row
from taskct_core.contracts.study_card import StudyCard
from taskct_core.contracts.tables import read_frame, write_table
from taskct_core.errors import ConfigError, DataError, first_line
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.measure import measure
from taskct_core.image_quality.probes import Probe, make_probes
from taskct_core.metrics import summarise
from taskct_core.metrics.slices import evaluate
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.simulation.config import SimulationConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.front import FrontTraining, build_trial_training
from taskct_core.training.trial import Training

DATASET = "dataset"  # folder that a row was scored on
CHECKPOINT_HASH = "checkpoint_hash"  # of a network from elsewhere
OUTSIDE_TRIAL = -100  # number of rows of networks from elsewhere, told apart by their method
_BATCH_SIZE = 16
Reconstruct = Callable[[Batch], torch.Tensor]


def evaluate_study(
    study_folder: StudyFolder | Path,
    dataset: Path | None = None,
    trials: Sequence[int] | None = None,
    split: str = "test",
    audit: Path | None = None,
    outside: OutsideCheckpoint | None = None,
    trust: Trust = BUILT_IN_ONLY,
    image_quality: ImageQualityConfig | None = None,
) -> pd.DataFrame:
    """Score trials, the full-dose image, plain FBP and a network from elsewhere on one split of a dataset.

    Args:
        study_folder: that the trials belong to.
        dataset: folder of the data to score on; the study's own by default.
        trials: numbers of trained trials; by default those of the front.
        split: of the dataset.
        audit: folder of a second task network.
        outside: a reconstructor that was trained elsewhere, scored as well.
        trust: which plug-ins the folders may name.
        image_quality: what is inserted into livers to measure image quality on; None: it is not measured.

    Returns:
        The new rows, which are also appended to the study's evaluations; rows of the same trial, data and
        task networks are replaced.

    Raises:
        ConfigError, DataError: if the split, a trial, the dataset or a task network is not valid.
    """
    study = StudyFolder.at(study_folder)
    known = _study_card(study, trust)
    dataset = dataset or open_folder(known.folders["dataset"])
    card = _checked(dataset, split)
    judges = Judges.load(open_folder(known.folders["task_network"]), audit, trust)
    scored = {split: card.patients[split]}
    judges.check_no_leakage(scored)
    check_no_leakage(scored, known.dataset["patients"], "a trial")
    if trials is None:
        trials = [record.trial for record in best_records(load_study(study.path))]
    quality = image_quality or ImageQualityConfig()
    probes = _probes(card, dataset, split, trust, quality)
    scorer = _Scorer(card, dataset, split, judges, known.objectives, quality, probes)
    scorer.score_images()
    if outside is not None:
        scorer.score_outside(outside, trust)
    for trial in trials:
        scorer.score_trial(study.trial(trial), trial, trust)
    return scorer.append_to(study)


def _probes(
    card: DatasetCard, dataset: Path, split: str, trust: Trust, quality: ImageQualityConfig
) -> list[Probe]:
    if not quality.backgrounds:
        return []
    simulation = SimulationConfig.of_dataset(card.simulation)
    return make_probes(lambda: _batches(card, dataset, split), card.scan(trust), simulation, quality)


class _Scorer:
    """Scores reconstructors on one split of a dataset, and collects the rows of both tables."""

    def __init__(
        self,
        card: DatasetCard,
        dataset: Path,
        split: str,
        judges: Judges,
        objectives: Sequence[str],
        quality: ImageQualityConfig,
        probes: Sequence[Probe],
    ) -> None:
        self._card, self._dataset, self._split = card, dataset, split
        self._judges = judges
        self._objectives = objectives
        self._shared = _shared_columns(card, dataset, split) | judges.hashes
        self.rows: list[EpochRow] = []
        self.samples: list[SliceRow] = []
        self.curves: list[dict[str, object]] = []
        self._quality, self._probes = quality, probes

    def score(self, identity: Mapping[str, object], reconstruct: Reconstruct) -> None:
        batches = _batches(self._card, self._dataset, self._split)
        scored = evaluate(batches, reconstruct, self._judges.networks)
        keys = {name: self._shared[name] for name in (schema.SPLIT, schema.DATA_HASH, *self._judges.hashes)}
        self.samples += [slice_row(identity, keys, row) for row in scored]
        scores = summarise(scored) | own_scores(self._objectives, scored)
        measured = measure(self._probes, reconstruct, self._quality)
        self.curves += measured.curve_rows({**identity, **keys})
        self.rows.append(epoch_row(identity, self._shared, scores, measured.columns))

    def score_images(self) -> None:
        """Score the images that the dataset itself holds, full dose and FBP."""
        for number, (method, column) in enumerate(IMAGES.items(), start=1):
            self.score({schema.TRIAL: -number, schema.METHOD: method}, itemgetter(column))

    def score_outside(self, outside: OutsideCheckpoint, trust: Trust) -> None:
        reconstruct, parameters = outside.load(self._card, trust)
        identity = {schema.TRIAL: OUTSIDE_TRIAL, schema.METHOD: outside.name, schema.PARAMETERS: parameters}
        self.score({**identity, CHECKPOINT_HASH: outside.content_hash}, reconstruct)

    def score_trial(self, folder: TrialFolder, trial: int, trust: Trust) -> None:
        training = load_trained(folder, self._card, self._judges.networks[""], trust)
        self.score({schema.TRIAL: trial, schema.METHOD: training.config.mode}, training.reconstruct)

    def append_to(self, study: StudyFolder) -> pd.DataFrame:
        """Add what was scored to the study's evaluations; the new rows."""
        frame = pd.DataFrame(self.rows)
        _append(study.evaluations, frame, [])
        samples = pd.DataFrame(self.samples)
        _append(study.evaluation_samples, samples, [schema.PATIENT, schema.SLICE_INDEX])
        if self.curves:
            curves = pd.DataFrame(self.curves)
            _append(study.evaluation_image_quality, curves, [schema.CURVE, schema.FREQUENCY])
        return frame


def load_trained(
    folder: TrialFolder, card: DatasetCard, task_network: TaskNetwork, trust: Trust = BUILT_IN_ONLY
) -> Training | FrontTraining:
    """A trained trial, ready to reconstruct slices of a dataset.

    Raises:
        ConfigError: if it names a plug-in that is not trusted.
        DataError: if the folder has no checkpoint.
    """
    config = read_trial_config(folder, trust)
    if not folder.checkpoint.is_file():
        raise DataError(
            "a trial must have a checkpoint to be scored",
            f"none in {folder}",
            "It failed before its first epoch, or has not finished it yet.",
        )
    training = build_trial_training(config, geometry=card.scan(trust), task_network=task_network)
    checkpoint = read_checkpoint(folder)
    try:
        training.load_state_dict(checkpoint["training"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            "a trial's checkpoint must fit its configuration",
            f"{folder.checkpoint} beside {folder.config} ({first_line(error)})",
            "Restore both from one copy.",
        ) from None
    if isinstance(training, Training):  # a front shows what it keeps
        training.use_kept()
    return training


def _study_card(study: StudyFolder, trust: Trust) -> StudyCard:
    """The study's card, of which ``trust`` allows the objectives.

    Raises:
        ConfigError: if an objective is a plug-in that is not trusted.
        DataError: if there is none.
    """
    if not study.card.is_file():
        raise DataError(f"a study folder must hold {StudyFolder.card}", str(study), "Run the study first.")
    card = StudyCard.read(study.card)
    for name in card.objectives:
        trust.require(name, schema.OBJECTIVES, "objective", study.card)
    return card


def _photons(card: DatasetCard) -> object:
    """Photons a ray, whichever word the dose was given in: a number, or a pair that they were drawn between."""
    return card.dose.get("photons_per_ray", card.simulation.get("photons_per_ray"))


def _shared_columns(card: DatasetCard, dataset: Path, split: str) -> dict[str, str]:
    return {
        schema.SPLIT: split,
        schema.DATA_HASH: card.data_hash,
        schema.METRIC_POLICY: schema.POLICY_TEXT,
        DATASET: str(dataset),
        "simulation_photons_per_ray": str(_photons(card)),
        "simulation_preset": str(card.simulation.get("preset")),
    } | provenance("cpu")


def _checked(dataset: Path, split: str) -> DatasetCard:
    if split not in schema.SPLITS:
        raise ConfigError(f"--split must be one of {', '.join(schema.SPLITS)}", repr(split), "Correct it.")
    card = load_card(dataset)
    verify_shards(dataset, card)
    if not card.shards[split]:
        filled = ", ".join(name for name in schema.SPLITS if card.shards[name])
        raise DataError(
            "the split to score must hold samples",
            f"none in {split} of {dataset}",
            f"It has samples in {filled}.",
        )
    return card


def _batches(card: DatasetCard, dataset: Path, split: str) -> Iterator[Batch]:
    for path in card.shard_paths(dataset, split):
        for samples in read_batches(path, _BATCH_SIZE):
            yield to_batch(from_table(samples))


def _append(path: Path, new: pd.DataFrame, sample: list[str]) -> None:
    """Add rows to a table; those of the same trial, data and networks (and ``sample`` columns) are replaced."""
    hashes = [schema.DATA_HASH, schema.TASK_NETWORK_HASH, schema.AUDIT_NETWORK_HASH]
    identity = [schema.TRIAL, schema.METHOD, schema.SPLIT, *hashes, *sample]
    if path.is_file():
        old = read_frame(path, next_step="Move it away: evaluations then begin a new table.")
        new = pd.concat([old, new], ignore_index=True)
    new = new.reindex(
        columns=[*new.columns, *([] if schema.AUDIT_NETWORK_HASH in new else [schema.AUDIT_NETWORK_HASH])]
    )
    new = new.drop_duplicates(identity, keep="last")
    write_table(path, pa.Table.from_pandas(new, preserve_index=False))
