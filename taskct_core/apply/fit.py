"""Whether a scan is like those that a network was trained on: pixel size, noise, HU, size of the body."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from taskct_core.apply.noise import noise_hu
from taskct_core.apply.reconstructor import Reconstructor
from taskct_core.apply.scan import Scan
from taskct_core.volumes.anatomy import Anatomy
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.hu_scale import check_hu_scale
from taskct_core.volumes.volume import Volume

_MOST_PIXEL_RATIO = 1.25
_MOST_NOISE_RATIO = 2.0
_MOST_SLICES = 16  # that noise is measured in


def check_fit(network: Reconstructor, scan: Scan) -> list[Finding]:
    """What in a scan differs from the training data, with both numbers; a refused finding means it is no HU."""
    anatomy = Anatomy.of(
        Volume(
            patient=scan.name,
            hu=scan.hu,
            labels=np.zeros(scan.hu.shape, np.uint8),
            spacing_mm=scan.spacing_mm,
            labelled=False,
        )
    )
    scale = list(check_hu_scale(anatomy)) if anatomy.is_recognisable else []
    return [*scale, *_pixel_size(network, scan), *_body_size(network, scan), *_noise(network, scan)]


def _pixel_size(network: Reconstructor, scan: Scan) -> Iterator[Finding]:
    own = network.slice_grid(scan.hu, scan.spacing_mm).view.pixel_spacing_mm
    pixel = max(scan.spacing_mm[1:])
    if not 1 / _MOST_PIXEL_RATIO <= pixel / own <= _MOST_PIXEL_RATIO:
        effect = (
            "its images show no detail finer than its own" if pixel < own else "the scan shows less detail"
        )
        yield Finding(
            "warning",
            f"the network was trained on pixels of {own:.3g} mm",
            f"the scan's pixels are {pixel:.3g} mm",
            f"The scan is resampled to the network's pixels and back, so {effect}.",
        )


def _body_size(network: Reconstructor, scan: Scan) -> Iterator[Finding]:
    grid = network.slice_grid(scan.hu, scan.spacing_mm)
    field = grid.view.pixel_spacing_mm * grid.view.pixels
    if grid.body is not None and max(grid.body.size_mm) > field:
        yield Finding(
            "warning",
            f"the network was trained on a field of view of {field:.4g} mm",
            f"the body takes {max(grid.body.size_mm):.4g} mm",
            "What lies outside the field stays as it was in the input.",
        )


def _noise(network: Reconstructor, scan: Scan) -> Iterator[Finding]:
    expected = network.card.noise_hu
    some = scan.hu[:: max(1, len(scan.hu) // _MOST_SLICES)]
    found = noise_hu(network.slice_grid(scan.hu, scan.spacing_mm).to_network(some))
    if not expected or found is None:
        return
    if not 1 / _MOST_NOISE_RATIO <= found / expected <= _MOST_NOISE_RATIO:
        effect = (
            "more noise than it learned to remove"
            if found > expected
            else "less noise: detail may be taken for it"
        )
        yield Finding(
            "warning",
            f"the network was trained on noise of {expected:.3g} HU in soft tissue, at its pixel size",
            f"the scan has {found:.3g} HU there",
            f"The scan has {effect}; choose a network trained on its dose.",
        )
