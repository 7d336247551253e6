"""Loading: the views of a study folder, and a clear word for every folder that breaks the contract."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from dataclasses import replace

import pandas as pd
import pytest
from study_factory import Recipe, plan, write_study, write_table

import analysis
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import DataError


def test_import_is_light():
    code = (
        "import sys, analysis; print([m for m in ('torch', 'ray', 'pandas', 'plotly') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_report_needs_neither_torch_nor_ray():
    code = "import sys, analysis; analysis.write_report; print([m for m in ('torch', 'ray') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_trials_and_references_are_told_apart(table):
    planned = plan(Recipe(seeds=2))
    assert table.trials[S.STATUS].to_dict() == {t["trial"]: t["status"] for t in planned}
    assert table.references[S.METHOD].to_dict() == {-1: "full_dose", -2: "fbp", -3: "tv"}
    assert table.reference("sirt") is None
    assert table.label(-2) == "FBP" and table.label(3) == "trial 3"


def test_scores_are_of_the_last_epoch(table):
    rows = table.rows[(table.rows[S.TRIAL] == 4) & (table.rows[S.SPLIT] == "validation")]
    last = rows.loc[rows[S.EPOCH].idxmax()]
    assert table.scores("validation").loc[4, S.PRIMARY_PSNR] == last[S.PRIMARY_PSNR]
    assert 4 in table.complete_scores("test").index and -1 not in table.complete_scores("test").index


def test_claims_are_made_on_test_where_there_is_one(tmp_path, table):
    assert table.claim_split == "test"
    assert analysis.load(write_study(tmp_path, Recipe(test_split=False))).claim_split == "validation"


def test_seeds_are_repetitions_of_a_configuration(table):
    assert table.configurations[[0, 1, 2, 3]].tolist() == [0, 0, 2, 2]
    assert S.CONFIG_PREFIX + "seed" not in table.searched and S.CONFIG_HASH not in table.searched
    assert S.CONFIG_PREFIX + "task_loss" not in table.searched  # the same for all


def test_a_configuration_drawn_again_with_its_seed_is_no_further_run(table):
    assert len(table.distinct_runs) == 24
    repeated = analysis.ResultsTable(
        table.folder, table.rows.assign(config_seed=0.0), table.samples, table.study
    )
    assert len(repeated.distinct_runs) == 12


def test_a_conditional_parameter_that_does_not_apply_is_not_described(table):
    with_width, without = table.descriptions[0], table.descriptions[2]
    assert "width 16" in with_width and "width" not in without


def test_a_trial_that_failed_and_then_completed_is_complete(tmp_path):
    folder = write_study(tmp_path, Recipe(trials=2))
    rows = pd.read_parquet(folder / StudyFolder.results)
    first = rows.index[(rows[S.TRIAL] == 0)][0]
    rows.loc[first, S.STATUS] = S.FAIL
    write_table(folder / StudyFolder.results, rows)
    assert analysis.load(folder).trials.at[0, S.STATUS] == S.COMPLETE


def test_the_results_file_alone_is_enough(tmp_path):
    folder = write_study(tmp_path, Recipe(samples=False, panels=False, configs=False))
    (folder / StudyFolder.card).unlink()
    table = analysis.load(folder / StudyFolder.results)
    assert (
        len(table.samples) == 0
        and table.study == StudyCard()
        and table.objectives == [S.PRIMARY_DICE, S.PRIMARY_PSNR]
    )


def test_a_study_can_lie_at_an_fsspec_url(study):
    assert analysis.load(f"file://{study}").trials.shape == analysis.load(study).trials.shape


BROKEN = {
    "no folder": (lambda folder: None, "no such folder"),
    "no results": (lambda folder: folder.mkdir(), "must hold results.parquet"),
    "not parquet": (lambda folder: _write(folder, b"PAR1 nonsense"), "readable Parquet"),
    "older schema": (lambda folder: _rewrite(folder, version="0"), "version 0"),
    "no version": (lambda folder: _rewrite(folder, version=None), "no version at all"),
    "missing column": (lambda folder: _rewrite(folder, drop=[S.STATUS]), "without status"),
    "no rows": (lambda folder: _rewrite(folder, keep=0), "0 rows"),
    "unknown status": (lambda folder: _rewrite(folder, status="DONE"), "DONE"),
    "study.json is no object": (lambda folder: _json(folder, "[1]"), "must hold an object"),
    "study.json is no JSON": (lambda folder: _json(folder, "{"), "valid JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_gets_a_clear_word(tmp_path, name):
    make, words = BROKEN[name]
    make(tmp_path / "study")
    with pytest.raises(DataError) as caught:
        analysis.load(tmp_path / "study")
    assert words in str(caught.value) and caught.value.next_step


def _write(folder, content):
    folder.mkdir()
    (folder / StudyFolder.results).write_bytes(content)


def _rewrite(folder, version="1", drop=(), keep=None, status=None):
    write_study(folder, Recipe(trials=2, samples=False, panels=False))
    rows = pd.read_parquet(folder / StudyFolder.results).drop(columns=list(drop)).iloc[:keep]
    write_table(folder / StudyFolder.results, rows.assign(status=status) if status else rows, version)


def _json(folder, text):
    write_study(folder, Recipe(trials=2, samples=False, panels=False))
    (folder / StudyFolder.card).write_text(text)
    with pytest.raises(DataError):
        analysis.load(folder)


def test_study_json_names_and_objectives_are_read(table):
    card = json.loads((table.folder.path / StudyFolder.card).read_text())
    assert table.name == card["name"] and table.objectives == card["objectives"]


def test_an_own_objective_has_the_direction_of_its_own_study(tmp_path):
    name, tables = "my_metrics:share", []
    for way in ("minimize", "maximize"):
        folder = write_study(tmp_path / way, Recipe(trials=4, samples=False, panels=False, configs=False))
        rows = pd.read_parquet(folder / StudyFolder.results)
        write_table(folder / StudyFolder.results, rows.assign(**{name: rows[S.TRIAL].astype(float)}))
        card = StudyCard(name=way, objectives=[name, S.PRIMARY_PSNR], directions={name: way})
        card.write(StudyFolder(folder).card)
        tables.append(analysis.load(folder))
    assert [table.direction(name) for table in tables] == ["minimize", "maximize"]
    assert [analysis.picks(table)[0].trial for table in tables] == [0, 3]


def test_facts_are_worked_out_once_and_go_with_their_table(tmp_path):
    table = analysis.load(write_study(tmp_path, Recipe(trials=4, panels=False, configs=False)))
    asked = []

    def count(_):
        asked.append(True)
        return len(asked)

    assert [table.fact(count), table.fact(count)] == [1, 1]
    assert analysis.summarise(table) == analysis.summarise(replace(table, study=table.study))
    gone = weakref.ref(table)
    del table
    gc.collect()
    assert gone() is None
