"""The first screen of the page: the answer in numbers, and the images of a typical and of the worst patient."""

from __future__ import annotations

from typing import Any

from analysis import panels
from analysis.answer import Answer, Effect, answer, effect_title
from analysis.contestants import alpha_of, contestant
from analysis.metric_info import metric_info
from analysis.names import method_name
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.selection import best_trial, front_trials, picks
from analysis.shown_patients import ShownPatient, shown_patients
from analysis.unavailable import attempt
from taskct_core import schema as S

MOST_TRIALS_WITH_IMAGES = 40


def answer_view(table: ResultsTable) -> dict[str, Any] | None:
    """``{"answer", "tiles", "images"}`` for the template; None while nothing is recommended."""
    found = answer(table)
    if found is None:
        return None
    return {
        "answer": found,
        "name": _name(table, found.trial),
        "tiles": [_tile(effect, found) for effect in found.effects],
        "images": _images(table, found),
    }


def _tile(effect: Effect, found: Answer) -> dict[str, Any]:
    info = metric_info(effect.metric)
    digits = 2 if info.unit == "dB" else 3
    unit = f" {info.unit}" if info.unit else ""
    return {
        "title": effect_title(effect.metric),
        "difference": f"{_signed(effect.difference, digits)}{unit}",
        "interval": f"{_signed(effect.low, digits)} to {_signed(effect.high, digits)}",
        "scores": f"{effect.score:.{digits}f} instead of {effect.other:.{digits}f}",
        "kind": _kind(effect),
        "verdict": "; ".join(
            filter(
                None,
                [
                    effect.verdict if found.enough_patients else "",
                    effect.needed.replace("needs", "a claim needs", 1),
                ],
            )
        ),
    }


def _signed(value: float, digits: int) -> str:
    """With its sign, but for what is rounded to nothing."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def _kind(effect: Effect) -> str:
    """Neither a gain nor a cost where the interval leaves open which."""
    if effect.low <= 0 <= effect.high:
        return "open"
    return "gain" if effect.is_gain else "cost"


def _name(table: ResultsTable, trial: int) -> str:
    """A trial or reference in a few words."""
    if trial < 0:
        return "Low dose (FBP)" if table.label(trial) == "FBP" else table.label(trial)
    alpha = alpha_of(table, trial)
    mode = method_name(str(table.trials.at[trial, S.METHOD]))
    return mode if alpha is None else f"{mode}, alpha {alpha:.3g}"


def _images(table: ResultsTable, found: Answer) -> dict[str, Any] | None:
    """``{"rows", "columns", "others"}``: what always stands there, and what moving over a point may put there."""
    slices = attempt(panels.read_slices, table).result
    if slices is None or not slices.slices:
        return None
    rows = shown_patients(table, slices, contestant(table, found.trial).trials)
    columns = [source for source in _columns(table, found) if source is not None]
    sources = dict.fromkeys([number for _, number in columns] + _others(table))
    cells = {number: shown for number in sources if (shown := _cells(table, slices, rows, number))}
    columns = [(title, number) for title, number in columns if number in cells]
    if not columns:
        return None
    return {
        "rows": rows,
        "window": slices.window,
        "columns": [
            {"title": title, "trial": number, "name": _name(table, number)} for title, number in columns
        ],
        "has_chosen": found.trial in cells,
        "sources": {
            number: {"name": _name(table, number), "label": table.label(number), "cells": shown}
            for number, shown in cells.items()
        },
    }


def _columns(table: ResultsTable, found: Answer) -> list[tuple[str, int] | None]:
    """Full dose, low dose, the best PSNR and the recommended network, which stands last and is once there."""
    references = [("Full dose", table.reference("full_dose")), ("Low dose (FBP)", table.reference("fbp"))]
    shown: list[tuple[str, int] | None] = [
        (title, number) for title, number in references if number is not None
    ]
    best = _best_psnr(table)
    if best is not None and best != found.trial:
        shown.append(("Best PSNR", best))
    return [*shown, ("Recommended", found.trial)]


def _best_psnr(table: ResultsTable) -> int | None:
    scores = table.complete_scores(SEARCH_SPLIT, [S.PRIMARY_PSNR])
    return best_trial(scores[S.PRIMARY_PSNR], "maximize") if S.PRIMARY_PSNR in scores else None


def _others(table: ResultsTable) -> list[int]:
    """What else a reader may point at: references, chosen trials, the front, then the rest as far as room allows."""
    references = [int(number) for number in table.references.index]
    trials = [pick.trial for pick in picks(table)] + front_trials(table)
    trials += [int(trial) for trial in table.trials.index]
    return references + list(dict.fromkeys(trials))[:MOST_TRIALS_WITH_IMAGES]


def _cells(
    table: ResultsTable, slices: panels.PanelSlices, rows: list[ShownPatient], number: int
) -> list[dict[str, Any]]:
    """One source's picture and scores on each shown patient's slice; empty where its images are not kept."""
    panel = panels.find_panel(table, number, slices)
    if panel is None:
        return []
    cells = []
    for row in rows:
        part, truth = panels.crop_to_liver(panel, row.place, slices.truth)
        picture = panels.draw_image(part, 0, truth, slices.window)
        scores = panels.slice_scores(table, number, slices.slices[row.place])
        told = [score for score in scores if "SSIM" not in score and "∞" not in score]
        cells.append(
            {
                "picture": panels.data_uri(picture),
                "scores": told,
                "grey": panels.grey_uri(part, slices.window),
            }
        )
    return cells
