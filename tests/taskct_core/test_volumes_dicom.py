"""The DICOM reader: geometry against DICOM's own equation, masks, and one message for each bad input."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from taskct_core.errors import DataError
from taskct_core.volumes import Volume, list_patients, read_volume

pytestmark = pytest.mark.filterwarnings("error::UserWarning")

AXIAL = (1.0, 0, 0, 0, 1, 0)
CORONAL = (1.0, 0, 0, 0, 0, -1)
SAGITTAL = (0.0, 1, 0, 0, 0, -1)
SPACING_MM = (0.7, 0.9)  # between rows, between columns
STEP_MM = 2.5
INTERCEPT = -1024


def world_mm(count: int, shape: tuple[int, int], orientation: tuple[float, ...]) -> np.ndarray:
    """LPS+ coordinates of every stored pixel, (slice, row, column, 3): PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    s, r, c = np.indices((count, *shape))[..., None]
    normal = np.cross(along_row, along_column)
    return c * SPACING_MM[1] * along_row + r * SPACING_MM[0] * along_column + s * STEP_MM * normal


def code(world: np.ndarray) -> np.ndarray:
    """Stored values (HU + 1024) that tell where a pixel lies."""
    return np.round(400 + 7 * world[..., 0] + 43 * world[..., 1] + 41 * world[..., 2]).astype(np.int16)


def write_series(
    folder: Path,
    stored: np.ndarray,
    orientation: tuple[float, ...] = AXIAL,
    order: list[int] | None = None,
    step_mm: float = STEP_MM,
) -> list[Path]:
    """Write (slice, row, column) stored values as one file a slice, in a shuffled order of file names."""
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = generate_uid()
    normal = np.cross(orientation[:3], orientation[3:])
    files = []
    order = list(np.random.default_rng(0).permutation(len(stored))) if order is None else order
    for name, index in enumerate(order):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        slice_ = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.SeriesInstanceUID, slice_.Modality = series_uid, "CT"
        slice_.ImageOrientationPatient = list(orientation)
        slice_.ImagePositionPatient = [float(v) for v in index * step_mm * normal]
        slice_.PixelSpacing, slice_.SliceThickness = list(SPACING_MM), step_mm
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, INTERCEPT
        slice_.Rows, slice_.Columns = stored.shape[1:]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 1
        slice_.PixelData = stored[index].astype("<i2").tobytes()
        files.append(folder / f"{name:03d}.dcm")
        slice_.save_as(files[-1], enforce_file_format=True)
    return files


def edit(file: Path, **values: object) -> None:
    """Set attributes of a written file; None deletes one."""
    dataset = pydicom.dcmread(file)
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(file)


@pytest.fixture
def stored() -> np.ndarray:
    return code(world_mm(6, (5, 4), AXIAL))


def read_one(folder: Path) -> Volume:
    (reference,) = list_patients("dicom", folder)
    return read_volume(reference)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL, (-1.0, 0, 0, 0, -1, 0)])
