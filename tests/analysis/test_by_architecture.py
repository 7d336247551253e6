"""What the task loss changes within each architecture, on synthetic studies whose truth is known."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from study_factory import Recipe, expected, plan, write_study, write_table

import analysis
from analysis.by_architecture import compare_within_architectures
from analysis.contestants import shown_contestants
from analysis.figures import FIGURES
from analysis.results_table import ARCHITECTURE
from analysis.unavailable import NotApplicable, Unavailable
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

ARCHITECTURES = ("dncnn", "learned_primal_dual", "unet")


def recipe(**changes: object) -> Recipe:
    shape: dict[str, object] = {
        "architectures": ARCHITECTURES,
        "trials": 12,
        "panels": False,
        "configs": False,
    }
    return Recipe(**(shape | changes))


def test_each_architecture_is_compared_with_its_own_plain_training(tmp_path: Path) -> None:
    """Not with the best plain training of the study, which is 1 and 2 dB better than the others' own."""
    study = recipe(noise=0.0)
    table = analysis.load(write_study(tmp_path, study))
    trials = {trial["trial"]: trial for trial in plan(study)}
    compared = compare_within_architectures(table)
    for place, metric in enumerate((S.PRIMARY_PSNR, S.PRIMARY_DICE)):
        rows = compared.rows[compared.rows["metric"] == metric]
        assert [name.partition(",")[0] for name in rows["name"]] == list(ARCHITECTURES)
        for row in rows.to_dict("records"):
            one, other = (trials[int(row[side].rstrip(")").rpartition(" ")[2])] for side in ("name", "other"))
            assert one["architecture"] == other["architecture"] == row["name"].partition(",")[0]
            assert one["alpha"] > 0 == other["alpha"]
            psnr, liver, tumour = (a - b for a, b in zip(expected(one), expected(other), strict=True))
            truth = (psnr, (liver + tumour) / 2)[place]
            assert row["difference"] == pytest.approx(truth, abs=0.01)


def test_a_width_that_follows_from_the_architecture_leaves_its_name(tmp_path: Path) -> None:
    """Else a study of a few networks, each of its own width, would be told by numbers of trials."""
    folder = write_study(tmp_path, recipe(trials=6, pruned=0, failed=0, running=0))
    results = pq.read_table(folder / StudyFolder.results).to_pandas()
    widths = {"dncnn": 8.0, "learned_primal_dual": 16.0, "unet": 32.0}
    for column, value in {"image_loss": "mse", "learning_rate": 0.01}.items():
        results[S.CONFIG_PREFIX + column] = value
    results[S.CONFIG_PREFIX + "width"] = results[ARCHITECTURE].map(widths)
    write_table(folder / StudyFolder.results, results)
    names = {one.label for one in shown_contestants(analysis.load(folder))}
    assert "reconstruction-only, architecture unet" in names and len(names) == 6

    results.loc[results[S.TRIAL] == 0, S.CONFIG_PREFIX + "width"] = 64.0
    write_table(folder / StudyFolder.results, results)
    labels = [one.label for one in shown_contestants(analysis.load(folder))]
    assert labels and all(label.startswith("trial ") for label in labels)


def test_what_the_task_loss_compares_with_is_not_said_of_plain_training(tmp_path: Path) -> None:
    folder = write_study(tmp_path, recipe(architectures=("unet",), trials=4, pruned=0, failed=0, running=0))
    results = pq.read_table(folder / StudyFolder.results).to_pandas()
    for column, value in {"image_loss": "mse", "learning_rate": 0.01, "width": 8.0}.items():
        results[S.CONFIG_PREFIX + column] = value
    last = results[S.TRIAL] == 3
    results[S.CONFIG_PREFIX + "task_target"] = last.map({True: "full_dose", False: "labels"})
    write_table(folder / StudyFolder.results, results)
    labels = {one.label for one in shown_contestants(analysis.load(folder))}
    assert "reconstruction-only" in labels and "task-adaptive, alpha 1, task target full_dose" in labels


def test_one_architecture_has_no_such_chart(tmp_path: Path) -> None:
    table = analysis.load(write_study(tmp_path, recipe(architectures=("unet",))))
    with pytest.raises(NotApplicable):
        FIGURES["within_architectures_dice"].compute(table)


def test_each_architecture_has_a_row_of_the_chart(tmp_path: Path) -> None:
    table = analysis.load(write_study(tmp_path, recipe()))
    figure = FIGURES["within_architectures_dice"].draw(FIGURES["within_architectures_dice"].compute(table))
    labels = list(figure.data[0].y)
    assert len(labels) == len(ARCHITECTURES)
    assert all("− reconstruction-only (trial" in label for label in labels)


def test_an_architecture_without_a_plain_training_is_left_out(tmp_path: Path) -> None:
    study = recipe()
    table = analysis.load(write_study(tmp_path, study))
    plain = [trial["trial"] for trial in plan(study) if trial["alpha"] == 0]
    of_unet = {trial["trial"] for trial in plan(study) if trial["architecture"] == "unet"}
    kept = [int(trial) for trial in table.trials.index if not (trial in of_unet and trial in plain)]
    names = compare_within_architectures(table.of_trials(kept)).rows["name"]
    assert {name.partition(",")[0] for name in names} == {"dncnn", "learned_primal_dual"}
    with pytest.raises(Unavailable, match="one without"):
        compare_within_architectures(table.of_trials([one for one in kept if one not in plain]))


def test_a_study_of_some_trials_keeps_its_references(tmp_path: Path) -> None:
    table = analysis.load(write_study(tmp_path, recipe()))
    some = table.of_trials([0, 1])
    assert list(some.trials.index) == [0, 1] and list(some.references.index) == list(table.references.index)
    assert set(some.samples[S.TRIAL]) == {0, 1, *table.references.index}
    assert some.scores("test").loc[1].equals(table.scores("test").loc[1])
