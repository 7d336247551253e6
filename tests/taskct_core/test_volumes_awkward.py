"""Every awkward kind of scan comes out right, or is refused or warned of with its numbers."""

from __future__ import annotations

import gzip
import struct
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from abdomen import (
    LIVER,
    SPACING_MM,
    TUMOUR,
    affine_of,
    make_abdomen,
    nifti_of,
    write_dicom,
    write_dicom_patient,
    write_lits,
)

from taskct_core.errors import ConfigError, DataError
from taskct_core.volumes import Volume, VolumeReference, list_patients, read_volume

HU, LABELS = make_abdomen()
ROWS, COLUMNS = np.mgrid[0:56, 0:56]
OUTSIDE = (ROWS - 27.5) ** 2 + (COLUMNS - 27.5) ** 2 > 28**2  # of a round field of view


def padded(hu: np.ndarray, value: int) -> np.ndarray:
    hu = hu.astype(np.int32)
    hu[:, OUTSIDE] = value
    return hu


def read(folder: Path, kind: str = "lits", **keywords: Any) -> Volume:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (reference,) = list_patients(kind, folder, **keywords)
        return read_volume(reference)


def refusal(folder: Path, kind: str = "lits", **keywords: Any) -> str:
    with pytest.raises(DataError) as caught:
        for reference in list_patients(kind, folder, **keywords):
            read_volume(reference)
    return str(caught.value)


def warning_of(folder: Path, kind: str = "lits", **keywords: Any) -> str:
    with pytest.warns(UserWarning) as caught:
        for reference in list_patients(kind, folder, **keywords):
            read_volume(reference)
    return " ".join(str(warning.message) for warning in caught)


def is_right(volume: Volume, hu: np.ndarray = HU, labels: np.ndarray = LABELS) -> bool:
    same = np.array_equal(volume.hu, np.maximum(hu, -1024)) and np.array_equal(volume.labels, labels)
    return same and np.allclose(volume.spacing_mm, SPACING_MM)


# --- the HU scale ---------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
@pytest.mark.parametrize("offset", [1000, 1024, 8192, -1024])
@pytest.mark.parametrize("labelled", [True, False])
def test_shifted_values_are_refused_though_padding_is_dark(
    tmp_path: Path, offset: int, padding: int, labelled: bool
) -> None:
    labels = LABELS if labelled else np.zeros_like(LABELS)
    write_lits(tmp_path, padded(HU.astype(np.int32) + offset, padding).astype(np.int16), labels)
    message = refusal(tmp_path)
    assert "volume-1" in message and "HU" in message
    if labelled and offset > 0:
        assert f"{np.median(HU[LABELS == LIVER]) + offset:.4g} HU" in message


@pytest.mark.parametrize("window", [(-200, 250), (-100, 240), (-57, 164), (-500, 500)])
@pytest.mark.parametrize("padding", [-1024, -2000])
def test_a_clipped_window_is_refused_though_padding_is_dark(
    tmp_path: Path, window: tuple[int, int], padding: int
) -> None:
    write_lits(tmp_path, padded(np.clip(HU, *window), padding).astype(np.int16))
    assert f"{window[0]}" in refusal(tmp_path)


def test_clipped_bone_is_warned_of(tmp_path: Path) -> None:
    write_lits(tmp_path, np.clip(HU, -1024, 400))
    assert "exactly the highest value, 400 HU" in warning_of(tmp_path)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_normalised_values_with_padding_are_refused(tmp_path: Path, scale: float) -> None:
    values = ((np.clip(HU, -200, 250) + 200) / 450 * scale).astype(np.float32)
    values[:, OUTSIDE] = -1024
    write_lits(tmp_path, values)
    refusal(tmp_path)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_slope_is_refused(tmp_path: Path, factor: float) -> None:
    write_lits(tmp_path, (HU * factor).astype(np.int16))
    refusal(tmp_path)


@pytest.mark.parametrize("padding", [-1024, -2000, -3024, -32768])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_padding_of_one_value_is_air(tmp_path: Path, padding: int, dtype: type) -> None:
    write_lits(tmp_path, padded(HU, padding).astype(dtype))
    assert is_right(read(tmp_path), np.maximum(padded(HU, padding), -1024))


