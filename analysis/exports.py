"""Files for a paper: figures as PNG, SVG or PDF, tables as CSV, LaTeX or Markdown, the front as YAML."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.figures import FIGURES
from analysis.figures.markup import plain_markup
from analysis.front_configs import runnable_config
from analysis.method_scores import methods_table, printed_methods
from analysis.metric_info import is_metric, metric_info
from analysis.results_table import ResultsTable
from analysis.selection import front_trials
from analysis.tables import front_table, trials_table
from analysis.unavailable import attempt
from taskct_core.errors import ConfigError, ResourceError

FIGURE_FORMATS = ("png", "svg", "pdf", "html")
TABLES: dict[str, Callable[[ResultsTable], pd.DataFrame]] = {
    "methods": methods_table,
    "front": front_table,
    "trials": trials_table,
}
_WIDTH_PIXELS = 900
_TITLE_PIXELS = 80  # for the title and the legend above a chart
_TITLE_MIDDLE_PIXELS = 34  # below the upper edge
_LEGEND_BELOW = -0.16  # of the chart's height: under the title of its axis
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PNG_SCALE = 3  # 300 dpi at 9 inches, a full text width


def export_figures(
    table: ResultsTable,
    out: str | Path,
    formats: Sequence[str] = ("svg",),
    names: Sequence[str] | None = None,
) -> list[Path]:
    """Write figures that the study can give; returns the files, ``<name>.<format>``.

    HTML figures share one ``plotly.min.js`` beside them.

    Args:
        table: the study.
        out: folder, made if needed.
        formats: of ``png``, ``svg``, ``pdf`` (these need kaleido and Chromium) and ``html``.
        names: keys of ``FIGURES``; all if not given.

    Raises:
        ConfigError: for an unknown format or figure.
        ResourceError: if a picture is asked for and kaleido or Chromium is missing.
    """
    _known(formats, FIGURE_FORMATS, "figure format")
    for kind in set(formats) - {"html"}:
        check_pictures(kind)
    names = list(FIGURES) if names is None else names
    _known(names, FIGURES, "figure")
    folder = _made(out)
    drawn = {}
    for name in names:
        data = attempt(FIGURES[name].compute, table).result
        if data is not None:
            drawn[name] = _as_a_picture(FIGURES[name].draw(data), FIGURES[name].title)
    written = []
    for kind in formats:
        paths = [folder / f"{name}.{kind}" for name in drawn]
        if kind == "html":
            for figure, path in zip(drawn.values(), paths, strict=True):
                figure.write_html(path, include_plotlyjs="directory")  # plotly.min.js, once beside them
        elif paths:
            _write_pictures(list(drawn.values()), paths, kind)
        written += paths
    return written


def _as_a_picture(figure: go.Figure, title: str) -> go.Figure:
    """A chart of the report on white paper, with the title and the legend that the page has beside it."""
    picture = go.Figure(plain_markup(figure.to_plotly_json()))
    height = picture.layout.height + _TITLE_PIXELS
    heading = {"text": title, "y": 1 - _TITLE_MIDDLE_PIXELS / height, "yanchor": "middle"}
    picture.update_layout(paper_bgcolor="white", plot_bgcolor="white", title=heading, height=height)
    picture.update_layout(margin={"t": (picture.layout.margin.t or 0) + _TITLE_PIXELS})
    if picture.layout.coloraxis.colorbar.orientation == "h":  # which takes the legend's place above the chart
        picture.update_layout(legend={"y": _LEGEND_BELOW, "yanchor": "top"})
    return picture


def check_pictures(kind: str = "svg") -> None:
    """See that pictures can be written here.

    Raises:
        ResourceError: if kaleido or Chromium is missing.
    """
    try:
        import kaleido  # noqa: F401  (Plotly calls it)
    except ImportError:
        raise ResourceError(
            f"writing {kind} needs kaleido", "it is not installed", "Run: pip install 'taskct[export]'"
        ) from None
    if not any(map(shutil.which, _BROWSERS)):
        raise ResourceError(
            f"writing {kind} needs Chromium or Chrome",
            "none on PATH",
            "Install it (Debian, Ubuntu: apt install chromium) or export html, which needs none.",
        )


def _write_pictures(figures: list[Any], paths: list[Path], kind: str) -> None:
    import plotly.io

    # One call for all: Chromium starts once.
    plotly.io.write_images(
        figures,
        paths,
        format=kind,
        width=_WIDTH_PIXELS,
        height=[figure.layout.height for figure in figures],  # it would otherwise take 500 for all
        scale=_PNG_SCALE if kind == "png" else 1,
    )


TABLE_FORMATS = ("csv", "tex", "md")


def export_tables(table: ResultsTable, out: str | Path, formats: Sequence[str] = TABLE_FORMATS) -> list[Path]:
    """Write the tables of methods, front and trials; returns the files, ``<table>.<format>``.

    Raises:
        ConfigError: for an unknown format.
    """
    _known(formats, TABLE_FORMATS, "table format")
    folder = _made(out)
    written = []
    for name, make in TABLES.items():
        for kind in formats:
            frame = make(table).reset_index()
            if (
                name == "methods" and kind != "csv"
            ):  # numbers for a program, scores with intervals for a paper
                frame = printed_methods(table)
            path = folder / f"{name}.{kind}"
            path.write_text(_TABLE_WRITERS[kind](frame), encoding="utf-8")
            written.append(path)
    return written


def _csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False))


def _latex(frame: pd.DataFrame) -> str:
    """A booktabs table, without the jinja styling of pandas, so that it needs nothing else."""
    rows = [" & ".join(map(_latex_text, row)) + r" \\" for row in _printed(frame)]
    head = " & ".join(_latex_text(_heading(c)) for c in frame) + r" \\"
    columns = "".join("r" if pd.api.types.is_numeric_dtype(frame[c]) else "l" for c in frame)
    body = "\n".join(rows)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _markdown(frame: pd.DataFrame) -> str:
    lines = [[_heading(c) for c in frame], ["---"] * len(frame.columns), *_printed(frame)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


_TABLE_WRITERS: dict[str, Callable[[pd.DataFrame], str]] = {"csv": _csv, "tex": _latex, "md": _markdown}


def _heading(column: str) -> str:
    return metric_info(column).label if is_metric(column) else column.replace("_", " ")


def _printed(frame: pd.DataFrame) -> list[list[str]]:
    return [[_cell(value) for value in row] for row in frame.itertuples(index=False)]


def _cell(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_LATEX_SPECIAL = {
    "–": "--",
    "∞": r"$\infty$",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)


def export_front_configs(table: ResultsTable, out: str | Path) -> list[Path]:
    """Write the YAML of every front trial whose configuration is stored, ready for ``taskct train``."""
    folder = _made(out)
    written = []
    for trial in front_trials(table):
        text = runnable_config(table, trial)
        if text is not None:
            path = folder / f"trial-{trial:04d}.yaml"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def _made(out: str | Path) -> Path:
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ConfigError("exports go to a folder", f"the file {folder}", "Name a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _known(asked: Sequence[str], known: Sequence[str] | dict[str, Any], kind: str) -> None:
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ConfigError(
            f"a {kind} must be one of {', '.join(known)}", ", ".join(unknown), "Correct the name."
        )