def test_voxels_land_where_dicom_says_they_are(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    world = world_mm(6, (5, 4), orientation)
    write_series(tmp_path / "patient", code(world), orientation)

    volume = read_one(tmp_path)

    low = world.reshape(-1, 3).min(axis=0)  # most right, anterior, inferior
    s, r, c = np.indices(volume.hu.shape)[..., None]
    step_z, step_y, step_x = volume.spacing_mm
    expected = low + c * [step_x, 0, 0] + r * [0, step_y, 0] + s * [0, 0, step_z]
    assert np.array_equal(volume.hu, code(expected) + INTERCEPT)
    extent = np.ptp(world.reshape(-1, 3), axis=0)
    assert np.allclose((np.array(volume.hu.shape[::-1]) - 1) * volume.spacing_mm[::-1], extent)


def test_integer_rescaling_gives_int16_and_a_fractional_slope_float32(
    tmp_path: Path, stored: np.ndarray
) -> None:
    files = write_series(tmp_path / "patient", stored)
    assert read_one(tmp_path).hu.dtype == np.int16
    for file in files:
        edit(file, RescaleSlope=0.5)
    volume = read_one(tmp_path)
    assert volume.hu.dtype == np.float32
    assert np.array_equal(volume.hu, stored * np.float32(0.5) + INTERCEPT)


def test_one_series_a_patient_folder_or_the_folder_itself(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "a" / "image", stored)
    write_series(tmp_path / "b", stored[:4])
    references = list_patients("dicom", tmp_path)
    assert [(r.patient, r.num_slices, r.labelled) for r in references] == [("a", 6, False), ("b", 4, False)]
    (single,) = list_patients("dicom", tmp_path / "b")
    assert single.patient == "b" and len(single.files) == 4
    assert np.array_equal(read_volume(pickle.loads(pickle.dumps(single))).hu, stored[:4] + INTERCEPT)
    assert not read_volume(single).labels.any()


def test_files_without_suffix_are_found_and_others_are_passed_over(
    tmp_path: Path, stored: np.ndarray
) -> None:
    for file in write_series(tmp_path / "patient", stored):
        file.rename(file.with_suffix(""))
    for name in ("DICOMDIR", "._000.dcm", "notes.txt"):
        (tmp_path / "patient" / name).write_bytes(b"no slice")
    assert np.array_equal(read_one(tmp_path).hu, stored + INTERCEPT)


def test_mask_series_become_labels(tmp_path: Path, stored: np.ndarray) -> None:
    liver, tumour = np.zeros_like(stored), np.zeros_like(stored)
    liver[1:5, 1:4, :2], tumour[2, 2, 1] = 255, 1
    write_series(tmp_path / "p" / "image", stored)
    write_series(tmp_path / "p" / "liver", liver, order=list(range(6)))
    write_series(tmp_path / "p" / "tumour", tumour, order=[5, 4, 3, 2, 1, 0])
    (reference,) = list_patients("dicom", tmp_path)
    expected = np.where(tumour > 0, 2, liver > 0).astype(np.uint8)
    assert reference.labelled and len(reference.files) == 18
    assert np.array_equal(read_volume(reference).labels, expected)


def test_a_nifti_of_labels_matches_by_position(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p" / "image", stored)
    labels = np.zeros_like(stored, np.uint8)
    labels[2:, 1:3, 0], labels[3, 1, 0] = 1, 2
    affine = np.diag([-SPACING_MM[1], -SPACING_MM[0], STEP_MM, 1])  # LPS, as the series
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), affine), tmp_path / "p" / "labels.nii.gz")
    assert np.array_equal(read_one(tmp_path).labels, labels)


def test_orientation_override_applies_to_a_series(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p", stored)
    (reference,) = list_patients("dicom", tmp_path, orientation="RAS")
    assert np.array_equal(read_volume(reference).hu, stored[:, ::-1, ::-1] + INTERCEPT)


def test_a_single_slice_takes_its_thickness(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p", stored[:1])
    assert read_one(tmp_path).spacing_mm == pytest.approx((STEP_MM, *SPACING_MM))


# --- bad input ------------------------------------------------------------------------------------


def expect(folder: Path, *parts: str) -> None:
    """Listing and reading end in a DataError that contains all parts."""
    with pytest.raises(DataError) as caught:
        for reference in list_patients("dicom", folder):
            read_volume(reference)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.next_step


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    expect(tmp_path / "absent", "existing folder", "does not exist")
    expect(tmp_path, "one folder a patient", "neither found")
    (tmp_path / "p").mkdir()
    expect(tmp_path, "hold a CT series", "p: no DICOM file")


def test_two_series_in_one_folder(tmp_path: Path, stored: np.ndarray) -> None:
    (first, *_) = write_series(tmp_path / "p", stored)
    uid = generate_uid()
    edit(first, SeriesInstanceUID=uid)
    expect(tmp_path, "one DICOM series", "2 series", f"{uid} (1 files)")


def test_a_doubled_slice(tmp_path: Path, stored: np.ndarray) -> None:
    files = write_series(tmp_path / "p", stored)
    (tmp_path / "p" / "again.dcm").write_bytes(files[2].read_bytes())
    expect(tmp_path, "occur once", "002.dcm", "again.dcm")


def test_a_missing_slice(tmp_path: Path, stored: np.ndarray) -> None:
    files = write_series(tmp_path / "p", stored, order=list(range(6)))
    files[3].unlink()
    expect(tmp_path, "equidistant", "5 mm from", "002.dcm to 004.dcm", "2.5 mm elsewhere")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"PixelSpacing": [1.0, 1.0]}, "same PixelSpacing"),
        ({"ImageOrientationPatient": list(CORONAL)}, "same ImageOrientationPatient"),
        ({"ImagePositionPatient": None}, "without ImagePositionPatient"),
        ({"RescaleIntercept": None}, "without RescaleIntercept"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"RescaleIntercept": 0, "RescaleSlope": 1e4}, "[-10240, 30710]"),
        ({"PixelData": b"\0\0"}, "decodable"),
    ],
)
def test_a_slice_that_breaks_the_series(
    tmp_path: Path, stored: np.ndarray, change: dict[str, object], part: str
) -> None:
    files = write_series(tmp_path / "p", stored)
    edit(files[3], **change)
    expect(tmp_path, part)


