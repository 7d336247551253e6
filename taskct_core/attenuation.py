"""HU <-> attenuation, with LoDoPaB-CT's constants (Leuschner et al. 2021, Scientific Data 8:109).

Plain arithmetic: works on numbers, NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from typing import TypeVar

MU_WATER = 20.0  # 1/m
MU_AIR = 0.02  # 1/m
MU_MAX = 81.35858  # 1/m, of 3071 HU; images are stored divided by it

Values = TypeVar("Values")


def hu_to_normalised(hu: Values) -> Values:
    """HU -> attenuation / MU_MAX, not clipped: mu = HU * (MU_WATER - MU_AIR) / 1000 + MU_WATER."""
    return (hu * ((MU_WATER - MU_AIR) / 1000) + MU_WATER) / MU_MAX  # type: ignore[operator,return-value]


def normalised_to_hu(image: Values) -> Values:
    """Attenuation / MU_MAX -> HU, the inverse of ``hu_to_normalised``."""
    return (image * MU_MAX - MU_WATER) * (1000 / (MU_WATER - MU_AIR))  # type: ignore[operator,return-value]
