"""Shards are plain Parquet that other tools open, and a dataset that was changed is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.data.dataset import hash_of, load_card, verify_shards
from study.data.scan_export import export_scan
from study.data.shard_export import export_shards
from study.data.shards import from_table, read_shard, to_table, write_shard
from taskct_core import open_scan, schema
from taskct_core.contracts.folders import DatasetFolder
from taskct_core.errors import ConfigError, DataError, TaskctError


@pytest.fixture
def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        schema.PATIENT: np.array(["a", "a", "b"]),
        schema.SLICE_INDEX: np.array([3, 4, 0], np.int32),
        schema.FULL_DOSE: rng.random((3, 5, 7), np.float32),
        schema.FBP: rng.random((3, 5, 7), np.float32),
        schema.LABELS: rng.integers(0, 3, (3, 5, 7)).astype(np.uint8),
        schema.PHOTONS_PER_RAY: np.array([1.0, 2.0, 3.0], np.float32),
        schema.PIXEL_SPACING_MM: np.array([1.5, 1.5, 1.5], np.float32),
    }


def test_plain_pyarrow_and_pandas_open_a_shard(samples: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    write_shard(path, to_table(samples, "hash"))
    table = pq.read_table(path)
    assert table.schema.field(schema.FULL_DOSE).type == pa.fixed_shape_tensor(pa.float32(), (5, 7))
    np.testing.assert_array_equal(
        table.column(schema.LABELS).combine_chunks().to_numpy_ndarray(), samples[schema.LABELS]
    )
    frame = pd.read_parquet(path)
    np.testing.assert_array_equal(np.reshape(frame[schema.FBP][1], (5, 7)), samples[schema.FBP][1])


def test_arrays_come_back_as_they_went(samples: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    write_shard(path, to_table(samples, "hash"))
    for name, values in from_table(pq.read_table(path)).items():
        np.testing.assert_array_equal(values, samples[name])


def test_a_failed_write_leaves_the_old_shard(samples: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    before = write_shard(path, to_table(samples, "hash"))

    class Broken:  # a table that no writer accepts
        schema = None

    with pytest.raises(Exception, match=r".+"):
        write_shard(path, Broken())
    assert [file.name for file in tmp_path.iterdir()] == ["shard.parquet"]
    assert write_shard(path, to_table(samples, "hash")) == before


def test_card_tells_what_was_simulated(small) -> None:
    card = small.card
    assert card.patients.keys() == set(schema.SPLITS)
    rows = {
        split: sum(len(pq.read_table(path)) for path in card.shard_paths(small.workspace.dataset, split))
        for split in schema.SPLITS
    }
    assert rows == {split: card.counts[split]["samples"] for split in schema.SPLITS}
    assert card.data_hash == hash_of(card.shards)
    patients = [set(names) for names in card.patients.values()]
    assert sum(len(names) for names in patients) == len(set.union(*patients))


@pytest.fixture
def dataset(small, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small.workspace.dataset, tmp_path / "data"))


def test_changed_and_missing_shards_are_named(dataset: Path) -> None:
    card = load_card(dataset)
    verify_shards(dataset, card)
    path = dataset / card.shards["train"][0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name}: other bytes"):
        verify_shards(dataset, card)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name}: no such file"):
        verify_shards(dataset, card)


def test_other_format_version_is_refused(dataset: Path) -> None:
    path = dataset / DatasetFolder.card
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(DataError, match="version 99"):
        load_card(dataset)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"simulation": {"field_of_view": 3}}, "field_of_view"),
        ({"simulation": {"photons_per_ray": "many"}}, "photons_per_ray"),
        ({"simulation": []}, "simulation"),
        ({"source": {}, "folds": {"a": 0}}, r"without a valid source\.split"),
        ({"shards": {}}, r"shards\.train, shards\.validation"),
        ({"counts": {"train": {}}}, r"counts\.train\.samples"),
        ({"has_sinogram": True, "geometry": {"num_angles": [], "num_bins": 5}}, r"geometry\.num_angles"),
    ],
)
def test_a_card_that_lacks_what_is_read_of_it_is_refused(
    dataset: Path, changes: dict[str, Any], said: str
) -> None:
    path = dataset / DatasetFolder.card
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(TaskctError, match=said):
        load_card(dataset)


def test_a_card_may_lack_or_have_settings_of_another_version(dataset: Path) -> None:
    path = dataset / DatasetFolder.card
    card = json.loads(path.read_text())
    card["simulation"]["a_setting_of_yore"] = 1
    del card["simulation"]["field_of_view"]
    path.write_text(json.dumps(card))
    assert "field of view scanner" in load_card(dataset).scanner_text


def test_a_card_of_slices_that_were_never_split_by_a_configuration_opens(dataset: Path) -> None:
    path = dataset / DatasetFolder.card
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source": {"kind": "JPEG slices"}}))
    assert load_card(dataset).source == {"kind": "JPEG slices"}


def test_unfinished_dataset_is_refused(dataset: Path) -> None:
    (dataset / DatasetFolder.card).unlink()
    with pytest.raises(DataError, match="taskct simulate"):
        load_card(dataset)


def test_a_dataset_knows_what_its_samples_take_in_memory(small) -> None:
    tables = [
        from_table(pq.read_table(path).select(small.card.sample_columns))
        for split in small.card.shards
        for path in small.card.shard_paths(small.workspace.dataset, split)
    ]
    tensors = [values for table in tables for values in table.values() if values.ndim > 1]
    assert small.card.size_bytes == sum(values.nbytes for values in tensors)
    columns = small.card.model_copy(update={"has_sinogram": True})
    sinograms = sum(len(table[schema.LABELS]) for table in tables) * 4 * 32 * 91  # angles, bins
    assert columns.size_bytes == small.card.size_bytes + sinograms


def test_exported_shards_are_plain_lists_of_the_same_numbers(small: Any, tmp_path: Path) -> None:
    paths = list(export_shards(small.card, small.workspace.dataset, tmp_path / "plain"))
    assert len(paths) == sum(map(len, small.card.shards.values()))
    plain = pa.concat_tables([pq.read_table(path) for path in paths if path.parent.name == "train"])
    assert not any(isinstance(field.type, pa.BaseExtensionType) for field in plain.schema)
    stored = [read_shard(path) for path in small.card.shard_paths(small.workspace.dataset, "train")]
    images = np.concatenate([from_table(table)["fbp"] for table in stored])
    np.testing.assert_array_equal(np.array(plain["fbp"].to_pylist(), np.float32), images)
    assert plain["patient"].to_pylist() == [name for table in stored for name in table["patient"].to_pylist()]
    with pytest.raises(ConfigError, match="another folder"):
        list(export_shards(small.card, small.workspace.dataset, small.workspace.dataset))


def test_a_simulated_patient_becomes_a_scan_in_hu(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "low_dose.nii.gz"
    patient = export_scan(small.card, small.workspace.dataset, path)
    assert patient in small.card.patients["test"]
    voxels = np.asarray(nib.Nifti1Image.from_filename(path).dataobj).transpose(2, 1, 0)
    tables = map(read_shard, small.card.shard_paths(small.workspace.dataset, "test"))
    stored = from_table(next(table for table in tables if table["patient"][0].as_py() == patient))
    water, air = 20.0, 0.02  # 1/m
    hu = (stored["fbp"] * 81.35858 - water) / (water - air) * 1000
    assert np.abs(voxels[: len(hu)] - hu).max() <= 0.51
    scan = open_scan(
        path
    )  # lays columns to the left and rows to the back, as they are stored, and cuts at -1024
    assert np.array_equal(scan.hu, voxels.clip(min=-1024))
    assert scan.spacing_mm == pytest.approx((5.0, *[stored["pixel_spacing_mm"][0]] * 2), rel=1e-5)
    for wrong, output, message in (
        ("nobody", tmp_path / "x.nii", "--patient must be one of"),
        (patient, tmp_path / "x.png", ".nii.gz"),
        (patient, path, "kept as it is"),
    ):
        with pytest.raises(ConfigError, match=message):
            export_scan(small.card, small.workspace.dataset, output, wrong)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