def test_a_slice_of_another_shape(tmp_path: Path, stored: np.ndarray) -> None:
    files = write_series(tmp_path / "p", stored)
    edit(files[3], Rows=4, PixelData=stored[0, :4].tobytes())
    expect(tmp_path, "same Rows", "003.dcm")


def test_values_without_their_intercept(tmp_path: Path, stored: np.ndarray) -> None:
    for file in write_series(tmp_path / "p", stored):
        edit(file, RescaleIntercept=0)
    expect(tmp_path, "rescale intercept")


def test_zero_pixel_spacing(tmp_path: Path, stored: np.ndarray) -> None:
    for file in write_series(tmp_path / "p", stored):
        edit(file, PixelSpacing=[0.0, 0.9])
    expect(tmp_path, "spacing must be positive", "0.9 x 0 x 2.5 mm")


def test_a_single_slice_without_thickness(tmp_path: Path, stored: np.ndarray) -> None:
    (file,) = write_series(tmp_path / "p", stored[:1])
    edit(file, SliceThickness=None)
    expect(tmp_path, "spacing must be positive")


def test_a_file_that_is_no_dicom(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p", stored)
    (tmp_path / "p" / "x.dcm").write_bytes(b"text, no DICOM" * 20)
    expect(tmp_path, "must be DICOM", "x.dcm")


def test_a_truncated_file(tmp_path: Path, stored: np.ndarray) -> None:
    files = write_series(tmp_path / "p", stored)
    files[1].write_bytes(files[1].read_bytes()[:-7])
    expect(tmp_path, "decodable", "001.dcm")


def test_a_compressed_file_without_decoder(tmp_path: Path, stored: np.ndarray) -> None:
    files = write_series(tmp_path / "p", stored)
    dataset: Dataset = pydicom.dcmread(files[0])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 no codestream "])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(files[0])
    expect(tmp_path, "decodable", "JPEG 2000", "000.dcm", "gdcmconv")


@pytest.mark.parametrize(
    ("folders", "part"),
    [
        (("tumour",), "needs a liver mask"),
        (("liver", "labels.nii.gz"), "or from one NIfTI file"),
    ],
)
def test_masks_without_partner_or_with_two_meanings(
    tmp_path: Path, stored: np.ndarray, folders: tuple[str, ...], part: str
) -> None:
    write_series(tmp_path / "p" / "image", stored)
    for name in folders:
        if name.endswith(".gz"):
            (tmp_path / "p" / name).write_bytes(b"")
        else:
            write_series(tmp_path / "p" / name, np.zeros_like(stored))
    expect(tmp_path, part)


def test_an_empty_mask_folder(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p" / "image", stored)
    (tmp_path / "p" / "liver").mkdir()
    expect(tmp_path, "mask folder must hold a DICOM series")


def test_masks_on_other_slices(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p" / "image", stored)
    write_series(tmp_path / "p" / "liver", np.zeros_like(stored), step_mm=3.0)
    expect(tmp_path, "same affine", "liver")


def test_masks_of_another_shape(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "p" / "image", stored)
    write_series(tmp_path / "p" / "liver", np.zeros_like(stored[:5]))
    expect(tmp_path, "same shape", "(4, 5, 6)", "(4, 5, 5)")
