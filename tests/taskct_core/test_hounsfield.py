"""Hounsfield units: the inverse, the fixed points, and each constant written in one place."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.panels import to_hu
from taskct_core.hounsfield import AIR_HU, LIVER_WINDOW_HU, MU_AIR, MU_MAX, MU_WATER, hu_to_mu, mu_to_hu
from taskct_core.simulation.photons import normalise_hu

ROOT = Path(__file__).parents[2]
CONSTANTS = {
    "attenuation": r"\b81\.3|\bmu_(water|air|max)\w*\b[^\n]*=\s*[\d.]+",
    "air": r"\bair_hu\s*(:[^=\n]*)?=",
    "liver window": r"-200(\.0)?\s*,\s*250",
}


def test_water_and_air_are_the_fixed_points() -> None:
    assert hu_to_mu(0.0) == MU_WATER and hu_to_mu(AIR_HU) == pytest.approx(MU_AIR)
    assert mu_to_hu(hu_to_mu(137.0)) == pytest.approx(137.0)
    assert hu_to_mu(3071.0) == MU_MAX == pytest.approx(81.35858)


def test_a_report_shows_the_hu_that_were_simulated() -> None:
    hu = np.array([AIR_HU, *LIVER_WINDOW_HU, 55.0])
    np.testing.assert_allclose(to_hu(normalise_hu(hu)), hu, atol=1e-9)


@pytest.mark.parametrize("pattern", CONSTANTS.values(), ids=CONSTANTS)
def test_a_constant_is_written_in_one_file(pattern: str) -> None:
    files = [path for name in ("taskct_core", "study", "analysis") for path in (ROOT / name).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line.split("#")[0], re.IGNORECASE)
    ]
    assert found and {line.partition(":")[0] for line in found} == {"taskct_core/hounsfield.py"}, found
