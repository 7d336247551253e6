"""LiTS slices kept as JPEG -> a dataset folder on which a liver task network can be pre-trained.

    python benchmarks/real_ct/pretraining_slices.py ../shared/data/lits_msd_liver_jpg.tar runs/real_ct/jpeg
    python benchmarks/real_ct/pretraining_slices.py ... runs/real_ct/lesioned --lesions
    python benchmarks/real_ct/pretraining_slices.py ... runs/real_ct/second_judge_slices --lesions --second-judge

The JPEGs hold HU clipped to [0, 255] and a mask of liver or tumour, not told apart. HU below 0 are lost, so
they cannot be projected, but a network with the window [0, 255] HU sees all there is. Patients are split;
patient 10049 is 3D-IRCADb-01 patient 1, on whom reconstructions are tested, and 10067 may be tested on elsewhere:
both are left out.

With ``--lesions``, for a network that tells tumours from liver: slices whose liver has dark spots, which may be
tumours labelled as liver, are left out, and most others get synthetic lesions.

With ``--second-judge``, for a network that judges beside the first: it is trained on the patients who only chose the
first one's epoch, whose slices come four times with other lesions each, and its epoch is chosen by as many of those
who trained the first. So no patient trains both.
"""

from __future__ import annotations

import argparse
import io
import re
import tarfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion, gaussian_filter

from study.data.dataset import DatasetCard, ShardEntry, hash_of, write_card
from study.data.shards import to_table, write_shard
from taskct_core import schema
from taskct_core.geometry import PRESETS, ParallelBeam
from taskct_core.simulation.photons import normalise_hu
from taskct_core.volumes.lesioned import insert_lesions

TEST_PATIENTS = ("10049", "10067")
VALIDATION_SHARE = 0.2
SECOND_JUDGE_DRAWS = 4
QUARTER_TURNS = {"flipped": 1, "mirrored": 3}  # how each kind of file stands upright again
PIXEL_MM = 1.5  # about; the JPEGs do not tell
LESIONED_SHARE = 0.7  # of the slices, with --lesions; the others teach what a liver without looks like
DARK_SPOT_HU, DARK_SPOT_SHARE = (
    22.0,
    0.01,
)  # a liver with more than this share so far below its median is left out
Slice = tuple[int, NDArray[np.float32], NDArray[np.uint8]]  # index, HU (H, W), labels (H, W)


def read_slices(archive: Path, scan: ParallelBeam, lesions: bool, draw: int = 0) -> dict[str, list[Slice]]:
    """Patient -> its slices, at the scan's size; each ``draw`` has other lesions."""
    slices: dict[str, list[Slice]] = defaultdict(list)
    with tarfile.open(archive) as tar:
        for member in tar:
            match = re.fullmatch(r"images/((flipped|mirrored)_(\d+)_(\d+)\.jpg)", member.name)
            if match is None or match[3] in TEST_PATIENTS:
                continue
            name, kind, patient, index = match.groups()
            hu = _read(tar, f"images/{name}", QUARTER_TURNS[kind]).astype(np.float32)
            labels = (_read(tar, f"masks/{name}", QUARTER_TURNS[kind]) > 127).astype(np.uint8)
            if lesions and _has_dark_spot(hu, labels > 0):
                continue
            if lesions:
                seed = [int(patient), int(index), *([draw] if draw else [])]
                hu, labels = _with_lesions(hu, labels, np.random.default_rng(seed))
            slices[patient].append((int(index), *_resized(hu, labels, scan)))
    return {patient: sorted(slices[patient], key=lambda item: item[0]) for patient in sorted(slices)}


def _read(tar: tarfile.TarFile, name: str, turns: int) -> NDArray[np.uint8]:
    file = tar.extractfile(name)
    assert file is not None
    return np.rot90(np.asarray(Image.open(io.BytesIO(file.read())).convert("L")), turns)


def _has_dark_spot(hu: NDArray[np.float32], liver: NDArray[np.bool_]) -> bool:
    inside = binary_erosion(liver, iterations=4)
    if not inside.any():
        return True
    smooth = gaussian_filter(hu, 2.0)[inside]
    return bool((smooth < np.median(smooth) - DARK_SPOT_HU).mean() > DARK_SPOT_SHARE)


