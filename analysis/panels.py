"""Image panels: what the network saw and drew, as small pictures.

Reads ``panels/slices.json``, ``truth.npz`` and ``<method or trial-0003>.npz``. Images are shown in the
liver window; outlines are the truth (white) and the prediction, masks are filled (blue liver, orange tumour).
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from analysis.results_table import ResultsTable, reference_name
from analysis.unavailable import Unavailable
from taskct_core import schema as S
from taskct_core.contracts.files import read_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.tables import read_arrays
from taskct_core.errors import DataError
from taskct_core.hounsfield import LIVER_WINDOW_HU, MU_MAX, mu_to_hu

ERROR_HU = 100.0  # error maps run from -100 HU (blue) over 0 (white) to +100 HU (red)
_SMALLEST_PIXELS = 256
_MASK_SHARE = 0.65  # of a mask's colour; the rest is the image below it
_COLOURS = {S.LIVER: (86, 180, 233), S.TUMOUR: (230, 159, 0)}


@dataclass(frozen=True)
class Panel:
    """One source's images of the panel's slices.

    Attributes:
        key: file name without its ending: ``full_dose``, ``fbp``, ``trial-0003``.
        image: float32 (slice, height, width), normalised attenuation.
        prediction: uint8 (slice, height, width), predicted labels.
    """

    key: str
    image: NDArray[np.float32]
    prediction: NDArray[np.uint8]


@dataclass(frozen=True)
class PanelSlices:
    """The slices that all panels show, and their true labels, None where they are not stored."""

    slices: list[dict[str, Any]]
    truth: NDArray[np.uint8] | None

    def caption(self, k: int) -> str:
        shown = self.slices[k]
        return f"{shown[S.PATIENT]}, slice {shown[S.SLICE_INDEX]} ({shown[S.SPLIT]} split)"


def read_slices(table: ResultsTable) -> PanelSlices:
    """Read which slices the panels show."""
    folder = table.folder
    if not folder.panel_slices.is_file():
        raise Unavailable(
            f"The study folder holds no {StudyFolder.panel_slices}, so there are no images to show."
        )
    try:
        slices = read_json(folder.panel_slices, "Export the study again.")
        truth = read_arrays(folder.panel_truth).get("label") if folder.panel_truth.is_file() else None
    except DataError as error:
        raise Unavailable(f"There are no images to show: {error}") from None
    if not isinstance(slices, list) or not all(_is_slice(shown) for shown in slices):
        raise Unavailable(f"{StudyFolder.panel_slices} does not list slices, so there are no images to show.")
    if truth is not None and len(truth) != len(slices):
        raise Unavailable(
            f"{StudyFolder.panel_truth} holds labels of other slices: there are no images to show."
        )
    return PanelSlices(slices, truth)


def _is_slice(shown: object) -> bool:
    return isinstance(shown, dict) and {S.PATIENT, S.SLICE_INDEX, S.SPLIT} <= set(shown)


def panel_key(table: ResultsTable, trial: int) -> str:
    """What a trial's or a reference's panel is called in files and pages."""
    if trial in table.references.index:
        return str(table.references.at[trial, S.METHOD])
    return f"trial-{trial:04d}"


def read_panel(table: ResultsTable, key: str, slices: PanelSlices) -> Panel | None:
    """Read one source's panel, None where it is not stored.

    Raises:
        DataError: if the file breaks its contract.
    """
    path = table.folder.panel(key)
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    image, prediction = arrays.get("image"), arrays.get("prediction")
    if image is None or image.ndim != 3 or len(image) != len(slices.slices):
        raise DataError(
            f"{path.name} must hold an image of shape (slice, height, width) for {len(slices.slices)} slices",
            "none" if image is None else f"shape {image.shape}",
            "Export the study's panels again.",
        )
    if prediction is None:
        prediction = np.zeros(image.shape, np.uint8)
    return Panel(key, image.astype(np.float32), prediction.astype(np.uint8))


def title(key: str) -> str:
    """A panel's heading, from its ``panel_key``."""
    return f"trial {int(key.removeprefix('trial-'))}" if key.startswith("trial-") else reference_name(key)