def test_a_bright_value_inside_the_body_is_no_padding(tmp_path: Path) -> None:
    hu = HU.astype(np.int32)
    hu[3, 30, 30] = 40000
    write_lits(tmp_path, hu)
    assert "40000 inside the image" in refusal(tmp_path)


# --- masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_labels_turned_over_under_a_right_header(tmp_path: Path, axes: tuple[int, ...]) -> None:
    write_lits(tmp_path, labels=np.flip(LABELS, axes))
    assert "turned over" in refusal(tmp_path)


def test_swapped_labels(tmp_path: Path) -> None:
    write_lits(tmp_path, labels=np.choose(LABELS, [0, 2, 1]).astype(np.uint8))
    assert "swapped" in refusal(tmp_path)


@pytest.mark.parametrize("labels", [np.ones_like(LABELS), (LABELS == 0).astype(np.uint8)])
def test_a_mask_of_everything(tmp_path: Path, labels: np.ndarray) -> None:
    write_lits(tmp_path, labels=labels)
    refusal(tmp_path)


def test_dozens_of_parts_and_tumours_outside_the_liver(tmp_path: Path) -> None:
    specks = LABELS.copy()
    specks[:, 2:54:6, 2:54:6] = LIVER
    write_lits(tmp_path / "specks", labels=specks)
    assert "separate parts" in warning_of(tmp_path / "specks")
    outside = np.where(LABELS > 0, LIVER, 0).astype(np.uint8)
    outside[3:6, 20:24, 40:44] = TUMOUR
    write_lits(tmp_path / "outside", labels=outside)
    assert "100% of the tumours' voxels" in warning_of(tmp_path / "outside")


@pytest.mark.parametrize("intercept", [0, -1024])
def test_dicom_masks_with_a_ct_s_rescaling(tmp_path: Path, intercept: int) -> None:
    write_dicom_patient(tmp_path / "p", intercept=intercept)
    assert is_right(read(tmp_path, "dicom"))


def test_a_dicom_mask_that_copied_a_rescaling_without_storing_for_it(tmp_path: Path) -> None:
    def copy_rescaling(header: Any, index: int) -> None:
        header.RescaleIntercept = -1024

    write_dicom(tmp_path / "p" / "image", HU)
    write_dicom(tmp_path / "p" / "liver", (LABELS > 0).astype(np.int16), 0, copy_rescaling)
    assert np.array_equal(read(tmp_path, "dicom").labels, LABELS > 0)


def test_a_dicom_mask_without_background(tmp_path: Path) -> None:
    write_dicom(tmp_path / "p" / "image", HU)
    write_dicom(tmp_path / "p" / "liver", np.ones_like(HU), 0)
    assert "background of 0" in refusal(tmp_path, "dicom")


# --- orientation and units ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "found"),
    [("LAS", "spine lies"), ("LPI", "lungs lie"), ("RPS", "liver lies"), ("RAI", "lungs lie")],
)
def test_each_axis_that_a_header_turns_is_told_with_the_remedy(tmp_path: Path, axes: str, found: str) -> None:
    write_lits(tmp_path, affine=affine_of(axes))
    message = warning_of(tmp_path)
    assert found in message and "{volume-1: LPS}" in message
    assert is_right(read(tmp_path, orientation={"volume-1": "LPS"}))


def test_lungs_tell_head_from_foot_without_labels(tmp_path: Path) -> None:
    write_lits(tmp_path, labels=np.zeros_like(LABELS), affine=affine_of("LPI"))
    assert "lungs fill" in warning_of(tmp_path)


def test_identity_affines_beside_good_ones(tmp_path: Path) -> None:
    good = affine_of("RPS")
    good[0, 3] = -SPACING_MM[2] * 55
    write_lits(tmp_path, HU[:, :, ::-1], LABELS[:, :, ::-1], good, name="2")
    for number in ("28", "47"):
        write_lits(tmp_path, affine=np.eye(4), name=number)
    message = warning_of(tmp_path)
    assert "identity affine" in message and "{volume-28: LPS}" in message and "volume-2:" not in message
    settings = {"orientation": {"volume-28..47": "LPS"}, "spacing_mm": {"volume-28..47": SPACING_MM}}
    for reference in list_patients("lits", tmp_path, **settings):
        assert is_right(read_volume(reference))
    with pytest.raises(ConfigError, match=r"volume-48; patients: volume-2, "):
        list_patients("lits", tmp_path, orientation={"volume-48": "LPS"})


