"""References bound the comparison, and iterative ones are tuned where sinograms are stored."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.data.simulate_patient import measure_patient, simulate_patient
from study.data.simulation_plan import in_one_field, plan
from study.scoring.references import write_references
from study.trials.trial import TrialInputs
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.geometry import ParallelBeam


@pytest.fixture(scope="module")
def rows(small, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict]:
    """Of a dataset like the small one, with sinograms."""
    import pyarrow.parquet as pq

    from study.data.feed import TableFeed

    folder = tmp_path_factory.mktemp("references")
    _, jobs = plan(small.experiment, folder / "data")
    jobs = in_one_field(jobs, lambda jobs: map(measure_patient, jobs))
    tables: dict[str, list] = {split: [] for split in schema.SPLITS}
    for job in jobs:
        simulation = job.simulation.model_copy(update={"store_sinogram": True, "photons_per_ray": 300.0})
        for shard in simulate_patient(dataclasses.replace(job, simulation=simulation))["shards"]:
            tables[job.split].append(pq.read_table(folder / "data" / shard["path"]))
    inputs = TrialInputs(
        feeds={split: TableFeed(parts) for split, parts in tables.items()},
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash="with sinograms",
    )
    write_references(folder, inputs)
    return {
        (row[schema.METHOD], row[schema.SPLIT]): row for row in read_rows(folder / StudyFolder.references)
    }


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
    inputs = TrialInputs(
        feeds={split: small.feed(split) for split in schema.SPLITS},
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
    )
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
