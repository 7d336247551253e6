"""A node that is about to be taken away says so by a file; its trials then move after the epoch that they train.

Many clouds give minutes of notice, which whatever watches for it on the node (a service that polls the metadata server,
Slurm's ``--signal`` handler, an administrator) turns into ``execution.preemption_notice``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskct_core.contracts.rows import EpochRow

PREEMPTED = "preempted"  # what a trial reports beside an epoch whose node is taken away

Report = Callable[[EpochRow], None]


def telling_of_preemption(report: Callable[[Any], None], notice: str | None) -> Report:
    """A ``report`` that also says whether this node's notice is there.

    Args:
        report: of an epoch that is logged and has its checkpoint.
        notice: path of a local file; None: nothing is said.
    """
    if notice is None:
        return report

    def tell(row: EpochRow) -> None:
        report({**row, PREEMPTED: True} if Path(notice).exists() else row)

    return tell