def test_sform_and_qform_that_disagree_are_told(tmp_path: Path) -> None:
    for voxels, kind in ((HU, "volume"), (LABELS, "segmentation")):
        image = nifti_of(voxels)
        image.set_qform(affine_of("LPS"), 1)
        image.set_sform(affine_of("RPS"), 2)
        nib.save(image, tmp_path / f"{kind}-1.nii.gz")
    assert "RPS by the sform, which is used, and to LPS by the qform" in warning_of(tmp_path)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_units_of_length(tmp_path: Path, unit: str, factor: float) -> None:
    for voxels, kind in ((HU, "volume"), (LABELS, "segmentation")):
        affine = affine_of()
        affine[:3] /= factor
        image = nifti_of(voxels, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / f"{kind}-1.nii.gz")
    assert is_right(read(tmp_path))


@pytest.mark.parametrize(
    "spacing", [(0.004, 0.0008, 0.0008), (4000, 800, 800), (4, 0.08, 0.08), (40, 0.8, 0.8)]
)
def test_spacings_that_no_ct_has(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    write_lits(tmp_path, affine=affine_of(spacing_mm=spacing))
    assert f"{spacing[1]:.4g}" in refusal(tmp_path)
    assert is_right(read(tmp_path, spacing_mm=SPACING_MM))


# --- NIfTI files ----------------------------------------------------------------------------------


def test_a_series_of_one_volume(tmp_path: Path) -> None:
    write_lits(tmp_path)
    for kind, voxels in (("volume", HU), ("segmentation", LABELS)):
        stored = voxels.transpose(2, 1, 0)[..., None, None]
        nib.save(nib.Nifti1Image(stored, affine_of()), tmp_path / f"{kind}-1.nii.gz")
    assert is_right(read(tmp_path))


def test_labels_scaled_in_the_header(tmp_path: Path) -> None:
    write_lits(tmp_path, labels=LABELS * np.uint8(127), ending=".nii")
    file = tmp_path / "segmentation-1.nii"
    raw = bytearray(file.read_bytes())
    raw[112:120] = struct.pack("<ff", 2 / 254, 0)
    file.write_bytes(raw)
    assert is_right(read(tmp_path))
    raw[112:120] = struct.pack("<ff", 2 / 254 * 1.001, 0)
    file.write_bytes(raw)
    assert "1.001" in refusal(tmp_path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_files_under_the_other_s_ending_are_read_by_content(tmp_path: Path, ending: str) -> None:
    write_lits(tmp_path, ending=ending)
    for file in list(tmp_path.iterdir()):
        other = file.with_suffix("") if ending == ".nii.gz" else file.with_name(file.name + ".gz")
        file.rename(other)
    assert is_right(read(tmp_path))


@pytest.mark.parametrize("inside", ["volume-1.nii", "image.nii"])
def test_a_folder_that_is_called_like_the_file_in_it(tmp_path: Path, inside: str) -> None:
    write_lits(tmp_path, ending=".nii")
    for kind in ("volume", "segmentation"):
        file = tmp_path / f"{kind}-1.nii"
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        (file / inside.replace("volume", kind)).write_bytes(content)
    assert is_right(read(tmp_path))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_header_that_claims_gigabytes(tmp_path: Path, compressed: bool, version: type) -> None:
    write_lits(tmp_path)
    header = version(np.zeros((4, 4, 4), np.int16), affine_of()).header
    header.set_data_shape((1000, 1000, 6400))
    raw = header.binaryblock + bytes(4) + bytes(6000)
    (tmp_path / "volume-1.nii.gz").write_bytes(gzip.compress(raw) if compressed else raw)
    tracemalloc.start()
    start = time.process_time()
    assert "volume-1.nii.gz" in refusal(tmp_path)
    assert time.process_time() - start < 1 and tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


# --- any layout -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "label", "images", "labels"),
    [
        ("imagesTr/liver_7.nii.gz", "labelsTr/liver_7.nii.gz", "imagesTr/*.nii.gz", "labelsTr/{name}.nii.gz"),
        ("img/img0007.nii.gz", "label/label0007.nii.gz", "img/img*.nii.gz", "label/label{name}.nii.gz"),
        ("s7/ct.nii.gz", "s7/seg.nii.gz", "*/ct.nii.gz", "{name}/seg.nii.gz"),
        ("a/s7/ct.nii", "a/s7/seg.nii", "*/*/ct.nii", "{name}/seg.nii"),
        ("volume-7.nii.gz", "labels-7.nii.gz", "volume-*.nii.gz", "labels-{name}.nii.gz"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_layouts_and_classes(
    tmp_path: Path, image: str, label: str, images: str, labels: str, dtype: type
) -> None:
    numbers = np.choose(LABELS, [0, 5, 12]).astype(dtype)
    numbers[:, 50:, 50:] = 3  # another organ
    for name, voxels in ((image, HU), (label, numbers)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nifti_of(voxels), tmp_path / name)
    keywords = {"images": images, "labels": labels, "classes": {5: "liver", 12: "tumour"}}
    volume = read(tmp_path, "nifti", **keywords)
    assert is_right(volume) and "7" in volume.patient
    assert "3, 5, 12" in refusal(tmp_path, "nifti", images=images, labels=labels)


def test_one_mask_file_a_structure(tmp_path: Path) -> None:
    for patient in ("a", "b"):
        (tmp_path / patient / "segmentations").mkdir(parents=True)
        nib.save(nifti_of(HU), tmp_path / patient / "ct.nii.gz")
        liver = tmp_path / patient / "segmentations" / "liver.nii.gz"
        nib.save(nifti_of((LABELS > 0).astype(np.uint8)), liver)
    nib.save(
        nifti_of((LABELS == TUMOUR).astype(np.uint8)), tmp_path / "a" / "segmentations" / "tumour.nii.gz"
    )
    labels = {name: "{name}/segmentations/" + name + ".nii.gz" for name in ("liver", "tumour")}
    mistyped = labels | {"tumour": "{name}/segmentation/tumour.nii.gz"}
    assert "no patient has" in refusal(tmp_path, "nifti", images="*/ct.nii.gz", labels=mistyped)
    first, second = list_patients("nifti", tmp_path, images="*/ct.nii.gz", labels=labels)
    assert is_right(read_volume(first)) and is_right(
        read_volume(second), labels=(LABELS > 0).astype(np.uint8)
    )


def test_images_without_labels_only_where_asked_for(tmp_path: Path) -> None:
    write_lits(tmp_path)
    (tmp_path / "segmentation-1.nii.gz").unlink()
    assert "source.unlabelled" in refusal(tmp_path)
    volume = read(tmp_path, unlabelled=True)
    assert not volume.labelled and not volume.labels.any()
    keywords = {"images": "volume-*.nii.gz", "labels": "no-{name}.nii.gz"}
    assert "source.unlabelled" in refusal(tmp_path, "nifti", **keywords)
    assert not read(tmp_path, "nifti", unlabelled=True, **keywords).labelled


class Made(VolumeReference):
    """A user's own reference."""

    def read(self) -> Volume:
        return Volume(patient=self.patient, hu=HU, labels=LABELS, spacing_mm=SPACING_MM)


def own_source(path: str | None, count: int) -> list[VolumeReference]:
    return [Made(patient=f"own-{number}", num_slices=8) for number in range(count)]


def test_a_source_of_ones_own_gets_the_same_look(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "own_module", sys.modules[__name__])
    references = list_patients("own_module:own_source", parameters={"count": 3})
    assert [reference.patient for reference in references] == ["own-0", "own-1", "own-2"]
    assert is_right(read_volume(references[0]))
    monkeypatch.setattr(sys.modules[__name__], "HU", (HU + 1024).astype(np.int16))
    with pytest.raises(DataError, match="rescale intercept"):
        read_volume(references[0])
    with pytest.raises(ConfigError, match="count"):
        list_patients("own_module:own_source")
