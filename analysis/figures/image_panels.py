"""Images of a slice by every method beside each other, with masks and error maps below them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from analysis import panels
from analysis.contestants import contestant
from analysis.figures import style
from analysis.names import reference_name
from analysis.results_table import ResultsTable
from analysis.selection import baseline, best_of_methods, picks
from analysis.unavailable import Unavailable
from taskct_core import schema as S
from taskct_core.errors import DataError

SLICES_SHOWN = 3
_WIDTH_PIXELS, _TOP, _BOTTOM = 900, 110, 30
_WORDS = {"fbp": "the low-dose image", "tv": "without training", "sirt": "without training"}
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """What one source makes of one slice; pictures are uint8 (height, width, 3).

    Attributes:
        title: the source's name.
        why: it is shown.
        trial: its number, None for a reference.
        scores: of this slice, in words.
        image: in the window that the task network saw.
        mask: the frozen network's labels on it (the true ones of the column of truth).
        error: image minus full dose; None for the full-dose image itself and the truth.
    """

    title: str
    why: str
    trial: int | None
    scores: list[str]
    image: Picture
    mask: Picture
    error: Picture | None


@dataclass(frozen=True)
class ImagePanelData:
    """What stands beside each other.

    Attributes:
        rows: caption of a slice -> its cells: low dose first, then what was trained, full dose and truth last.
        window: in HU, that the images are shown in.
        error_hu: at which error maps are full blue and full red.
    """

    rows: dict[str, list[Cell]]
    window: panels.Window
    error_hu: float


def compute_image_panels(table: ResultsTable) -> ImagePanelData:
    """The references, the best trial of each mode, and the chosen trials, on the study's panel slices."""
    slices = panels.read_slices(table)
    try:
        sources = _sources(table, slices)
    except DataError as error:
        raise Unavailable(f"{error.rule}; received {error.received}. {error.next_step}") from error
    if not sources:
        raise Unavailable("The study has stored no images of a reference or of a complete trial yet.")
    full_dose = next((panel for panel, _, _ in sources if panel.key == "full_dose"), None)
    trained = [panel for panel, trial, _ in sources if trial is not None and trial >= 0]
    error_hu = (
        panels.error_range(trained or [panel for panel, _, _ in sources], full_dose) if full_dose else 0.0
    )
    rows = {}
    for k in range(min(SLICES_SHOWN, len(slices.slices))):
        cells = [_cell(table, slices, k, source, full_dose, error_hu) for source in sources]
        if slices.truth is not None:
            cells.append(_truth(slices, slices.truth, full_dose or sources[0][0], k))
        rows[slices.caption(k)] = cells
    return ImagePanelData(rows, slices.window, error_hu)


Source = tuple[panels.Panel, int | None, str]


def _sources(table: ResultsTable, slices: panels.PanelSlices) -> list[Source]:
    reasons: dict[int, list[str]] = {}
    base = baseline(table)
    for pick in [*best_of_methods(table), *picks(table), *([base] if base else [])]:
        reasons.setdefault(pick.trial, []).append(pick.why)
    wanted: list[tuple[str, int | None, str]] = [
        (name, table.reference(name), words) for name, words in _WORDS.items()
    ]
    wanted += [
        (panels.panel_key(table, trial), trial, "; ".join(dict.fromkeys(why)))
        for trial, why in reasons.items()
    ]
    wanted.append(("full_dose", table.reference("full_dose"), "the bound above"))
    read = [(panels.read_panel(table, key, slices), trial, why) for key, trial, why in wanted]
    return [(panel, trial, why) for panel, trial, why in read if panel is not None]


def _cell(
    table: ResultsTable,
    slices: panels.PanelSlices,
    k: int,
    source: Source,
    full_dose: panels.Panel | None,
    error_hu: float,
) -> Cell:
    panel, trial, why = source
    title = panels.title(panel.key) if trial is None else contestant(table, trial).label
    is_number = trial is not None and title == table.label(trial)  # which the title then says already
    has_error = full_dose is not None and panel is not full_dose
    return Cell(
        title=title,
        why=f"trial {trial}: {why}" if trial is not None and trial >= 0 and not is_number else why,
        trial=trial if trial is not None and trial >= 0 else None,
        scores=panels.slice_scores(table, trial, slices.slices[k]),
        image=panels.draw_plain(panel, k, slices.window),
        mask=panels.draw_mask(panel, k, panel.prediction[k], slices.window),
        error=panels.draw_error(panel, full_dose, k, error_hu) if has_error and full_dose else None,
    )


def _truth(slices: panels.PanelSlices, truth: NDArray[np.uint8], below: panels.Panel, k: int) -> Cell:
    of_truth = panels.Panel("truth", below.image, np.zeros_like(below.prediction))
    outlined = panels.draw_image(of_truth, k, truth, slices.window)
    where = f"on {reference_name(below.key)}" if below.key in S.REFERENCES else ""
    mask = panels.draw_mask(below, k, truth[k], slices.window)
    return Cell("Truth", f"true labels {where}".strip(), None, [], outlined, mask, None)


def draw_image_panels(data: ImagePanelData) -> go.Figure:
    """The first slice: a column a source; image, mask and error below each other."""
    caption, cells = next(iter(data.rows.items()))
    figure = make_subplots(rows=3, cols=len(cells), horizontal_spacing=0.004, vertical_spacing=0.008)
    # Cells are square on a page of the exports' width.
    base = style.layout(
        x="", y="", height=_TOP + _BOTTOM + 3 * (_WIDTH_PIXELS // len(cells))
    ).to_plotly_json()
    figure.update_layout({name: value for name, value in base.items() if name not in ("xaxis", "yaxis")})
    for column, cell in enumerate(cells, start=1):
        for row, picture in enumerate((cell.image, cell.mask, cell.error), start=1):
            if picture is not None:
                image = go.Image(source=panels.data_uri(picture), zsmooth="fast", hoverinfo="skip")
                figure.add_trace(image, row=row, col=column)
        words = "<br>".join([*(f"<b>{part}</b>" for part in cell.title.split(", ")), *cell.scores])
        axis = figure.get_subplot(1, column).xaxis
        figure.add_annotation(
            text=words,
            x=sum(axis.domain) / 2,
            y=1,
            xref="paper",
            yref="paper",
            xanchor="center",
            yanchor="bottom",
            showarrow=False,
            font={"size": 9},
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(margin={"l": 4, "r": 4, "t": _TOP, "b": _BOTTOM})
    figure.add_annotation(
        text=caption, x=0, y=0, xref="paper", yref="paper", yanchor="top", showarrow=False, font={"size": 10}
    )
    return figure
