"""The bounds of a comparison: the full-dose image, and reconstructions without learning.

Scored once a study with the metrics and the task network of its trials. FBP is the dataset's own. TV and SIRT
need the sinograms (``simulation.store_sinogram``); their settings are tuned on validation slices, for PSNR, as
nobody would use them untuned. Writes references.json, references-samples.parquet and panels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from study.data.batches import Share
from study.provenance import provenance
from study.scoring.reference_scorer import IMAGES, Piece, ReferenceScorer, timed
from study.search.events import ReferencesAdvanced
from study.trials.panels import write_panel, write_panel_truth
from study.trials.plugins import own_scores
from study.trials.trial import TrialInputs, save_samples
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, SliceRow, epoch_row, read_rows, slice_row, write_rows
from taskct_core.contracts.tables import read_frame
from taskct_core.errors import DataError
from taskct_core.metrics import summarise
from taskct_core.reconstructors.classical import CANDIDATES, Settings
from taskct_core.task_networks import load_task_network_card

ITERATIVE = ("tv", "sirt")  # references computed from the sinogram
PARTS = 16  # that a split is scored in
# What becomes of pieces of the work: each one's value and its processor's seconds, in their order.
Run = Callable[[Sequence[Piece]], Iterable[tuple[Any, float]]]


def missing_references(study_folder: StudyFolder | Path, has_sinograms: bool) -> list[str]:
    """The references that a study does not have yet, if its dataset has sinograms or none."""
    rows, _ = _known(StudyFolder.at(study_folder))
    known = {row[schema.METHOD] for row in rows}
    return [method for method in (*IMAGES, *ITERATIVE * has_sinograms) if method not in known]


def write_references(
    study_folder: StudyFolder | Path,
    inputs: TrialInputs,
    on_row: Callable[[EpochRow], None] = lambda row: None,
    on_advance: Callable[[ReferencesAdvanced], None] = lambda advanced: None,
    run: Run | None = None,
) -> None:
    """Score the references on the validation and test slices, but for those that the folder has already.

    Each is written once, whole, as soon as it is scored on all of them. Where the files are damaged, all are scored
    again.

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


def _in_this_process(inputs: TrialInputs) -> Run:
    scorer = ReferenceScorer(inputs)
    return lambda pieces: (timed(piece, scorer) for piece in pieces)


@dataclass
class _Scoring:
    """The references of one study."""

    study: StudyFolder
    inputs: TrialInputs
    run: Run
    on_advance: Callable[[ReferencesAdvanced], None]
    done: int = 0
    total: int = 0
    task_network_hash: str = field(init=False)

    def __post_init__(self) -> None:
        self.task_network_hash = load_task_network_card(open_folder(self.inputs.task_network)).content_hash

    def write(self) -> Iterator[EpochRow]:
        rows, samples = _known(self.study)
        [(has_sinograms, _)] = self.run([ReferenceScorer.has_sinograms])
        missing = missing_references(self.study, has_sinograms)
        self.total = sum(map(self._pieces_of, missing))
        for method in missing:
            new_rows, new_samples = self._score(method)
            rows, samples = rows + new_rows, samples + new_samples
            save_samples(self.study.reference_samples, samples)
            write_rows(self.study.references, rows)
            yield from new_rows

    @property
    def _splits(self) -> list[str]:
        return [split for split in ("validation", "test") if split in self.inputs.feeds]

    def _pieces_of(self, method: str) -> int:
        tuning = len(CANDIDATES[method]) if method in ITERATIVE else 0
        return tuning + PARTS * len(self._splits) + bool(self.inputs.panel)

    def _score(self, method: str) -> tuple[list[EpochRow], list[SliceRow]]:
        """Rows of one reference on every split, and of their slices."""
        settings, seconds = self._tuned(method) if method in ITERATIVE else ({}, 0.0)
        self._write_panel(method, settings)
        number = [*IMAGES, *ITERATIVE].index(method) + 1
        rows, samples = list[EpochRow](), list[SliceRow]()
        for split in self._splits:
            shares = [Share(rank=rank, world_size=PARTS) for rank in range(PARTS)]
            pieces = [
                partial(ReferenceScorer.rows, method=method, settings=settings, split=split, share=share)
                for share in shares
            ]
            parts = list(self._advancing(method, pieces))
            seconds += sum(took for _, took in parts)
            scored = [row for part, _ in parts for row in part]
            identity = {schema.TRIAL: -number, schema.METHOD: method, schema.SPLIT: split}
            samples += [slice_row(identity, row) for row in scored]
            cost = {schema.EPOCH: 0, schema.SECONDS: seconds, schema.PARAMETERS: 0}
            scores = summarise(scored) | own_scores(self.inputs.objectives, scored)
            rows.append(epoch_row(identity, cost, self._described(settings), scores, provenance("cpu")))
        return rows, samples

    def _tuned(self, method: str) -> tuple[Settings, float]:
        """The settings of the highest PSNR on some validation slices, and the seconds that it took to find them."""
        candidates = CANDIDATES[method]
        pieces = [partial(ReferenceScorer.psnr, method=method, settings=settings) for settings in candidates]
        tried = list(self._advancing(method, pieces))
        best = max(range(len(candidates)), key=lambda number: tried[number][0])
        return candidates[best], sum(took for _, took in tried)

    def _write_panel(self, method: str, settings: Settings) -> None:
        if not self.inputs.panel:
            return
        piece = partial(ReferenceScorer.panel, method=method, settings=settings)
        [((image, prediction), _)] = self._advancing(method, [piece])
        write_panel(self.study.panel(method), image, prediction)
        write_panel_truth(self.study, self.inputs.panel)

    def _advancing(self, method: str, pieces: Sequence[Piece]) -> Iterator[tuple[Any, float]]:
        for result in self.run(pieces):
            self.done += 1
            self.on_advance(ReferencesAdvanced(self.done, self.total, method))
            yield result

    def _described(self, settings: Settings) -> dict[str, str]:
        return {
            schema.REFERENCE_SETTINGS: ", ".join(f"{name} = {value:g}" for name, value in settings.items()),
            schema.DATA_HASH: self.inputs.data_hash,
            schema.TASK_NETWORK_HASH: self.task_network_hash,
            schema.METRIC_POLICY: schema.POLICY_TEXT,
        }


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
