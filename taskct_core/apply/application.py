"""A network applied to a whole scan or to sinograms: read, told what does not fit, reconstructed, written."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.apply.fit import check_fit
from taskct_core.apply.reconstructor import SLICES_AT_A_TIME, OnSlices, Reconstructor
from taskct_core.apply.scan import Scan, open_scan, scan_of_images
from taskct_core.contracts.files import check_file_writable
from taskct_core.errors import ConfigError, DataError, first_line
from taskct_core.hounsfield import MU_MAX
from taskct_core.networks import exact_convolutions
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.nifti import is_nifti_name

SINOGRAM_SUFFIX = ".npy"
_FILE_ENDING = re.compile(r"\.[A-Za-z]\w*")  # not that of a folder such as series-1.2
Progress = Callable[[int], AbstractContextManager[OnSlices]]  # number of slices -> shows them being done


@dataclass(frozen=True)
class Output:
    """Where results go; neither may be there yet.

    Attributes:
        image: ``.nii``, ``.nii.gz``, or a folder for a DICOM series.
        masks: ``.nii`` or ``.nii.gz``, if masks are wanted.
    """

    image: Path
    masks: Path | None = None

    def check(self) -> None:
        """Raises:
        ConfigError: if a name is of another format, something is there already, or nothing can be written.
        """
        if not is_nifti_name(self.image) and _FILE_ENDING.fullmatch(self.image.suffix):
            raise ConfigError(
                "images are written as .nii or .nii.gz, or as a DICOM series in a folder, whose name has no ending",
                str(self.image),
                "Correct its name.",
            )
        if self.masks == self.image:
            raise ConfigError(
                "images and masks are two files", str(self.masks), "Name another for the masks."
            )
        for path in (self.image, self.masks):
            if path is not None and path.exists():
                raise ConfigError(
                    "an existing output is kept as it is", str(path), "Name another, or move it away."
                )
            if path is not None:
                check_file_writable(path)
        if self.masks is not None and not is_nifti_name(self.masks):
            raise ConfigError("masks are written as .nii or .nii.gz", str(self.masks), "Correct its name.")


def apply_reconstructor(
    network: Reconstructor,
    source: Path,
    output: Output,
    description: str,
    tell: Callable[[Finding], object],
    progress: Progress,
    task_network: TaskNetwork | None = None,
) -> Scan:
    """Reconstruct a scan and write the images, in HU on its own grid.

    Args:
        source: a NIfTI file, a folder of a DICOM series, or ``.npy`` sinograms.
        description: kept in the written files.
        tell: called with each thing in which the scan is unlike the training data.
        task_network: that finds the masks, where ``output`` wants them.

    Raises:
        ConfigError: if an output is there already, or the network takes other data.
        DataError: if the source is damaged or not in HU.
    """
    output.check()
    if source.suffix == SINOGRAM_SUFFIX:
        sinograms = _read_sinograms(source)
        with progress(len(sinograms)) as on_slices:
            hu = network.reconstruct(sinograms, on_slices)
        scan = scan_of_images(hu, network.geometry.pixel_spacing_mm, source.name)
    else:
        scan = open_scan(source)
        for finding in [*scan.findings, *check_fit(network, scan)]:
            if finding.severity == "refused":
                raise finding.error(scan.name)
            tell(finding)
        with progress(len(scan.hu)) as on_slices:
            hu = network.denoise(scan.hu, scan.spacing_mm, on_slices)
    scan.write(output.image, hu, description)
    if output.masks is not None and task_network is not None:
        labels = _labels(network, task_network, scan, hu)
        scan.write_labels(output.masks, labels, f"labels found in: {description}"[:1024])
    return scan


def _labels(
    network: Reconstructor, task_network: TaskNetwork, scan: Scan, hu: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """What the task network finds in reconstructed slices, on the scan's pixels."""
    grid = network.slice_grid(scan.hu, scan.spacing_mm)
    labels = np.empty(hu.shape, np.uint8)
    for first in range(0, len(hu), SLICES_AT_A_TIME):
        part = slice(first, first + SLICES_AT_A_TIME)
        images = torch.from_numpy(grid.to_network(hu[part])[:, None]).to(network.device)
        with torch.inference_mode(), exact_convolutions():
            found = task_network.predict(network.normalised(images)).to(torch.uint8).cpu().numpy()
        labels[part] = grid.labels_to_input(found)
    return labels


def _read_sinograms(file: Path) -> NDArray[np.float32]:
    try:
        values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            "sinograms must be an array that numpy.save wrote",
            f"{file} ({first_line(error)})",
            "Correct the path.",
        ) from None
    if values.dtype.kind != "f" or values.ndim != 3 or not np.isfinite(values).all():
        raise DataError(
            "sinograms must be finite numbers (slice, angle, detector), line integrals / mu_max",
            f"{file}: {values.dtype} {values.shape}",
            f"Save them as float32; mu_max is {MU_MAX:g} / m (docs/physics.md).",
        )
    return np.asarray(values, np.float32)
