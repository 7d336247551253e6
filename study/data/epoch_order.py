"""In which order a training loop sees a split: a function of the split, the seed and the epoch alone.

Samples are numbered by patient and slice; a sample's number is its place. An epoch is cut in windows, each of many
fragments, and a fragment is some neighbouring slices of one patient. The fragments are drawn at random, and so is the
order of the samples in a window. Whoever reads a window at a time, from whatever disk, so gives the order that a split
in memory has, and holds no more than two of them. A split smaller than a window is shuffled as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from study.data.batches import Share
from study.data.shards import samples_a_fragment

Places = NDArray[np.integer]
# (sample, 2): the place of each, and which of the epoch's visits to that place it is, from 0 on.
Visits = NDArray[np.integer]
FRAGMENTS_A_WINDOW = 128  # as many patients, where there are so many, meet in a window


@dataclass(frozen=True)
class EpochOrder:
    """The orders of one split.

    Attributes:
        samples: of each patient, in the order of their names.
        pixels: of an image; decides how many samples make a fragment.
    """

    samples: tuple[int, ...]
    pixels: int

    @property
    def count(self) -> int:
        """Samples of the split."""
        return sum(self.samples)

    @property
    def window_samples(self) -> int:
        """Samples in a window, at most."""
        return samples_a_fragment(self.pixels) * FRAGMENTS_A_WINDOW

    def shuffled(
        self, seed: int, epoch: int, share: Share, visits: NDArray[np.integer] | None = None
    ) -> list[Visits]:
        """What a worker takes in an epoch, window by window.

        Workers take turns in one order, which is the same for any number of them. All take equally many: the first
        samples are repeated to make them so.

        Args:
            seed: of the training.
            epoch: of the training.
            share: the worker's.
            visits: how often the epoch visits each place; None: once.
        """
        random = np.random.default_rng([seed, epoch])
        fragments = self._fragments()
        order = np.concatenate([fragments[number] for number in random.permutation(len(fragments))])
        if visits is not None:
            order = np.repeat(order, visits[order])
        windows = np.array_split(order, -(-len(order) // self.window_samples))
        for window in windows:  # views of the order
            random.shuffle(window)
        ends = np.cumsum([len(window) for window in windows])[:-1]
        numbered = np.stack([order, _times_before(order)], axis=1)
        mine = numbered[
            np.arange(share.rank, _multiple(len(order), share.world_size), share.world_size) % len(order)
        ]
        return np.split(mine, -(-(ends - share.rank) // share.world_size))

    def ordered(self, share: Share) -> list[Visits]:
        """A worker's part of all places, each of which is in one part, cut as a window is; none if there are few."""
        part = np.array_split(np.arange(self.count), share.world_size)[share.rank]
        once = np.stack([part, np.zeros_like(part)], axis=1)
        return [
            once[start : start + self.window_samples] for start in range(0, len(part), self.window_samples)
        ]

    def _fragments(self) -> list[Places]:
        starts = np.cumsum([0, *self.samples])
        size = samples_a_fragment(self.pixels)
        return [
            np.arange(first, min(first + size, end))
            for start, end in pairwise(starts)
            for first in range(start, end, size)
        ]


def samples_a_patient(patients: Iterable[str]) -> tuple[int, ...]:
    """How many samples each patient has, in the order of their names."""
    return tuple(int(count) for count in np.unique(list(patients), return_counts=True)[1])


def _multiple(count: int, of: int) -> int:
    """The smallest multiple that is not less."""
    return -(-count // of) * of


def _times_before(order: Places) -> NDArray[np.integer]:
    """How often each place stands earlier in the order."""
    by_place = np.argsort(order, kind="stable")
    counts = np.unique(order, return_counts=True)[1]
    times = np.empty_like(order)
    times[by_place] = np.concatenate([np.arange(count) for count in counts])
    return times
