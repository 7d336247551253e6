"""The reconstructors of a study by themselves: which trial is meant, its module, and the one that the study recommends."""

from __future__ import annotations

from typing import Any

import torch

import analysis
from analysis.selection import Choice, choose_trial
from study.scoring.network_export import front_trials_by_hypervolume, network_at_alpha
from study.trials.checkpoint import read_checkpoint
from study.trials.trial_config import read_trial_config
from taskct_core.apply.card import ReconstructorCard, ScanRecord, scores_of
from taskct_core.apply.reconstructor import Reconstructor, build_of_card, load_reconstructor
from taskct_core.contracts.files import write_bytes
from taskct_core.contracts.folders import ReconstructorFolder, StudyFolder, TrialFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import DataError, StudyError, first_line
from taskct_core.reconstructors import count_parameters, inputs_of
from taskct_core.registry import Trust
from taskct_core.schema import DATA_HASH, TASK_NETWORK_HASH

FRONT_MODE = "front"


def chosen_trial(study: StudyFolder, choice: Choice) -> int:
    """The number of the trial that a user means. A trial of mode front answers for every alpha.

    Raises:
        ConfigError, StudyError: if there is none.
    """
    if choice.alpha is not None and choice.best is None:
        fronts = front_trials_by_hypervolume(study)
        if choice.trial in fronts or (choice.trial is None and fronts):
            return fronts[0] if choice.trial is None else choice.trial
    return choose_trial(analysis.load(study.path), choice)


def trial_reconstructor(
    study: StudyFolder, trial: int, trust: bool = False, alpha: float | None = None
) -> Reconstructor:
    """The trained reconstructor of a trial, from its own files, or from its checkpoint where an older version left none.

    Args:
        trust: import an architecture of a user's own that the folder names.
        alpha: which network of a trial of mode front is meant; None: that of the trial's alpha.

    Raises:
        ConfigError: if it names a plug-in that is not trusted.
        DataError: if the trial has left nothing, or damaged files.
    """
    folder = study.trial(trial)
    if alpha is not None and read_trial_config(folder, Trust(everything=trust)).mode == FRONT_MODE:
        return network_at_alpha(study, trial, alpha, Trust(everything=trust))
    if ReconstructorFolder(folder.path).card.is_file():
        return load_reconstructor(folder.path, trust)
    return _of_checkpoint(study, folder, Trust(everything=trust))


def publish_recommended(study: StudyFolder) -> int | None:
    """Put the recommended trial's reconstructor into the study's folder; None where no finished trial has one."""
    if not study.results.is_file():  # the study was interrupted before its first epoch
        return None
    try:
        trial = chosen_trial(study, Choice())
    except StudyError:
        return None
    source, target = ReconstructorFolder(study.trial(trial).path), ReconstructorFolder(study.path)
    if not source.card.is_file():
        return None
    if not target.card.is_file() or target.card.read_bytes() != source.card.read_bytes():
        write_bytes(target.weights, source.weights.read_bytes())
        write_bytes(target.card, source.card.read_bytes())
    return trial


def _of_checkpoint(study: StudyFolder, folder: TrialFolder, trust: Trust) -> Reconstructor:
    config = read_trial_config(folder, trust)
    if not folder.checkpoint.is_file():
        raise DataError(
            "a trial must have a checkpoint to be used",
            f"none in {folder}",
            "It failed before its first epoch, or has not finished it yet.",
        )
    dataset = StudyCard.read(study.card).dataset
    checkpoint = read_checkpoint(folder)
    card = ReconstructorCard.of(
        config,
        inputs=(),
        geometry=dataset["geometry"],
        scan=ScanRecord.of(dataset.get("simulation", {}), dataset.get("dose", {})),
        data_hash=checkpoint["identity"][DATA_HASH],
        task_network_hash=checkpoint["identity"][TASK_NETWORK_HASH],
        scores=scores_of(list(read_rows(folder.final))),
    )
    network, geometry = build_of_card(card, trust, folder.config)
    try:
        network.load_state_dict(_kept_weights(checkpoint["training"]))
    except (RuntimeError, KeyError, TypeError) as error:
        raise DataError(
            "a trial's checkpoint must fit its configuration",
            f"{folder.checkpoint} beside {folder.config} ({first_line(error)})",
            "Restore both from one copy.",
        ) from None
    card = card.model_copy(update={"parameters": count_parameters(network), "inputs": inputs_of(network)})
    return Reconstructor(network, geometry, card).eval().requires_grad_(False)


def _kept_weights(training: dict[str, Any]) -> dict[str, torch.Tensor]:
    kept: dict[str, dict[str, torch.Tensor]] = training.get("kept", {}).get("weights", {})
    return kept.get("reconstructor", training["reconstructor"])
