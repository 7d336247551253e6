"""A dataset that was damaged is mended, and one whose source has changed says so."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest

from study.config import ExperimentConfig
from study.data.batches import Share
from study.data.dataset import DatasetCard, find_damages, load_card, write_card
from study.data.feed import open_feeds
from study.data.patient_jobs import in_one_field, plan
from study.data.shards import read_shard
from study.data.simulate import carry_out, dataset_card, simulate
from study.data.simulate_patient import PatientJob, file_stem, measure_patient, simulate_patient
from study.data.simulation_plan import plan_simulation
from taskct_core import schema
from taskct_core.contracts.folders import DatasetFolder
from taskct_core.errors import DataError, StudyError


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def write_patient(folder: Path, number: str, liver_value: int | None = None) -> None:
    """No two are the same CT, which would be refused."""
    folder.mkdir(exist_ok=True)
    liver_value = liver_value or 80 + sum(map(ord, number)) % 40
    hu = np.full((32, 32, 4), -1000, np.int16)
    hu[6:26, 6:26] = 40
    hu[8:16, 8:16] = liver_value
    labels = np.zeros(hu.shape, np.uint8)
    labels[8:16, 8:16] = 1
    affine = np.diag([-5.0, -5.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(hu, affine), folder / f"volume-{number}.nii")
    nib.save(nib.Nifti1Image(labels, affine), folder / f"segmentation-{number}.nii")


def correct_labels(file: Path) -> None:
    """In place, so that the file keeps its size."""
    image = nib.Nifti1Image.from_filename(file)
    labels = np.asanyarray(image.dataobj).copy()
    labels[9:12, 9:12] = 2
    nib.save(nib.Nifti1Image(labels, image.affine), file)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in ("1", "2", "3"):
        write_patient(tmp_path / "ct", number)
    return tmp_path / "ct"


def experiment_on(source: Path, **data: Any) -> ExperimentConfig:
    return ExperimentConfig.parse(
        {
            "data": {"source": {"kind": "lits", "path": str(source)}, "rows_per_shard": 2, **data},
            "simulation": {"preset": "tiny", "num_angles": 16},
        }
    )


def one_process_jobs(experiment: ExperimentConfig, folder: Path) -> list[PatientJob]:
    return in_one_field(plan(experiment, folder)[1], lambda jobs: map(measure_patient, jobs))


def made_here(source: Path, folder: Path) -> DatasetCard:
    """The dataset as Ray's job makes it, made in this process."""
    experiment = experiment_on(source)
    patients = plan(experiment, folder)[0]
    manifests = [simulate_patient(job) for job in one_process_jobs(experiment, folder)]
    write_card(folder, dataset_card(experiment, patients, manifests))
    return load_card(folder)


def bytes_of(folder: Path, card: DatasetCard) -> dict[str, bytes]:
    return {
        shard.path: (folder / shard.path).read_bytes() for shards in card.shards.values() for shard in shards
    }


