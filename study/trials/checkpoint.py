"""A trial's checkpoint: all that it needs to go on after its last finished epoch."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from taskct_core import schema
from taskct_core.contracts.files import buffered, write_whole
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import DataError, first_line
from taskct_core.training.front import FrontTraining
from taskct_core.training.trial import Training

_SAME = (schema.CONFIG_HASH, schema.DATA_HASH, schema.TASK_NETWORK_HASH, schema.FURTHER_JUDGES_HASH)


def restore(
    training: Training | FrontTraining, folder: TrialFolder, identity: EpochRow, fresh: str
) -> tuple[int, float]:
    """Load the checkpoint if there is one; returns the epochs and seconds behind it."""
    if not folder.checkpoint.is_file():
        return 0, 0.0
    try:
        checkpoint = read_checkpoint(folder)
    except DataError as error:  # all that it held follows from the configuration: it is trained again
        warnings.warn(f"{error.received}: the trial begins anew", stacklevel=2)
        return 0, 0.0
    was = checkpoint["identity"]
    for name in _SAME:
        if was.get(name, "") != identity.get(name, ""):
            raise DataError(
                f"a trial continues only with the {name.replace('_', ' ')} it began with",
                f"{str(identity.get(name, ''))[:12]} for the checkpoint of {was.get(name, '')[:12]} in {folder}",
                "Use another output folder, or delete this one to start anew.",
            )
    if checkpoint["fresh"] != fresh:
        raise DataError(
            "a trial continues only with samples drawn as those that it began with",
            f"{fresh or 'stored samples'} for the checkpoint of {checkpoint['fresh'] or 'stored samples'} in {folder}",
            "Restore simulation.fresh and fresh_draw, use another output folder, or delete this one to start anew.",
        )
    training.load_state_dict(checkpoint["training"])
    return int(checkpoint["epoch"]), float(checkpoint["seconds"])


def read_checkpoint(folder: TrialFolder) -> dict[str, Any]:
    """A trial's checkpoint: ``training``, ``identity``, ``epoch``, ``seconds`` and ``fresh``.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        # weights_only: a pickle from elsewhere must not run code here.
        checkpoint = torch.load(buffered(folder.checkpoint), map_location="cpu", weights_only=True)
        fresh = checkpoint.get(
            "fresh", ""
        )  # absent from those of earlier versions, which had stored samples alone
        return {name: checkpoint[name] for name in ("training", "identity", "epoch", "seconds")} | {
            "fresh": fresh
        }
    except Exception as error:  # PyTorch's reader raises whatever a damaged file leads it to
        raise DataError(
            f"{TrialFolder.checkpoint} must be a whole checkpoint",
            f"{folder.checkpoint} ({type(error).__name__}: {first_line(error)})",
            "Run the study again with the trial's folder removed, or restore it from a copy.",
        ) from None


def save_checkpoint(
    training: Training | FrontTraining,
    folder: TrialFolder,
    identity: EpochRow,
    epoch: int,
    seconds: float,
    fresh: str,
) -> None:
    """Write the checkpoint of an epoch, in place of the one before."""
    checkpoint = {
        "training": training.state_dict(),
        "identity": identity,
        "epoch": epoch,
        "seconds": seconds,
        "fresh": fresh,
    }
    write_whole(folder.checkpoint, lambda temporary: torch.save(checkpoint, temporary))
