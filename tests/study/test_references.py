"""References bound the comparison, and iterative ones are tuned where sinograms are stored."""

from __future__ import annotations

import io
import json
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from outside_networks import Window
from rich.console import Console
from studies import run_here, study_config

import analysis
from study.config import ExperimentConfig
from study.data.dataset import load_card, write_card
from study.data.feed import TableFeed
from study.data.patient_jobs import in_one_field, plan
from study.data.simulate import dataset_card
from study.data.simulate_patient import measure_patient, simulate_patient
from study.experiment.experiment import Experiment
from study.experiment.search import SearchStage
from study.experiment.workspace import Workspace
from study.monitor.status import study_status
from study.monitor.status_view import draw_status
from study.scoring.references import write_references
from study.scoring.references_beside import ReferencesBeside
from study.search.events import Event, ReferencesAdvanced, ReferenceScored, TrialStarted
from study.trials.inputs import TrialInputs
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, read_rows, write_rows
from taskct_core.errors import ConfigError
from taskct_core.geometry import ParallelBeam


@pytest.fixture(scope="module")
def dataset(small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like the small one, with sinograms and more noise, and one slice a patient."""
    values = experiment_values(small, tmp_path_factory.mktemp("references"))
    experiment = ExperimentConfig.parse(values)
    folder = Workspace.of(experiment).dataset
    patients, jobs = plan(experiment, folder)
    jobs = in_one_field(jobs, lambda jobs: map(measure_patient, jobs))
    write_card(folder, dataset_card(experiment, patients, [simulate_patient(job) for job in jobs]))
    return folder


def experiment_values(small, output: Path) -> dict[str, Any]:
    """Of an experiment on such a dataset; its trial takes all CPUs of the session."""
    values: dict[str, Any] = small.experiment.model_dump() | {
        "output": str(output),
        "pretrained": str(small.workspace.task_network),
        "execution": {"executor": "actor", "cpus_per_worker": 2},
    }
    values["data"]["source"] |= {"slices_per_patient": 1}
    values["simulation"] |= {"store_sinogram": True, "fresh": False, "photons_per_ray": 300.0}
    values["trial"] |= {"epochs": 1}
    values["study"] |= {"trials": 1}
    return values


@pytest.fixture(scope="module")
def inputs(small, dataset: Path) -> TrialInputs:
    """What the study's trials share, read into this process."""
    card = load_card(dataset)
    return TrialInputs(
        feeds={
            split: TableFeed([pq.read_table(path) for path in card.shard_paths(dataset, split)])
            for split in schema.SPLITS
        },
        geometry=ParallelBeam.from_dict(card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=card.data_hash,
        objectives=tuple(small.experiment.study.objectives),
    )


@pytest.fixture(scope="module")
def scored(inputs: TrialInputs, tmp_path_factory: pytest.TempPathFactory) -> list[EpochRow]:
    """The references' rows, scored in this process."""
    folder = tmp_path_factory.mktemp("scored")
    write_references(folder, inputs)
    return read_rows(StudyFolder(folder).references)


@pytest.fixture(scope="module")
def rows(scored: list[EpochRow]) -> dict[tuple[str, str], EpochRow]:
    return {(row[schema.METHOD], row[schema.SPLIT]): row for row in scored}


def test_every_reference_on_both_splits(rows: dict) -> None:
    assert set(rows) == {(m, s) for m in ("full_dose", "fbp", "tv", "sirt") for s in ("validation", "test")}
    assert len({row[schema.TRIAL] for row in rows.values()}) == 4
    assert all(row[schema.TRIAL] < 0 for row in rows.values())


def test_full_dose_is_perfect_and_iterative_beats_noisy_fbp(rows: dict) -> None:
    full = rows["full_dose", "test"]
    assert full[schema.PRIMARY_PSNR] == math.inf
    assert full[schema.PRIMARY_SSIM] == pytest.approx(1)
    for method in ("tv", "sirt"):
        assert rows[method, "test"][schema.PRIMARY_PSNR] > rows["fbp", "test"][schema.PRIMARY_PSNR] + 1
        assert "=" in rows[method, "test"][schema.REFERENCE_SETTINGS]


def test_without_sinograms_there_is_fbp_alone(small, tmp_path: Path) -> None:
    inputs = small.trial_inputs(slices=2)
    write_references(tmp_path, inputs)
    methods = [row[schema.METHOD] for row in read_rows(tmp_path / StudyFolder.references)]
    assert list(dict.fromkeys(methods)) == ["full_dose", "fbp"]
    whole = (
        (tmp_path / StudyFolder.references).read_bytes(),
        pd.read_parquet(tmp_path / StudyFolder.reference_samples),
    )
    scored: list[dict] = []
    write_references(tmp_path, inputs, scored.append)  # a continued study keeps them
    assert not scored
    first = [row for row in json.loads(whole[0]) if row[schema.METHOD] == "full_dose"]
    (tmp_path / StudyFolder.references).write_text(json.dumps(first))  # killed before FBP was scored
    write_references(tmp_path, inputs, scored.append)
    assert {row[schema.METHOD] for row in scored} == {"fbp"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / StudyFolder.reference_samples), whole[1])
    assert np.isfinite([row["psnr_fixed"] for row in read_rows(tmp_path / StudyFolder.references)][2:]).all()


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what has no value, such as the bias of a tissue that no slice has: no NaN equals another."""
    return {name: value for name, value in row.items() if value == value}


@pytest.mark.slow
@pytest.mark.ray
def test_references_are_scored_beside_a_trial_that_takes_all_cpus(
    small, dataset: Path, scored: list[EpochRow], local_ray: None, tmp_path: Path
) -> None:
    values = experiment_values(small, tmp_path) | {"dataset": str(dataset)}
    config = ExperimentConfig.parse(values)
    stage = SearchStage(Experiment(config))
    events: list[Event] = []
    stage.make(events.append)
    first = {type(event): number for number, event in reversed(list(enumerate(events)))}
    assert first[TrialStarted] < first[ReferencesAdvanced] < first[ReferenceScored]
    last = max(events, key=lambda event: event.done if isinstance(event, ReferencesAdvanced) else 0)
    assert isinstance(last, ReferencesAdvanced) and last.done == last.total > 0
    folder = StudyFolder(stage.folder)
    rows = read_rows(folder.references)
    assert [row[schema.METHOD] for row in rows[::2]] == ["full_dose", "fbp", "tv", "sirt"]
    assert not folder.reference_progress.exists() and study_status(stage.folder).state == "finished"
    for one, other in zip(rows, scored, strict=True):
        ours, theirs = _numbers(one), _numbers(other)
        differing = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
        assert differing <= {schema.SECONDS, schema.FINISHED_AT}
    assert SearchStage(Experiment(config)).is_done
    network = folder.path / "window.pt"  # a finished study is compared with another's network
    torch.jit.script(Window()).save(network)
    values["study"] |= {"references": [{"name": "window", "network": str(network)}]}
    compared = SearchStage(Experiment(ExperimentConfig.parse(values)))
    assert not compared.is_done
    write_rows(folder.references, rows[:6])  # as after a kill while SIRT was scored
    assert not SearchStage(Experiment(config)).is_done
    events.clear()
    compared.make(events.append)
    again = [event.row[schema.METHOD] for event in events if isinstance(event, ReferenceScored)]
    assert again == ["sirt", "sirt", "window", "window"] and len(read_rows(folder.references)) == 10
    assert not any(isinstance(event, TrialStarted) for event in events) and compared.find_done()
    table = analysis.load(folder.path)
    assert table.label(table.reference("window")) == "window"
    assert "window" in analysis.write_report(folder.path).read_text(encoding="utf-8")


@pytest.mark.slow  # kills its actors
@pytest.mark.ray
def test_stopped_references_are_finished_by_the_next_driver(
    inputs: TrialInputs, local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    advanced = threading.Event()
    first = ReferencesBeside(tmp_path / "study", inputs, lambda event: advanced.set())
    assert not first.finish(until=time.monotonic())
    assert advanced.wait(300)
    first.stop()
    before = read_rows(StudyFolder(tmp_path / "study").references)
    assert len(before) < 8 and len(before) % 2 == 0
    second = ReferencesBeside(tmp_path / "study", inputs, lambda event: None)
    assert second.finish()
    second.stop()
    shown = capfd.readouterr()
    assert "retries" not in shown.out + shown.err, "what Ray says of actors that were killed"
    rows = read_rows(StudyFolder(tmp_path / "study").references)
    assert [*map(_numbers, rows[: len(before)])] == [*map(_numbers, before)] and len(rows) == 8


@pytest.mark.ray
def test_what_ended_the_references_is_told_to_who_waits_for_them(
    small, local_ray: None, tmp_path: Path
) -> None:
    inputs = small.trial_inputs(slices=1, objectives=("own_plugins:no_such_score",))
    with pytest.raises(ConfigError, match="no_such_score"):
        ReferencesBeside(tmp_path / "study", inputs, lambda event: None).finish()


def test_an_interrupted_study_shows_how_far_its_references_are(tmp_path: Path) -> None:
    run_here(study_config(trials=1), tmp_path)
    StudyFolder(tmp_path).reference_progress.write_text('{"done": 12, "total": 40, "method": "tv"}')
    status = study_status(tmp_path)
    assert status.state == "stopped" and status.references == ReferencesAdvanced(12, 40, "tv")
    out = io.StringIO()
    console = Console(file=out, width=160)
    console.print(draw_status(status))
    assert "12 of 40 tv" in out.getvalue()
    StudyFolder(tmp_path).reference_progress.write_text("{")  # a torn note hides nothing else
    assert study_status(tmp_path).references is None
