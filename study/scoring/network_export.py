"""The network of a trained trial as a file for others: plain weights, and a card that says how to build it.

Reads a study's folder and its dataset's card. Writes ``reconstructor.safetensors``, a state_dict of the architecture,
and ``reconstructor.json``.
"""

from __future__ import annotations

from pathlib import Path

from study.data.dataset import load_card
from study.scoring.evaluate import load_trained
from taskct_core import schema
from taskct_core.apply.card import ReconstructorCard, ScanRecord, read_card, save_reconstructor, scores_of
from taskct_core.apply.reconstructor import Reconstructor
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import ReconstructorFolder, StudyFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import DataError
from taskct_core.reconstructors import count_parameters, inputs_of
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.task_networks import load_task_network
from taskct_core.training.front import FrontTraining, trained_reconstructor

WEIGHTS, CARD = ReconstructorFolder.weights, ReconstructorFolder.card


def export_network(
    study_folder: StudyFolder | Path,
    out: Path,
    alpha: float,
    trial: int | None = None,
    trust: Trust = BUILT_IN_ONLY,
) -> tuple[int, list[Path]]:
    """Write the network that a study's trial has for an alpha.

    Args:
        study_folder: of the study.
        out: folder to write into; made if it is missing.
        alpha: in [0, 1].
        trial: its number; by default the front trial with the largest hypervolume on validation.
        trust: which plug-ins the folders may name.

    Returns:
        The trial's number, and the files.

    Raises:
        ConfigError: if the trial has no network for the alpha, or names a plug-in that is not trusted.
        DataError: if the study has no such trial, or its folders cannot be read.
    """
    study = StudyFolder.at(study_folder)
    trial = _best_front_trial(study) if trial is None else trial
    found = network_at_alpha(study, trial, alpha, trust)
    save_reconstructor(found.network, found.card, out)
    return trial, [out / WEIGHTS, out / CARD]


def network_at_alpha(study: StudyFolder, trial: int, alpha: float, trust: Trust) -> Reconstructor:
    """The network that a trial has for an alpha, frozen, with its card.

    Raises:
        ConfigError: if the trial has none for it, or names a plug-in that is not trusted.
        DataError: if its folders cannot be read.
    """
    known, folder = StudyCard.read(study.card), study.trial(trial)
    dataset = load_card(open_folder(known.folders["dataset"]))
    task_network, _ = load_task_network(open_folder(known.folders["task_network"]), trust)
    training = load_trained(folder, dataset, task_network, trust)
    module = trained_reconstructor(training, alpha)
    scores = training.at(alpha).scores if isinstance(training, FrontTraining) else {}
    card = ReconstructorCard.of(
        training.config,
        alpha=alpha,
        parameters=count_parameters(module),
        inputs=inputs_of(module),
        geometry=dataset.geometry,
        scan=ScanRecord.of(dataset.simulation, dataset.dose),
        noise_hu=read_card(folder.path).noise_hu if ReconstructorFolder(folder.path).card.is_file() else None,
        study=known.name,
        trial=trial,
        data_hash=dataset.data_hash,
        scores=scores_of([{"split": "validation", **scores}]),
    )
    return Reconstructor(module, dataset.scan(trust), card).eval().requires_grad_(False)


def _best_front_trial(study: StudyFolder) -> int:
    """The finished front trial whose own front has the largest hypervolume on validation; of equals, the first."""
    found = front_trials_by_hypervolume(study)
    if not found:
        raise DataError(
            "a network for any alpha comes from a finished trial of mode front",
            f"none in {study}",
            "Name a trial with --trial, which then must have just this alpha, or train with trial.mode: front.",
        )
    return found[0]


def front_trials_by_hypervolume(study: StudyFolder) -> list[int]:
    """The finished front trials, that of the largest hypervolume on validation first."""
    areas = {
        trial: row[schema.HYPERVOLUME]
        for trial in study.trials_on_disk()
        for row in read_rows(study.trial(trial).final)[:1]
        if schema.HYPERVOLUME in row and row[schema.METHOD] == "front"
    }
    return sorted(areas, key=lambda trial: (-areas[trial], trial))