@pytest.mark.ray
def test_missing_and_damaged_shards_are_made_again_and_the_others_kept(
    source: Path, local_ray: None, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    card = made_here(source, folder)
    before = bytes_of(folder, card)
    missing, damaged, *whole = [folder / path for path in before]
    times = [path.stat().st_mtime_ns for path in whole]
    missing.unlink()
    flip_a_bit(damaged)

    begun = plan_simulation(experiment_on(source), folder)
    assert not begun.is_done
    mended = carry_out(begun)
    assert mended == load_card(folder)
    assert (mended.data_hash, mended.shards) == (card.data_hash, card.shards)
    assert bytes_of(folder, mended) == before
    assert [path.stat().st_mtime_ns for path in whole] == times
    assert "with the bytes they had: 2" in begun.remarks(mended)[0]
    assert plan_simulation(experiment_on(source), folder).is_done


@pytest.mark.ray
def test_a_torn_card_is_made_again(source: Path, local_ray: None, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    card = made_here(source, folder)
    before = bytes_of(folder, card)
    flip_a_bit(folder / next(iter(before)))
    for damage in ("", "{", "\0" * 40):
        (folder / DatasetFolder.card).write_text(damage)
        begun = plan_simulation(experiment_on(source), folder)
        assert begun.card is None and len(begun.jobs) == 3
    assert simulate(experiment_on(source), folder) == card
    assert bytes_of(folder, card) == before


@pytest.mark.ray
def test_labels_corrected_in_place_are_noticed(source: Path, local_ray: None, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    old = made_here(source, folder)
    correct_labels(source / "segmentation-2.nii")
    with pytest.raises(StudyError, match=r"volume-2: other labels .{8} -> ") as refusal:
        simulate(experiment_on(source), folder)
    assert "volume-1" not in refusal.value.received
    assert "--changed-source keep" in refusal.value.next_step

    kept = simulate(experiment_on(source), folder, changed_source="keep")
    assert kept.data_hash == old.data_hash
    assert simulate(experiment_on(source), folder) == kept  # the choice is remembered
    write_patient(source, "2", liver_value=60)  # another change than the one that was disregarded
    with pytest.raises(StudyError, match=r"volume-2: other CT .* and labels|volume-2: other CT"):
        simulate(experiment_on(source), folder)

    new = simulate(experiment_on(source), folder, changed_source="anew")
    assert new.data_hash != old.data_hash
    assert new.kept_changes == []
    untouched = tmp_path / "untouched"
    jobs = one_process_jobs(experiment_on(source), untouched)
    made = {shard["path"]: shard["sha256"] for job in jobs for shard in simulate_patient(job)["shards"]}
    assert {shard.path: shard.sha256 for shards in new.shards.values() for shard in shards} == made
    same = [path for path, content in bytes_of(folder, old).items() if "volume-2" not in path]
    assert len(same) == 4


@pytest.mark.ray
def test_patients_added_and_removed_are_noticed(source: Path, local_ray: None, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made_here(source, folder)
    write_patient(source, "4")
    with pytest.raises(StudyError, match="volume-4: added, for "):
        simulate(experiment_on(source), folder)
    grown = simulate(experiment_on(source), folder, changed_source="anew")
    assert sorted(chain(*grown.patients.values())) == [f"volume-{number}" for number in (1, 2, 3, 4)]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}
    assert files == set(bytes_of(folder, grown)), "shards of the dataset before are still there"

    for kind in ("volume", "segmentation"):
        (source / f"{kind}-1.nii").unlink()
    with pytest.raises(StudyError, match="volume-1: no longer in the source"):
        simulate(experiment_on(source), folder)
    assert simulate(experiment_on(source), folder, changed_source="keep").data_hash == grown.data_hash
    flip_a_bit(folder / next(path for path in bytes_of(folder, grown) if "volume-1" in path))
    with pytest.raises(StudyError, match="only from the source that it was made from"):
        simulate(experiment_on(source), folder)


def test_a_copied_or_absent_source(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    card = made_here(source, folder)
    for file in source.iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)  # same contents, other times
    assert simulate(experiment_on(source), folder).data_hash == card.data_hash
    shutil.rmtree(source)
    with pytest.raises(StudyError, match="cannot be read"):
        simulate(experiment_on(source), folder)
    assert simulate(experiment_on(source), folder, changed_source="keep").data_hash == card.data_hash


@pytest.mark.ray
def test_a_dataset_of_an_earlier_version_is_mended_under_its_own_names(
    source: Path, local_ray: None, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    card = made_here(source, folder)
    shards: dict[str, list] = {}
    for split, entries in card.shards.items():
        shards[split] = []
        for shard in entries:
            name = shard.path.replace("volume-", "Volume_")
            (folder / shard.path).rename(folder / name)
            shards[split].append(shard.model_copy(update={"path": name}))
    values = card.model_dump(mode="json", exclude={"sources", "kept_changes"})
    old = DatasetCard.parse(values | {"shards": {s: [e.model_dump() for e in v] for s, v in shards.items()}})
    write_card(folder, old)
    path = folder / old.shards["train"][0].path
    path.unlink()
    mended = simulate(experiment_on(source), folder)
    assert mended.shards == old.shards
    assert path.is_file()
    patient = old.patients["validation"][0]
    write_patient(source, patient.removeprefix("volume-"), liver_value=60)
    with pytest.raises(
        StudyError, match=rf"{patient}: {patient}.nii, segmentation-.* newer than the dataset"
    ):
        simulate(experiment_on(source), folder)


NAMES = [
    "a b",
    "a_b",
    "a+b",
    "A_b",
    "ä",
    "a\u0308",
    "é",
    "è",
    "肝",
    "臓",
    "x" * 200,
    "x" * 199 + "y",
    "_a",
    ".a",
    "-",
]


def test_two_patients_never_share_a_file() -> None:
    stems = [file_stem(name) for name in NAMES]
    assert len({stem.casefold() for stem in stems}) == len(NAMES)
    for stem in stems:
        assert stem.isascii()
        assert len(f".{stem}-00000.parquet.123456.partial") < 255
        assert stem[0] not in "._"  # Ray Data takes such files for hidden ones
        assert file_stem(stem) == stem or "~" in stem
    assert file_stem("volume-12") == "volume-12"


def test_awkward_names_keep_all_their_rows(tmp_path: Path) -> None:
    names = ["a b", "a_b", "A_B", "é", "è"]
    for name in names:
        write_patient(tmp_path / "ct", name)
    split = {"train": [f"volume-{name}" for name in names], "validation": [], "test": []}
    for job in one_process_jobs(experiment_on(tmp_path / "ct", split=split), tmp_path / "data"):
        simulate_patient(job)
    rows = [read_shard(path) for path in (tmp_path / "data").rglob("*.parquet")]
    patients = [patient for table in rows for patient in table.column(schema.PATIENT).to_pylist()]
    assert {name: patients.count(f"volume-{name}") for name in names} == dict.fromkeys(names, 4)


@pytest.mark.ray
def test_shards_damaged_after_the_check_are_not_read(small, local_ray: None, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.workspace.dataset, tmp_path / "alpha=0.5" / "data"))
    card = load_card(folder)
    columns = read_shard(folder / card.shards["test"][0].path).column_names
    batch = next(open_feeds(card, folder, "memory")["test"].ordered(99, share=Share()))
    assert sorted(batch) == sorted(columns)  # the folder's name alpha=0.5 is no column
    path = folder / card.shards["train"][0].path
    flip_a_bit(path)
    assert list(find_damages(folder, card)) == [card.shards["train"][0].path]
    assert pq.read_table(path).num_rows  # what the compression does not notice ...
    with pytest.raises(DataError, match="undamaged"):
        read_shard(path)  # ... the checksums do
    with pytest.raises(DataError, match="train"):
        open_feeds(card, folder, "memory")
