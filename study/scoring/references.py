"""The bounds of a comparison: the full-dose image, reconstructions without learning, and networks made elsewhere.

Scored once a study with the metrics and the task network of its trials. FBP is the dataset's own. TV and SIRT
need the sinograms (``simulation.store_sinogram``); their settings are tuned on validation slices, for PSNR, as
nobody would use them untuned. Networks of ``study.references`` are scored as they are, and again when their file or
settings change. Writes references.json, references-samples.parquet and panels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from study.data.batches import Share
from study.provenance import provenance
from study.scoring.reference_scorer import IMAGES, Piece, ReferenceScorer, timed
from study.search.events import ReferencesAdvanced
from study.trials.inputs import TrialInputs
from study.trials.panels import write_panel, write_panel_truth
from study.trials.plugins import own_scores
from study.trials.record import save_samples
from study.trials.repeats import Repeats, folds_of, means_over_patients, means_over_runs
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import (
    Batch,
    EpochRow,
    SliceRow,
    epoch_row,
    read_rows,
    slice_row,
    write_rows,
)
from taskct_core.contracts.tables import read_frame
from taskct_core.errors import DataError
from taskct_core.image_quality.measure import ImageQuality
from taskct_core.metrics import summarise
from taskct_core.reconstructors.classical import CANDIDATES, Settings
from taskct_core.reconstructors.config import ReferenceNetworkConfig
from taskct_core.reconstructors.imported import described
from taskct_core.task_networks import load_task_network_card

ITERATIVE = ("tv", "sirt")  # references computed from the sinogram
BUILT_IN = (*IMAGES, *ITERATIVE)
PARTS = 16  # that a split is scored in
# What becomes of pieces of the work: each one's value and its processor's seconds, in their order.
Run = Callable[[Sequence[Piece]], Iterable[tuple[Any, float]]]


def missing_references(
    study_folder: StudyFolder | Path,
    has_sinograms: bool,
    networks: Sequence[ReferenceNetworkConfig] = (),
) -> list[str]:
    """The references that a study does not have yet, if its dataset has sinograms or none.

    Raises:
        DataError: if a network's file is missing.
    """
    rows, _ = _known(StudyFolder.at(study_folder))
    known = {row[schema.METHOD]: row.get(schema.REFERENCE_SETTINGS) for row in rows}
    missing = [method for method in (*IMAGES, *ITERATIVE * has_sinograms) if method not in known]
    return missing + [config.name for config in networks if known.get(config.name) != described(config)]


def write_references(
    study_folder: StudyFolder | Path,
    inputs: TrialInputs | Repeats,
    on_row: Callable[[EpochRow], None] = lambda _row: None,
    on_advance: Callable[[ReferencesAdvanced], None] = lambda _advanced: None,
    run: Run | None = None,
) -> None:
    """Score the references on the validation and test slices, but for those that the folder has already.

    Each is written once, whole, as soon as it is scored on all of them. Where the files are damaged, all are scored
    again. Of folds each has its own tuning, and the scores of a reference are means over patients.

    Args:
        study_folder: of the study.
        inputs: what its trials share.
        on_row: called with the scores of each reference on each split, once they are written.
        on_advance: called with how far the work is.
        run: does the pieces of the work; None: this process, one after another.
    """
    scoring = _Scoring(StudyFolder.at(study_folder), inputs, run or _in_this_process(inputs), on_advance)
    for row in scoring.write():
        on_row(row)


def _in_this_process(inputs: TrialInputs | Repeats) -> Run:
    scorer = ReferenceScorer(inputs)
    return lambda pieces: (timed(piece, scorer) for piece in pieces)


@dataclass
class _Scoring:
    """The references of one study."""

    study: StudyFolder
    inputs: TrialInputs | Repeats
    run: Run
    on_advance: Callable[[ReferencesAdvanced], None]
    done: int = 0
    total: int = 0
    folds: dict[int | None, TrialInputs] = field(init=False)
    hashes: dict[str, str] = field(init=False)  # of the judges, by column

    def __post_init__(self) -> None:
        self.folds = folds_of(self.inputs)
        network = load_task_network_card(open_folder(self.shared.task_network))
        self.hashes = {schema.TASK_NETWORK_HASH: network.content_hash}
        if self.shared.audit is not None:
            audit = load_task_network_card(open_folder(self.shared.audit))
            self.hashes[schema.AUDIT_NETWORK_HASH] = audit.content_hash

    @property
    def shared(self) -> TrialInputs:
        """What is the same for all folds, from the first."""
        return next(iter(self.folds.values()))

    def write(self) -> Iterator[EpochRow]:
        rows, samples = _known(self.study)
        [(has_sinograms, _)] = self.run([ReferenceScorer.has_sinograms])
        missing = missing_references(self.study, has_sinograms, self.shared.references)
        kept = {*BUILT_IN, *self._networks} - {*missing}
        if {row[schema.METHOD] for row in rows} - kept:  # networks that are no longer named, or have changed
            rows = [row for row in rows if row[schema.METHOD] in kept]
            samples = [row for row in samples if row[schema.METHOD] in kept]
            self._save(rows, samples)
        self.total = sum(map(self._pieces_of, missing))
        for method in missing:
            new_rows, new_samples = self._score(method, _free_number(method, rows))
            rows, samples = rows + new_rows, samples + new_samples
            self._save(rows, samples)
            yield from new_rows

    def _save(self, rows: list[EpochRow], samples: list[SliceRow]) -> None:
        save_samples(self.study.reference_samples, samples)
        write_rows(self.study.references, rows)

    @property
    def _panels(self) -> dict[int | None, Batch]:
        """The slices of each fold that reports show."""
        return {fold: inputs.panel for fold, inputs in self.folds.items() if inputs.panel}

    @property
    def _splits(self) -> list[str]:
        return [split for split in schema.SCORED_SPLITS if split in self.shared.feeds]

    def _pieces_of(self, method: str) -> int:
        tuning = len(CANDIDATES[method]) if method in ITERATIVE else 0
        probed = sum(map(self._is_probed, self._splits))
        a_fold = tuning + PARTS * len(self._splits) + probed
        return a_fold * len(self.folds) + len(self._panels)

    def _score(self, method: str, number: int) -> tuple[list[EpochRow], list[SliceRow]]:
        """Rows of one reference on every split, and of their slices."""
        tuned = {fold: self._tuned(method, fold) if method in ITERATIVE else ({}, 0.0) for fold in self.folds}
        settings = {fold: found for fold, (found, _) in tuned.items()}
        seconds = sum(took for _, took in tuned.values())
        self._write_panel(method, settings)
        [(parameters, _)] = self.run([partial(ReferenceScorer.parameters, method=method)])
        rows, samples = list[EpochRow](), list[SliceRow]()
        for split in self._splits:
            scored = list[SliceRow]()
            for fold in self.folds:
                parts = list(self._advancing(method, _pieces(method, settings[fold], split, fold)))
                seconds += sum(took for _, took in parts)
                where = {} if fold is None else {schema.FOLD: fold}
                scored += [slice_row(where, row) for part, _ in parts for row in part]
            identity = {schema.TRIAL: number, schema.METHOD: method, schema.SPLIT: split}
            samples += [slice_row(identity, row) for row in scored]
            cost = {schema.EPOCH: 0, schema.SECONDS: seconds, schema.PARAMETERS: parameters}
            scores = self._scores(scored) | self._measured(method, settings, split, identity)
            rows.append(
                epoch_row(identity, cost, self._described(method, settings), scores, provenance("cpu"))
            )
        return rows, samples

    def _measured(
        self, method: str, settings: dict[int | None, Settings], split: str, identity: dict[str, Any]
    ) -> dict[str, float]:
        """Image quality on inserted lesions, where it is asked for; the curves go to their own file."""
        if not self._is_probed(split):
            return {}
        pieces = [
            partial(
                ReferenceScorer.image_quality, method=method, settings=settings[fold], split=split, fold=fold
            )
            for fold in self.folds
        ]
        found: list[ImageQuality] = [result for result, _ in self._advancing(method, pieces)]
        old = read_frame(self.study.reference_image_quality).to_dict("records") if self._has_curves else []
        new = [row for quality in found for row in quality.curve_rows(identity)]
        kept = [row for row in old if any(row[name] != value for name, value in identity.items())]
        save_samples(self.study.reference_image_quality, kept + new)
        names = schema.IMAGE_QUALITY_METRICS if len(found) > 1 else found[0].columns
        return means_over_runs([quality.columns for quality in found], names)

    def _is_probed(self, split: str) -> bool:
        return bool(self.shared.probes.get(split))

    @property
    def _has_curves(self) -> bool:
        return self.study.reference_image_quality.is_file()

    def _scores(self, rows: list[SliceRow]) -> dict[str, float]:
        objectives = self.shared.objectives
        if None in self.folds:
            return summarise(rows) | own_scores(objectives, rows)
        return means_over_patients(rows, objectives)

    def _tuned(self, method: str, fold: int | None) -> tuple[Settings, float]:
        """The settings of the highest PSNR on some validation slices, and the seconds that it took to find them."""
        candidates = CANDIDATES[method]
        pieces = [
            partial(ReferenceScorer.psnr, method=method, settings=settings, fold=fold)
            for settings in candidates
        ]
        tried = list(self._advancing(method, pieces))
        best = max(range(len(candidates)), key=lambda number: tried[number][0])
        return candidates[best], sum(took for _, took in tried)

    def _write_panel(self, method: str, settings: dict[int | None, Settings]) -> None:
        if not self._panels:
            return
        pieces = [
            partial(ReferenceScorer.panel, method=method, settings=settings[fold], fold=fold)
            for fold in self._panels
        ]
        images, predictions = zip(*(found for found, _ in self._advancing(method, pieces)), strict=True)
        write_panel(self.study.panel(method), torch.cat(images), torch.cat(predictions))
        write_panel_truth(self.study, list(self._panels.values()))

    def _advancing(self, method: str, pieces: Sequence[Piece]) -> Iterator[tuple[Any, float]]:
        for result in self.run(pieces):
            self.done += 1
            self.on_advance(ReferencesAdvanced(self.done, self.total, method))
            yield result

    @property
    def _networks(self) -> dict[str, ReferenceNetworkConfig]:
        return {config.name: config for config in self.shared.references}

    def _described(self, method: str, settings: dict[int | None, Settings]) -> dict[str, str]:
        texts = {
            fold: ", ".join(f"{name} = {value:g}" for name, value in found.items())
            for fold, found in settings.items()
        }
        told = [text if fold is None else f"fold {fold}: {text}" for fold, text in texts.items() if text]
        if method in self._networks:
            told = [described(self._networks[method])]
        return {
            schema.REFERENCE_SETTINGS: "; ".join(told),
            schema.DATA_HASH: self.shared.data_hash,
            **self.hashes,
            schema.METRIC_POLICY: schema.POLICY_TEXT,
        }


def _free_number(method: str, rows: Sequence[EpochRow]) -> int:
    """The number of a reference's rows: its own of a built-in one, else one below all that are there."""
    if method in BUILT_IN:
        return -1 - BUILT_IN.index(method)
    return min([-len(BUILT_IN), *(row[schema.TRIAL] for row in rows)]) - 1


def _pieces(method: str, settings: Settings, split: str, fold: int | None) -> list[Piece]:
    """The scoring of a split, in parts."""
    shares = [Share(rank=rank, world_size=PARTS) for rank in range(PARTS)]
    given: dict[str, Any] = {"method": method, "settings": settings, "split": split, "fold": fold}
    return [partial(ReferenceScorer.rows, **given, share=share) for share in shares]


def _known(study: StudyFolder) -> tuple[list[EpochRow], list[SliceRow]]:
    """Rows of the references that are scored already, and of their slices; none where a file is damaged."""
    try:
        rows = read_rows(study.references)
        if not rows:
            return [], []
        samples = read_frame(study.reference_samples)
        methods = {row[schema.METHOD] for row in rows}
        slices: list[SliceRow] = samples[samples[schema.METHOD].isin(methods)].to_dict("records")
    except (DataError, KeyError) as error:
        warnings.warn(f"The references are scored again: {error}", stacklevel=2)
        return [], []
    return rows, slices
