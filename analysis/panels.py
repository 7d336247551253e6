"""Image panels: what the network saw and drew, as small pictures.

Reads ``panels/slices.json``, ``truth.npz`` and ``<method or trial-0003>.npz``. Images are shown in the
window that the task network saw; outlines are the truth (white) and the prediction, masks are filled (blue liver, orange tumour).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from analysis.names import reference_name
from analysis.results_table import ResultsTable
from analysis.unavailable import Unavailable, attempt
from taskct_core import schema as S
from taskct_core.contracts.files import read_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.tables import read_arrays
from taskct_core.errors import DataError
from taskct_core.hounsfield import LIVER_WINDOW_HU, MU_MAX, MU_WATER, mu_to_hu

Window = tuple[float, float]  # in HU, black and white
# Error maps run from blue over white to red, over the smallest of these ranges that clips no more than a tenth of the body.
ERROR_RANGES_HU = (5.0, 10.0, 20.0, 40.0, 60.0, 100.0, 200.0, 400.0)
_SHOWN_OF_ERRORS = 90  # percent: edges, where errors are many times larger, may be clipped
_CROP_MARGIN = 0.35  # of the liver's larger side, on each side of it
_LEAST_CROP = 0.4  # of the image's side
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
    """The slices that all panels show.

    Attributes:
        slices: patient, index and split of each.
        truth: their true labels, None where they are not stored.
        window: in which they are shown: what the task network saw.
    """

    slices: list[dict[str, Any]]
    truth: NDArray[np.uint8] | None
    window: Window = LIVER_WINDOW_HU

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
    return PanelSlices(slices, truth, window_of(table))


def window_of(table: ResultsTable) -> Window:
    """The window in HU that the study's task network sees images in; the liver's where the study does not say."""
    record = table.study.task_network
    network = record.get("network")
    for known in (network if isinstance(network, dict) else {}, record):
        window = known.get("window_hu")
        if isinstance(window, list | tuple) and len(window) == 2:
            low, high = window
            if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
                return float(low), float(high)
    return LIVER_WINDOW_HU


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
    count = len(slices.slices)
    if image is None or image.ndim != 3 or len(image) < count:
        raise DataError(
            f"{path.name} must hold an image of shape (slice, height, width) for {count} slices",
            "none" if image is None else f"shape {image.shape}",
            "Export the study's panels again.",
        )
    if prediction is None:
        prediction = np.zeros(image.shape, np.uint8)
    # A study that went on under a later version may list fewer slices than its new trials keep: the first are the same.
    return Panel(key, image[:count].astype(np.float32), prediction[:count].astype(np.uint8))


def find_panel(table: ResultsTable, trial: int, slices: PanelSlices) -> Panel | None:
    """The panel of a trial or reference, None where it is not stored or cannot be read."""
    try:
        return read_panel(table, panel_key(table, trial), slices)
    except DataError:
        return None


def title(key: str) -> str:
    """A panel's heading, from its ``panel_key``."""
    return f"trial {int(key.removeprefix('trial-'))}" if key.startswith("trial-") else reference_name(key)


def draw_image(
    panel: Panel, k: int, truth: NDArray[np.uint8] | None, window: Window = LIVER_WINDOW_HU
) -> NDArray[np.uint8]:
    """Slice ``k`` in a window with outlines: uint8 (height, width, 3), at least 256 pixels high."""
    picture = draw_plain(panel, k, window)
    if truth is not None:
        for structure in (S.LIVER, S.TUMOUR):
            picture[_outline(truth[k] >= structure)] = 255
    for structure, colour in _COLOURS.items():
        picture[_outline(panel.prediction[k] >= structure)] = colour
    return picture


def draw_plain(panel: Panel, k: int, window: Window = LIVER_WINDOW_HU) -> NDArray[np.uint8]:
    """Slice ``k`` in a window: uint8 (height, width, 3), at least 256 pixels high."""
    low, high = window
    grey = np.clip((to_hu(panel.image[k]) - low) / (high - low), 0, 1)
    picture = _enlarge((255 * np.nan_to_num(grey)).astype(np.uint8), Image.Resampling.BICUBIC)
    return np.repeat(picture[..., None], 3, axis=2)


def draw_mask(
    panel: Panel, k: int, labels: NDArray[np.uint8], window: Window = LIVER_WINDOW_HU
) -> NDArray[np.uint8]:
    """Labels (height, width) as filled colours over the darkened slice ``k``."""
    picture = (draw_plain(panel, k, window) * 0.6).astype(np.uint8)
    for structure, colour in _COLOURS.items():
        inside = _enlarge((labels >= structure).astype(np.uint8), Image.Resampling.NEAREST).astype(bool)
        picture[inside] = _MASK_SHARE * np.array(colour) + (1 - _MASK_SHARE) * picture[inside]
    return picture


