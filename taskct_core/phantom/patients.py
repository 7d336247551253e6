"""Phantom patients as a source of volumes: each is made where and when it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from taskct_core.phantom import make_phantom
from taskct_core.phantom.lesions import DIAMETER_MM
from taskct_core.volumes.volume import Volume, VolumeReference

COARSE_PIXELS = 96
HEALTHY_EVERY = 8  # so that a metric's rule for patients without tumour is exercised


@dataclass(frozen=True, kw_only=True)
class PhantomReference(VolumeReference):
    """What ``make_phantom`` needs to make this patient."""

    seed: tuple[int, int]
    pixels: int
    lesions: int | None  # None: drawn
    lesion_diameter_mm: tuple[float, float]

    def read(self) -> Volume:
        return make_phantom(
            self.seed, self.num_slices, self.pixels, self.lesions, self.patient, self.lesion_diameter_mm
        )

    def read_coarse(self) -> Volume:
        """The same anatomy, which does not depend on the resolution, in fewer pixels."""
        return replace(self, pixels=min(self.pixels, COARSE_PIXELS)).read()


def phantom_patients(
    count: int,
    seed: int = 0,
    slices_per_patient: int = 12,
    pixels: int = 256,
    lesions: int | None = None,
    lesion_diameter_mm: tuple[float, float] | None = None,
) -> list[PhantomReference]:
    """Return ``count`` different patients; every eighth has no lesion, all others at least one.

    A patient depends on the seed and its number alone, so asking for more keeps the first ones.

    Args:
        count: of patients.
        seed: of all of them.
        slices_per_patient: of each.
        pixels: height and width of a slice.
        lesions: of each patient who has any, as far as the liver has room; None draws 1 to 8.
        lesion_diameter_mm: of the smallest and the largest; None: ``DIAMETER_MM``.
    """
    return [
        PhantomReference(
            patient=f"phantom-{seed}-{number:03d}",
            num_slices=slices_per_patient,
            seed=(seed, number),
            pixels=pixels,
            lesions=0 if number % HEALTHY_EVERY == HEALTHY_EVERY - 1 else lesions,
            lesion_diameter_mm=lesion_diameter_mm or DIAMETER_MM,
        )
        for number in range(count)
    ]
