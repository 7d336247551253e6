"""The images that a trial's card shows."""

from __future__ import annotations

from analysis import panels
from analysis.results_table import ResultsTable
from analysis.selection import front_trials, picks
from analysis.unavailable import attempt

MOST_CARDS_WITH_IMAGES = 60
MOST_SLICES = 2


def trial_pictures(table: ResultsTable) -> dict[int, list[dict[str, str]]]:
    """Trial -> its images with captions; of the front and the picked trials first, and of few, to keep the page small."""
    slices = attempt(panels.read_slices, table).result
    if slices is None:
        return {}
    wanted = [pick.trial for pick in picks(table)]
    wanted += front_trials(table)
    if len(table.trials) <= MOST_CARDS_WITH_IMAGES:
        wanted += [int(trial) for trial in table.trials.index]
    wanted = list(dict.fromkeys(wanted))[:MOST_CARDS_WITH_IMAGES]
    return {trial: _trial_pictures(table, trial, slices) for trial in wanted}


def _trial_pictures(table: ResultsTable, trial: int, slices: panels.PanelSlices) -> list[dict[str, str]]:
    panel = panels.find_panel(table, trial, slices)
    if panel is None:
        return []
    return [
        {
            "source": panels.data_uri(panels.draw_image(panel, k, slices.truth, slices.window)),
            "caption": slices.caption(k),
        }
        for k in range(min(MOST_SLICES, len(panel.image)))
    ]
