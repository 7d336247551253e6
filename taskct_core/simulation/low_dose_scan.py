"""One low-dose scan: full-dose images -> noise-free sinograms -> photon counts -> noisy sinograms -> FBP.

Every image draws from the random stream it is given and is computed in a fixed order, so its scan has the same
bits whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.geometry import Geometry
from taskct_core.hounsfield import MU_MAX
from taskct_core.projection import RayTransform
from taskct_core.projection.guarded import project_guarded
from taskct_core.schema import FBP, FULL_DOSE, PHOTONS_PER_RAY, SINOGRAM
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.exposure import bow_tie, exposure_factor, photons_per_ray
from taskct_core.simulation.photons import count_photons, observe_counts, observe_low_counts

SLICES_AT_ONCE = 4  # bounds the memory; the sparse product gains little beyond it


class LowDoseScan:
    """The scanner of a dataset.

    Args:
        geometry: of the dataset.
        config: how it counts photons and reconstructs.
    """

    def __init__(self, geometry: Geometry, config: SimulationConfig) -> None:
        self.geometry = geometry
        self.config = config
        self._transform = RayTransform(geometry)
        self._photons = photons_per_ray(config, geometry)

    def __call__(
        self,
        images: NDArray[np.float32],
        streams: Sequence[np.random.Generator],
        *,
        photons: Sequence[float],
        path_scales: Sequence[float],
    ) -> dict[str, NDArray[np.generic]]:
        """Scan normalised full-dose images ``(slice, height, width)``.

        Args:
            streams: of each image; its counts are drawn from it.
            photons: a ray, of each image, before automatic exposure.
            path_scales: real path lengths over those in the geometry, of each image.

        Returns:
            The columns of ``taskct_core.schema`` that a scan gives: full dose, FBP, photons and, where the
            configuration stores it, the sinogram.
        """
        noise_free = self._project(images)
        scans = [
            self._observe(*slice_)
            for slice_ in zip(images, noise_free, streams, photons, path_scales, strict=True)
        ]
        sinograms = np.stack([sinogram for sinogram, _ in scans])
        columns: dict[str, NDArray[np.generic]] = {
            FULL_DOSE: images,
            FBP: self._reconstruct(sinograms),
            PHOTONS_PER_RAY: np.asarray([count for _, count in scans], np.float32),
        }
        return {**columns, SINOGRAM: sinograms} if self.config.store_sinogram else columns

    def draw_photons(self, rng: np.random.Generator) -> float:
        """A slice's photons a ray, log-uniform in a range, as the float32 that the dataset stores."""
        if isinstance(self._photons, tuple):
            low, high = self._photons
            return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))
        return float(np.float32(self._photons))

    def _project(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        tensor = torch.from_numpy(images)
        if self.config.inverse_crime_guard:
            return project_guarded(self.geometry, tensor).numpy()
        return self._transform(tensor[:, None])[:, 0].numpy()

    def _reconstruct(self, sinograms: NDArray[np.float32]) -> NDArray[np.float32]:
        fbp = self._transform.fbp(
            torch.from_numpy(sinograms)[:, None], self.config.fbp_filter, self.config.fbp_frequency_scaling
        )
        return fbp[:, 0].numpy()

    def _observe(
        self,
        image: NDArray[np.float32],
        sinogram: NDArray[np.float32],
        stream: np.random.Generator,
        photons: float,
        path_scale: float,
    ) -> tuple[NDArray[np.float32], float]:
        """Low-dose line integrals / mu_max in the lengths of the geometry, as the noise-free ones, and the photons."""
        config = self.config
        line_integrals = sinogram.astype(np.float64) * (MU_MAX * path_scale)
        transmission = bow_tie(config, self.geometry, path_scale)
        if config.automatic_exposure:
            photons *= exposure_factor(line_integrals, image, self.geometry, transmission)
        incident = photons * transmission
        counts = count_photons(
            line_integrals,
            photons_per_ray=incident,
            rng=stream,
            electronic_noise_std=config.electronic_noise_std,
        )
        if config.logarithm == "low_count":
            observed = observe_low_counts(counts, incident, config.electronic_noise_std) / MU_MAX
        else:
            observed = observe_counts(
                counts, photons_per_ray=incident, zero_count_replacement=config.zero_count_replacement
            )
        return (observed / path_scale).astype(np.float32), photons


def in_chunks(count: int) -> list[slice]:
    """Parts of a batch of ``count`` slices that are scanned at once."""
    return [slice(start, start + SLICES_AT_ONCE) for start in range(0, count, SLICES_AT_ONCE)]
