"""An objective of one's own: `--set 'study.objectives=[own_objective:worst_psnr, dice_liver_patient_nnunet]'`."""

from collections.abc import Mapping, Sequence
from typing import Any

from study import objective


@objective("maximize")
def worst_psnr(rows: Sequence[Mapping[str, Any]]) -> float:
    """The rows of all validation slices -> one number: the PSNR, in dB, of the slice that fares worst."""
    return min(float(row["psnr_lodopab"]) for row in rows)
