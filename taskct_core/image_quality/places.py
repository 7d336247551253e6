"""Where in the livers of a split lesions are put: inside, apart from each other, spread over patients and slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from taskct_core.contracts.rows import Batch
from taskct_core.schema import LABELS, LIVER, PATIENT, PIXEL_SPACING_MM, SLICE_INDEX

MOST_IN_A_SLICE = 3
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Place:
    """The central pixel of an inserted lesion."""

    patient: str
    slice_index: int
    row: int
    column: int
    rank: int  # among the places of its slice, from the one deepest in the liver on


def places_of_slice(
    labels: NDArray[np.integer], spacing_mm: float, radius_mm: float
) -> list[tuple[int, int]]:
    """``(row, column)`` of discs of the radius that lie in the liver, outside tumours, and do not overlap.

    Args:
        labels: ``(row, column)``.
        spacing_mm: of its pixels.
        radius_mm: of the discs.
    """
    # The rim counts as outside, so that a liver which the field cuts holds no disc beyond it.
    depth = distance_transform_edt(np.pad(labels == LIVER, 1))[1:-1, 1:-1] * spacing_mm
    rows, columns = np.indices(labels.shape)
    found: list[tuple[int, int]] = []
    while len(found) < MOST_IN_A_SLICE and depth.max() > radius_mm:
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        found.append((int(row), int(column)))
        near = np.hypot(rows - row, columns - column) * spacing_mm < 2 * radius_mm
        depth[near] = 0
    return found


def find_places(batches: Iterable[Batch], radius_mm: float) -> list[Place]:
    """Every place of the slices of some batches."""
    places = []
    for batch in batches:
        slices = zip(batch[PATIENT], batch[SLICE_INDEX], batch[LABELS], batch[PIXEL_SPACING_MM], strict=True)
        for patient, index, labels, spacing in slices:
            found = places_of_slice(labels.cpu().numpy(), float(spacing), radius_mm)
            places += [Place(str(patient), int(index), *where, rank) for rank, where in enumerate(found)]
    return places


def choose_places(places: Iterable[Place], count: int) -> list[Place]:
    """At most ``count`` of them: patients in turn, of each the slices spread evenly, a slice's deepest place first."""
    of_patient: dict[str, list[Place]] = {}
    for place in sorted(places, key=lambda place: (place.patient, place.rank, place.slice_index)):
        of_patient.setdefault(place.patient, []).append(place)
    queues = [_spread(found) for _, found in sorted(of_patient.items())]
    chosen = [
        queue[turn]
        for turn in range(max(map(len, queues), default=0))
        for queue in queues
        if turn < len(queue)
    ]
    return chosen[:count]


def _spread(places: list[Place]) -> list[Place]:
    """A patient's places, rank by rank, those of a rank in an order of which every beginning is spread evenly."""
    ordered: list[Place] = []
    for rank in range(MOST_IN_A_SLICE):
        of_rank = [place for place in places if place.rank == rank]
        order = np.argsort((np.arange(len(of_rank)) * _GOLDEN) % 1)
        positions = np.empty(len(of_rank), dtype=int)
        positions[order] = np.arange(
            len(of_rank)
        )  # the k-th multiple of the golden ratio stands at this place
        ordered += [of_rank[position] for position in positions]
    return ordered
