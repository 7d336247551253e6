"""The train split scanned anew in every epoch: which samples an epoch visits, and the scan of each.

A scan follows from (seed, epoch, patient, slice) and the number of the visit, see ``taskct_core.simulation.fresh``: who makes
it, and where, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.data.batches import Columns
from taskct_core.geometry import Geometry
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.fresh import columns_of_bases, visits_of_epoch

if TYPE_CHECKING:
    from taskct_core.simulation.fresh import FreshScanner

VISIT = "visit"  # column of bases: which of the epoch's visits to the sample this is


@dataclass(frozen=True)
class FreshSamples:
    """How the samples of a split are drawn anew.

    Attributes:
        geometry: of the dataset.
        simulation: of the dataset, and how its slices change.
        cpus: that Ray Data simulates on; 0: a thread of the process that trains does it.
        has_tumour: of each sample, by patient and slice; only where a share of tumours is asked for.
    """

    geometry: Geometry
    simulation: SimulationConfig
    cpus: int = 0
    has_tumour: NDArray[np.bool_] | None = field(default=None, compare=False)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of a shard that are drawn from."""
        return columns_of_bases(self.simulation.fresh_draw)

    def visits(self, seed: int, epoch: int) -> NDArray[np.integer] | None:
        """How often an epoch visits each sample; None: once."""
        share = self.simulation.fresh_draw.tumour_share
        if self.has_tumour is None or not share:
            return None
        return visits_of_epoch(self.has_tumour, share, seed=seed, epoch=epoch)

    def draw(self, bases: Columns, seed: int, epoch: int) -> Columns:
        """Scan bases, with the column ``VISIT``, anew."""
        scanner = _scanner(self.geometry, self.simulation)
        samples: dict[str, NDArray[Any]] = scanner(bases, seed=seed, epoch=epoch, visits=bases[VISIT])
        return samples


@lru_cache(maxsize=1)
def _scanner(geometry: Geometry, simulation: SimulationConfig) -> FreshScanner:
    """One a process, since it holds a projector."""
    from taskct_core.simulation.fresh import FreshScanner

    return FreshScanner(geometry, simulation)