def _with_lesions(
    hu: NDArray[np.float32], labels: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    if rng.random() > LESIONED_SHARE:
        return hu, labels
    changed, changed_labels = insert_lesions(hu[None], labels[None], (2.0, PIXEL_MM, PIXEL_MM), rng)
    return np.clip(changed[0], 0, 255).astype(np.float32), changed_labels[0]


def _resized(
    hu: NDArray[np.float32], labels: NDArray[np.uint8], scan: ParallelBeam
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    size = scan.image_shape[::-1]
    return (
        np.asarray(Image.fromarray(hu).resize(size, Image.Resampling.BOX)),
        np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)),
    )


def split_of_judge(patients: list[str], second: bool) -> dict[str, str]:
    """Patient -> split. Those who validate the first judge train the second, whom others validate."""
    order = np.random.default_rng(0).permutation(patients)
    held_out = round(VALIDATION_SHARE * len(order))
    if not second:
        return {
            str(patient): "validation" if place < held_out else "train" for place, patient in enumerate(order)
        }
    parts = {"train": order[:held_out], "validation": order[held_out : 2 * held_out]}
    return {str(patient): split for split, chosen in parts.items() for patient in chosen}


def read_second_judge_slices(
    archive: Path, scan: ParallelBeam
) -> tuple[dict[str, list[Slice]], dict[str, str]]:
    """The second judge's slices and splits: of who trains it several draws of lesions, told apart by their index."""
    draws = [
        read_slices(archive, scan, lesions=True, draw=1 + number) for number in range(SECOND_JUDGE_DRAWS)
    ]
    splits = split_of_judge(list(draws[0]), second=True)
    slices = {
        patient: [
            (index + 1000 * number, hu, labels)
            for number, drawn in enumerate(draws[: SECOND_JUDGE_DRAWS if split == "train" else 1])
            for index, hu, labels in drawn[patient]
        ]
        for patient, split in splits.items()
    }
    return slices, splits


def write_dataset(
    slices: dict[str, list[Slice]], splits: dict[str, str], folder: Path, scan: ParallelBeam, lesions: bool
) -> DatasetCard:
    """Write shards of full-dose images and labels, one a patient, and the dataset's card."""
    shards: dict[str, list[ShardEntry]] = {split: [] for split in schema.SPLITS}
    for patient, items in slices.items():
        split = splits[patient]
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
        geometry=scan.to_dict(),
        simulation={},
        source={
            "kind": "LiTS JPEG slices, HU clipped to [0, 255]",
            "left_out": list(TEST_PATIENTS),
            "synthetic_lesions": lesions,
        },
        patients={split: [shard.patient for shard in entries] for split, entries in shards.items()},
        counts={
            split: _counts([item for shard in entries for item in slices[shard.patient]])
            for split, entries in shards.items()
        },
        image_shape=scan.image_shape,
        has_sinogram=False,
        shards=shards,
        data_hash=hash_of(shards),
        versions={"taskct": version("taskct")},
    )
    write_card(folder, card)
    return card


def _counts(slices: list[Slice]) -> dict[str, int]:
    with_tumour = sum(bool((labels == schema.TUMOUR).any()) for _, _, labels in slices)
    return {"samples": len(slices), "with_liver": len(slices), "with_tumour": with_tumour}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lesions", action="store_true", help="insert synthetic lesions")
    parser.add_argument("--second-judge", action="store_true", help="for the judge that took no part")
    parser.add_argument(
        "--preset", default="small", choices=PRESETS, help="of the study that they will judge"
    )
    options = parser.parse_args()
    scan = PRESETS[options.preset]
    lesions = options.lesions or options.second_judge
    if options.second_judge:
        slices, splits = read_second_judge_slices(options.archive, scan)
    else:
        slices = read_slices(options.archive, scan, lesions)
        splits = split_of_judge(list(slices), second=False)
    card = write_dataset(slices, splits, options.folder, scan, lesions)
    print(card.counts, card.data_hash[:12])


if __name__ == "__main__":
    main()
