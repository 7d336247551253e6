"""Hounsfield units and attenuation, and the window that the liver is looked at in.

The constants are LoDoPaB-CT's (Leuschner et al. 2021, Scientific Data 8:109). Images are stored normalised: attenuation
divided by ``MU_MAX``. Importing this imports no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

MU_WATER = 20.0  # 1/m
MU_AIR = 0.02  # 1/m
MU_PER_HU = (MU_WATER - MU_AIR) / 1000  # 1/m
HU_MAX = 3071.0
MU_MAX = HU_MAX * MU_PER_HU + MU_WATER  # 81.35858 / m

AIR_HU = -1000.0
LOWEST_STORED_HU = -1024  # the zero of 12 bits, which scanners store outside their field of view
LIVER_WINDOW_HU = (-200.0, 250.0)
# Scanners store 12 or 13 bits, and some readers pad outside the field with values down to -3024.
HU_RANGE = (-4096.0, 32767.0)

Values = TypeVar("Values", float, "NDArray[np.floating]", "Tensor")


def hu_to_mu(hu: Values) -> Values:
    """Hounsfield units -> linear attenuation in 1/m.

    >>> hu_to_mu(0.0)  # water
    20.0
    """
    return hu * MU_PER_HU + MU_WATER


def mu_to_hu(mu: Values) -> Values:
    """Linear attenuation in 1/m -> Hounsfield units."""
    return (mu - MU_WATER) * (1000 / (MU_WATER - MU_AIR))