def error_range(panels: Sequence[Panel], full_dose: Panel) -> float:
    """The HU at which error maps of these panels are full blue and full red: one that shows their errors."""
    errors = [
        np.abs(to_hu(panel.image) - to_hu(full_dose.image))[full_dose.image > 0.1 * MU_WATER / MU_MAX]
        for panel in panels
    ]
    shown = np.concatenate([error[np.isfinite(error)] for error in errors]) if errors else np.zeros(0)
    limit = float(np.percentile(shown, _SHOWN_OF_ERRORS)) if len(shown) else 0.0
    return next((hu for hu in ERROR_RANGES_HU if hu >= limit), ERROR_RANGES_HU[-1])


def draw_error(panel: Panel, full_dose: Panel, k: int, range_hu: float = 100.0) -> NDArray[np.uint8]:
    """Image minus full dose in HU: blue too dark, white equal, red too bright; uint8 (height, width, 3)."""
    difference = np.nan_to_num(to_hu(panel.image[k]) - to_hu(full_dose.image[k])) / range_hu
    fade = 1 - np.clip(np.abs(difference), 0, 1)[..., None]
    hue = np.where(difference[..., None] > 0, (178, 24, 43), (33, 102, 172))
    return _enlarge((hue + fade * (255 - hue)).astype(np.uint8), Image.Resampling.NEAREST)


def crop_to_liver(
    panel: Panel, k: int, truth: NDArray[np.uint8] | None
) -> tuple[Panel, NDArray[np.uint8] | None]:
    """Slice ``k`` alone, and its truth, as a square round the true labels; the whole slice where there are none."""
    height, width = panel.image.shape[1:]
    image, prediction = panel.image[k : k + 1], panel.prediction[k : k + 1]
    labels = None if truth is None else truth[k : k + 1]
    if labels is None or not labels.any():
        return Panel(panel.key, image, prediction), labels
    rows, columns = np.nonzero(labels[0])
    wanted = (1 + 2 * _CROP_MARGIN) * float(max(np.ptp(rows) + 1, np.ptp(columns) + 1))
    side = int(min(max(wanted, _LEAST_CROP * min(height, width)), height, width))
    top, left = (
        int(np.clip((at.min() + at.max() + 1 - side) // 2, 0, size - side))
        for at, size in ((rows, height), (columns, width))
    )
    inside = (slice(None), slice(top, top + side), slice(left, left + side))
    return Panel(panel.key, image[inside], prediction[inside]), labels[inside]


def slice_scores(table: ResultsTable, trial: int | None, shown: dict[str, Any]) -> list[str]:
    """PSNR, SSIM and Dice of one slice in words, as far as ``samples.parquet`` holds them."""
    row = table.fact(_panel_rows).get((trial, shown[S.SPLIT], shown[S.PATIENT], shown[S.SLICE_INDEX]))
    if row is None:
        return []
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


def _panel_rows(table: ResultsTable) -> dict[tuple[Any, ...], dict[Any, Any]]:
    """Trial, split, patient and slice -> scores, of the slices that panels show; of several seeds the first's."""
    slices = attempt(read_slices, table).result
    samples = table.samples
    if slices is None or samples.empty:
        return {}
    shown = samples[samples[S.PATIENT].isin({one[S.PATIENT] for one in slices.slices})]
    shown = shown[shown[S.SLICE_INDEX].isin({one[S.SLICE_INDEX] for one in slices.slices})]
    keys = [S.TRIAL, S.SPLIT, S.PATIENT, S.SLICE_INDEX]
    return {tuple(row[key] for key in keys): row for row in reversed(shown.to_dict("records"))}


def to_hu(image: NDArray[Any]) -> NDArray[Any]:
    """Normalised attenuation -> HU."""
    return mu_to_hu(image * MU_MAX)


def data_uri(picture: NDArray[np.uint8]) -> str:
    """The picture as a WebP ``data:`` address, about 10 kB at 362 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=80, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def grey_uri(panel: Panel, window: Window) -> str:
    """The first slice as the window's grey levels, exactly and pixel by pixel, as a WebP ``data:`` address."""
    low, high = window
    grey = np.clip((to_hu(panel.image[0]) - low) / (high - low), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * np.nan_to_num(grey)).astype(np.uint8)).save(buffer, format="WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _enlarge(picture: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
    factor = max(1, -(-_SMALLEST_PIXELS // picture.shape[0]))
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.array(Image.fromarray(picture).resize(size, how))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The inner border of a mask, one pixel wide after enlarging."""
    large = _enlarge(mask.astype(np.uint8), Image.Resampling.NEAREST).astype(bool)
    return large & ~ndimage.binary_erosion(large)
