"""What the phantom is made of: tissues, their mean HU without and with contrast agent, their texture.

Means without contrast agent are typical 120 kVp values of textbooks (W. R. Webb, W. E. Brant,
N. M. Major, *Fundamentals of Body CT*; J. T. Bushberg et al., *The Essential Physics of Medical
Imaging*, table of Hounsfield units): air -1000, fat -110..-90, water 0, muscle 50..60,
liver 54..66, spleen 45..55, kidney 25..35, blood 40..50, trabecular bone 100..250, cortical bone > 300.
The rise at full portal-venous enhancement (about 70 s after injection) brings the liver to about
110 HU, the spleen to 120, the veins to 165 and the renal cortex to 190. A patient's ``enhancement``
scales that rise, so that neither one threshold nor one patient's histogram tells organs apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from taskct_core.hounsfield import AIR_HU


class Tissue(IntEnum):
    """Values of the tissue map: uint8 of the volume's shape, one tissue a voxel."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    LUNG = 4
    CORTICAL_BONE = 5
    MARROW = 6
    DISC = 7
    SPINAL_CANAL = 8
    CARTILAGE = 9
    HEART = 10
    LIVER = 11
    LIVER_VESSEL = 12
    SPLEEN = 13
    KIDNEY_CORTEX = 14
    KIDNEY_MEDULLA = 15
    GUT_WALL = 16
    GUT_FLUID = 17
    STOOL = 18
    GUT_GAS = 19
    AORTA = 20
    VENA_CAVA = 21
    PANCREAS = 22
    GALLBLADDER = 23


@dataclass(frozen=True)
class Appearance:
    """Mean HU without contrast agent, its rise at full enhancement, and the std of patient and texture."""

    native_hu: float
    rise_hu: float = 0.0
    patient_std_hu: float = 3.0  # of the mean, from patient to patient
    texture_std_hu: float = 6.0  # within the tissue


APPEARANCE: dict[Tissue, Appearance] = {
    Tissue.AIR: Appearance(AIR_HU, patient_std_hu=0, texture_std_hu=0),
    Tissue.SKIN: Appearance(30, 10),
    Tissue.FAT: Appearance(-103, 3, 4, 7),
    Tissue.MUSCLE: Appearance(54, 10, 4, 13),
    Tissue.LUNG: Appearance(-850, 10, 25, 35),
    Tissue.CORTICAL_BONE: Appearance(520, 0, 60, 60),
    Tissue.MARROW: Appearance(170, 10, 35, 35),
    Tissue.DISC: Appearance(85, 5, 8, 8),
    Tissue.SPINAL_CANAL: Appearance(25, 5),
    Tissue.CARTILAGE: Appearance(110, 5, 15, 25),
    Tissue.HEART: Appearance(42, 85, 5, 10),
    Tissue.LIVER: Appearance(58, 52, 4, 6),
    Tissue.LIVER_VESSEL: Appearance(44, 120, 4, 5),
    Tissue.SPLEEN: Appearance(50, 70, 4, 7),
    Tissue.KIDNEY_CORTEX: Appearance(33, 155, 6, 8),
    Tissue.KIDNEY_MEDULLA: Appearance(30, 110, 6, 8),
    Tissue.GUT_WALL: Appearance(42, 45, 5, 10),
    Tissue.GUT_FLUID: Appearance(15, 0, 10, 7),
    Tissue.STOOL: Appearance(10, 0, 20, 70),
    Tissue.GUT_GAS: Appearance(-960, 0, 10, 5),
    Tissue.AORTA: Appearance(44, 115, 4, 4),
    Tissue.VENA_CAVA: Appearance(43, 100, 4, 8),
    Tissue.PANCREAS: Appearance(42, 55, 5, 12),
    Tissue.GALLBLADDER: Appearance(8, 0, 4, 3),
}


def draw_enhancement(rng: np.random.Generator) -> float:
    """Strength of the contrast agent: most patients portal-venous, some weak, one in ten without."""
    return 0.0 if rng.random() < 0.1 else float(rng.uniform(0.3, 1.1))


def draw_mean_hu(rng: np.random.Generator, enhancement: float) -> NDArray[np.float32]:
    """Return this patient's mean HU, indexed by tissue. One patient in five has a fatty (darker) liver."""
    means = np.array([a.native_hu + enhancement * a.rise_hu for a in APPEARANCE.values()])
    means += rng.standard_normal(len(means)) * [a.patient_std_hu for a in APPEARANCE.values()]
    if rng.random() < 0.2:
        means[Tissue.LIVER] -= rng.uniform(10, 30)
    return means.astype(np.float32)


def texture_std_hu() -> NDArray[np.float32]:
    """Return the texture's standard deviation, indexed by tissue."""
    return np.array([a.texture_std_hu for a in APPEARANCE.values()], dtype=np.float32)