def draw_image(panel: Panel, k: int, truth: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Slice ``k`` in the liver window with outlines: uint8 (height, width, 3), at least 256 pixels high."""
    picture = draw_plain(panel, k)
    if truth is not None:
        for structure in (S.LIVER, S.TUMOUR):
            picture[_outline(truth[k] >= structure)] = 255
    for structure, colour in _COLOURS.items():
        picture[_outline(panel.prediction[k] >= structure)] = colour
    return picture


def draw_plain(panel: Panel, k: int) -> NDArray[np.uint8]:
    """Slice ``k`` in the liver window: uint8 (height, width, 3), at least 256 pixels high."""
    low, high = LIVER_WINDOW_HU
    grey = np.clip((to_hu(panel.image[k]) - low) / (high - low), 0, 1)
    picture = _enlarge((255 * np.nan_to_num(grey)).astype(np.uint8), Image.Resampling.BICUBIC)
    return np.repeat(picture[..., None], 3, axis=2)


def draw_mask(panel: Panel, k: int, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (height, width) as filled colours over the darkened slice ``k``."""
    picture = (draw_plain(panel, k) * 0.6).astype(np.uint8)
    for structure, colour in _COLOURS.items():
        inside = _enlarge((labels >= structure).astype(np.uint8), Image.Resampling.NEAREST).astype(bool)
        picture[inside] = _MASK_SHARE * np.array(colour) + (1 - _MASK_SHARE) * picture[inside]
    return picture


def draw_error(panel: Panel, full_dose: Panel, k: int) -> NDArray[np.uint8]:
    """Image minus full dose in HU: blue too dark, white equal, red too bright; uint8 (height, width, 3)."""
    difference = np.nan_to_num(to_hu(panel.image[k]) - to_hu(full_dose.image[k])) / ERROR_HU
    fade = 1 - np.clip(np.abs(difference), 0, 1)[..., None]
    hue = np.where(difference[..., None] > 0, (178, 24, 43), (33, 102, 172))
    return _enlarge((hue + fade * (255 - hue)).astype(np.uint8), Image.Resampling.NEAREST)


def slice_scores(table: ResultsTable, trial: int | None, shown: dict[str, Any]) -> list[str]:
    """PSNR, SSIM and Dice of one slice in words, as far as ``samples.parquet`` holds them."""
    samples = table.samples
    found = samples[samples[S.TRIAL] == trial]
    for key in (S.SPLIT, S.PATIENT, S.SLICE_INDEX):
        found = found[found[key] == shown[key]]
    if found.empty:
        return []
    row = found.iloc[0]
    parts = []
    if S.PRIMARY_PSNR in row and not np.isnan(row[S.PRIMARY_PSNR]):
        psnr = row[S.PRIMARY_PSNR]
        parts.append("PSNR ∞" if np.isinf(psnr) else f"PSNR {psnr:.1f} dB")
    if S.PRIMARY_SSIM in row and np.isfinite(row[S.PRIMARY_SSIM]):
        parts.append(f"SSIM {row[S.PRIMARY_SSIM]:.3f}")
    for structure in S.STRUCTURES:
        true, predicted, overlap = (
            row.get(f"{structure}_{part}_pixels", 0) for part in ("true", "predicted", "overlap")
        )
        if true + predicted > 0:
            parts.append(f"Dice {structure} {2 * overlap / (true + predicted):.2f}")
    return parts


def to_hu(image: NDArray[Any]) -> NDArray[Any]:
    """Normalised attenuation -> HU."""
    return mu_to_hu(image * MU_MAX)


def data_uri(picture: NDArray[np.uint8]) -> str:
    """The picture as a WebP ``data:`` address, about 10 kB at 362 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=80, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _enlarge(picture: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
    factor = max(1, -(-_SMALLEST_PIXELS // picture.shape[0]))
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.array(Image.fromarray(picture).resize(size, how))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The inner border of a mask, one pixel wide after enlarging."""
    large = _enlarge(mask.astype(np.uint8), Image.Resampling.NEAREST).astype(bool)
    return large & ~ndimage.binary_erosion(large)
