"""LiTS slices kept as JPEG -> a dataset folder on which a liver task network can be pre-trained.

    python benchmarks/real_ct/pretraining_slices.py ../shared/data/lits_msd_liver_jpg.tar runs/real_ct/jpeg

The JPEGs hold HU clipped to [0, 255] and a mask of liver or tumour, not told apart. HU below 0 are lost, so
they cannot be projected, but a network with the window [0, 255] HU sees all there is. Patients are split;
patient 10049 is 3D-IRCADb-01 patient 1, on whom reconstructions are tested, and is left out.
"""

from __future__ import annotations

import io
import re
import sys
import tarfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.dataset import DatasetCard, ShardEntry, hash_of, to_table, write_card, write_shard
from taskct_core import schema
from taskct_core.dose import normalise_hu
from taskct_core.geometry import PRESETS

TEST_PATIENT = "10049"
VALIDATION_SHARE = 0.2
QUARTER_TURNS = {"flipped": 1, "mirrored": 3}  # how each kind of file stands upright again
PRESET = "small"
Slices = dict[str, list[tuple[int, NDArray[np.float32], NDArray[np.uint8]]]]


def read_slices(archive: Path) -> Slices:
    """Patient -> its slices as (index, HU ``(H, W)``, labels ``(H, W)``), at the preset's size."""
    shape = PRESETS[PRESET].image_shape
    slices: Slices = defaultdict(list)
    with tarfile.open(archive) as tar:
        for member in tar:
            match = re.fullmatch(r"images/((flipped|mirrored)_(\d+)_(\d+)\.jpg)", member.name)
            if match is None or match[3] == TEST_PATIENT:
                continue
            name, kind, patient, index = match.groups()
            turns = QUARTER_TURNS[kind]
            hu = _read(tar, f"images/{name}", shape, turns, Image.Resampling.BOX).astype(np.float32)
            mask = _read(tar, f"masks/{name}", shape, turns, Image.Resampling.NEAREST) > 127
            slices[patient].append((int(index), hu, mask.astype(np.uint8)))
    return {patient: sorted(slices[patient], key=lambda item: item[0]) for patient in sorted(slices)}


def _read(
    tar: tarfile.TarFile, name: str, shape: tuple[int, int], turns: int, resampling: int
) -> NDArray[np.uint8]:
    file = tar.extractfile(name)
    assert file is not None
    image = Image.open(io.BytesIO(file.read())).convert("L").resize(shape[::-1], resampling)
    return np.rot90(np.asarray(image), turns)


def write_dataset(slices: Slices, folder: Path) -> DatasetCard:
    """Write shards of full-dose images and labels, one a patient, and the dataset's card."""
    order = np.random.default_rng(0).permutation(list(slices))
    held_out = set(order[: round(VALIDATION_SHARE * len(order))])
    shards: dict[str, list[ShardEntry]] = {split: [] for split in schema.SPLITS}
    for patient, items in slices.items():
        split = "validation" if patient in held_out else "train"
        path = f"{split}/{patient}-00000.parquet"
        indices, images, labels = zip(*items, strict=True)
        table = to_table(
            {
                schema.PATIENT: np.full(len(items), patient),
                schema.SLICE_INDEX: np.asarray(indices, np.int32),
                schema.FULL_DOSE: normalise_hu(np.stack(images)).astype(np.float32),
                schema.LABELS: np.stack(labels),
            },
            simulation_hash="",
        )
        sha256 = write_shard(folder / path, table)
        shards[split].append(ShardEntry(path=path, patient=patient, rows=len(items), sha256=sha256))
    card = DatasetCard(
        geometry=PRESETS[PRESET].to_dict(),
        simulation={},
        source={"kind": "LiTS JPEG slices, HU clipped to [0, 255]", "left_out": TEST_PATIENT},
        patients={split: [shard.patient for shard in entries] for split, entries in shards.items()},
        counts={split: _counts(entries) for split, entries in shards.items()},
        image_shape=PRESETS[PRESET].image_shape,
        has_sinogram=False,
        shards=shards,
        data_hash=hash_of(shards),
        versions={"taskct": version("taskct")},
    )
    write_card(folder, card)
    return card


def _counts(entries: list[ShardEntry]) -> dict[str, int]:
    samples = sum(shard.rows for shard in entries)
    return {"samples": samples, "with_liver": samples, "with_tumour": 0}


if __name__ == "__main__":
    written = write_dataset(read_slices(Path(sys.argv[1])), Path(sys.argv[2]))
    print({split: counts["samples"] for split, counts in written.counts.items()}, written.data_hash[:12])
