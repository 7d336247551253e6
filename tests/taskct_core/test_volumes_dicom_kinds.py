"""Kinds of DICOM that hospitals and tools write: padding, multi-frame, SEG, contours, compression, old files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from abdomen import LIVER, SPACING_MM, TUMOUR, make_abdomen, write_dicom, write_dicom_patient
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedCTImageStorage, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from taskct_core.errors import DataError
from taskct_core.volumes import Volume, list_patients, read_volume
from taskct_core.volumes.dicom_seg import structure_of

HU, LABELS = make_abdomen()


def read(folder: Path, **keywords: Any) -> Volume:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (reference,) = list_patients("dicom", folder, **keywords)
        return read_volume(reference)


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        for reference in list_patients("dicom", folder):
            read_volume(reference)
    return str(caught.value)


def change_all(files: list[Path], **values: object) -> None:
    for file in files:
        header = pydicom.dcmread(file)
        for name, value in values.items():
            delattr(header, name) if value is None else setattr(header, name, value)
        header.save_as(file)


# --- padding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signed", "value", "limit"),
    [
        (False, 63536, None),
        (True, -2000, None),
        (True, -32768, None),
        (False, 4095, None),
        (False, 3000, 4095),
    ],
)
def test_padding_by_value_and_range_is_air(
    tmp_path: Path, signed: bool, value: int, limit: int | None
) -> None:
    def pad(header: Dataset, index: int) -> None:
        stored = np.frombuffer(header.PixelData, np.uint16).reshape(56, 56).copy()
        stored[:3] = value % 2**16
        if limit is not None:
            stored[1] = limit
        header.PixelRepresentation, header.PixelData = int(signed), stored.tobytes()
        header.PixelPaddingValue = value
        if limit is not None:
            header.PixelPaddingRangeLimit = limit

    write_dicom(tmp_path / "p", HU, edit=pad)
    expected = HU.copy()
    expected[:, :3] = -1024
    assert np.array_equal(read(tmp_path).hu, expected)


def test_padding_named_as_a_value_that_the_body_has_goes_no_further_than_the_edge(tmp_path: Path) -> None:
    inside = np.argwhere(HU[:, 20:36, 20:36] == 45)
    assert len(inside)

    def pad(header: Dataset, index: int) -> None:
        stored = np.frombuffer(header.PixelData, np.uint16).reshape(56, 56).copy()
        stored[:2] = 45 + 1024
        header.PixelData, header.PixelPaddingValue = stored.tobytes(), 45 + 1024

    write_dicom(tmp_path / "p", HU, edit=pad)
    expected = HU.copy()
    expected[:, :2] = -1024
    assert np.array_equal(read(tmp_path).hu, expected)


# --- old, odd and passed-over files ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["all", "one"])
def test_files_without_preamble_and_ending(tmp_path: Path, which: str) -> None:
    files = write_dicom(tmp_path / "p", HU)
    for file in files if which == "all" else files[4:5]:
        content = file.read_bytes()[132:]
        file.unlink()
        file.with_suffix("").write_bytes(content)
    assert np.array_equal(read(tmp_path).hu, HU)


def test_files_without_a_meta_group(tmp_path: Path) -> None:
    for file in write_dicom(tmp_path / "p", HU):
        header = pydicom.dcmread(file)
        del header.file_meta
        header.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert np.array_equal(read(tmp_path).hu, HU)


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    write_dicom(tmp_path / "p", HU)
    (tmp_path / "p" / "IM0009").write_bytes(b"half a copy")
    (reference,) = list_patients("dicom", tmp_path)
    with pytest.warns(UserWarning, match="1 files passed over.*IM0009"):
        read_volume(reference)


def test_missing_rescaling_is_named(tmp_path: Path) -> None:
    change_all(write_dicom(tmp_path / "p", HU), RescaleSlope=None, RescaleIntercept=None)
    assert "without RescaleSlope, RescaleIntercept" in refusal(tmp_path)


def test_contours_are_refused_by_name(tmp_path: Path) -> None:
    write_dicom_patient(tmp_path / "p")
    change_all(sorted((tmp_path / "p" / "liver").iterdir())[:1], Modality="RTSTRUCT")
    assert "RTSTRUCT" in refusal(tmp_path)


@pytest.mark.filterwarnings(
    "ignore:The value length:UserWarning"
)  # pydicom, of what is written here on purpose
@pytest.mark.parametrize(
    "tag", ["RescaleSlope", "ImagePositionPatient", "PixelSpacing", "ImageOrientationPatient"]
)
def test_tags_that_hold_no_numbers(tmp_path: Path, tag: str) -> None:
    files = write_dicom(tmp_path / "p", HU)
    raw = files[3].read_bytes()
    element = pydicom.dcmread(files[3])[tag]
    text = "\\".join(str(v) for v in element.value) if element.VM > 1 else str(element.value)
    assert raw.count(text.encode()) >= 1
    files[3].write_bytes(raw.replace(text.encode(), b"x" * len(text)))
    assert "003.dcm" in refusal(tmp_path)


@pytest.mark.parametrize(("rows", "frames"), [(65535, 1), (56, 10**6)])
def test_a_file_that_claims_an_impossible_size(tmp_path: Path, rows: int, frames: int) -> None:
    (first, *_) = write_dicom(tmp_path / "p", HU[:1])
    change_all([first], Rows=rows, Columns=rows, NumberOfFrames=frames)
    refusal(tmp_path)


# --- compression ----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_series(tmp_path: Path, syntax: Any) -> None:
    pytest.importorskip("openjpeg")
    pytest.importorskip("jpeg_ls")
    for file in write_dicom(tmp_path / "p", HU):
        header = pydicom.dcmread(file)
        header.compress(syntax)
        header.save_as(file)
    assert np.array_equal(read(tmp_path).hu, HU)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_without_a_decoder_the_package_is_named(
    tmp_path: Path, syntax: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openjpeg")
    pytest.importorskip("jpeg_ls")
    for file in write_dicom(tmp_path / "p", HU[:1]):
        header = pydicom.dcmread(file)
        header.compress(syntax)
        header.save_as(file)
    decoder = pydicom.pixels.get_decoder(syntax)
    monkeypatch.setattr(decoder, "_available", {})
    message = refusal(tmp_path)
    assert syntax.name in message and 'pip install "taskct[dicom]"' in message


# --- multi-frame ----------------------------------------------------------------------------------


def enhanced(files: list[Path], order: list[int]) -> Dataset:
    """The slices of a classic series as the frames of one Enhanced CT file."""
    headers = [pydicom.dcmread(file) for file in files]
    whole = headers[0]
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    frames = []
    for index in order:
        frame = Dataset()
        for sequence, tags in {
            "PlanePositionSequence": ("ImagePositionPatient",),
            "PlaneOrientationSequence": ("ImageOrientationPatient",),
            "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
            "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
        }.items():
            item = Dataset()
            for tag in tags:
                setattr(item, tag, headers[index][tag].value)
            setattr(frame, sequence, [item])
        frames.append(frame)
    pixels = b"".join(headers[index].PixelData for index in order)
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(whole, tag)
    whole.PerFrameFunctionalGroupsSequence, whole.NumberOfFrames = frames, len(frames)
    whole.PixelData = pixels
    return whole


def test_an_enhanced_ct_file_is_a_series(tmp_path: Path) -> None:
    files = write_dicom(tmp_path / "classic", HU)
    (tmp_path / "p").mkdir()
    enhanced(files, [3, 0, 7, 1, 2, 6, 5, 4]).save_as(tmp_path / "p" / "all.dcm")
    (reference,) = list_patients("dicom", tmp_path / "p")
    assert reference.num_slices == 8
    assert np.array_equal(read_volume(reference).hu, HU)


def write_seg(
    patient: Path,
    where: str,
    names: dict[str, np.ndarray],
    kind: str = "BINARY",
    every: int = 1,
    meaning: str = "Liver",
) -> None:
    """A DICOM SEG of masks on the patient's CT, written by highdicom."""
    seg = pytest.importorskip("highdicom").seg
    hd = pytest.importorskip("highdicom")
    images = [pydicom.dcmread(file) for file in sorted((patient / "image").iterdir())]
    code = hd.sr.CodedConcept("10200004", "SCT", meaning)
    algorithm = hd.AlgorithmIdentificationSequence("a", codes.DCM.ArtificialIntelligence, "1")
    descriptions = [
        seg.SegmentDescription(number, name, code, code, "AUTOMATIC", algorithm_identification=algorithm)
        for number, name in enumerate(names, start=1)
    ]
    masks = np.stack(list(names.values()), axis=-1).astype(np.uint8)
    written = seg.Segmentation(
        images[::every], masks[::every], kind, descriptions, generate_uid(), 2, generate_uid(), 1,
        "m", "m", "1", "1", omit_empty_frames=True,
    )  # fmt: skip
    (patient / where).mkdir(exist_ok=True)
    written.save_as(patient / where / "seg.dcm")


@pytest.mark.parametrize("where", ["seg", "image", "liver"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_dicom_seg_gives_the_labels(tmp_path: Path, where: str, kind: str) -> None:
    write_dicom(tmp_path / "p" / "image", HU)
    masks = {
        "Spleen": np.zeros_like(LABELS),
        "liver_tumor": LABELS == TUMOUR,
        "Liver": LABELS == LIVER,
    }
    masks["Spleen"][3, 10:14, 40:44] = 1
    write_seg(tmp_path / "p", where, masks, kind)
    (reference,) = list_patients("dicom", tmp_path)
    assert reference.labelled
    expected = LABELS if where != "liver" else np.where(LABELS == LIVER, LIVER, 0)
    assert np.array_equal(read_volume(reference).labels, expected)


def test_a_dicom_seg_by_segment_numbers_and_on_some_slices(tmp_path: Path) -> None:
    write_dicom(tmp_path / "p" / "image", HU)
    write_seg(tmp_path / "p", "seg", {"A": LABELS > 0, "B": LABELS == TUMOUR}, every=2, meaning="Organ")
    assert "1: A" in refusal(tmp_path)
    volume = read(tmp_path, classes={1: "liver", 2: "tumour"})
    assert np.array_equal(volume.labels[::2], LABELS[::2]) and not volume.labels[1::2].any()
    turned = read_turned(tmp_path)
    assert np.array_equal(turned.labels, volume.labels[:, ::-1, ::-1])


def read_turned(folder: Path) -> Volume:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keywords: dict[str, Any] = {"orientation": "RAS", "classes": {1: "liver", 2: "tumour"}}
        (reference,) = list_patients("dicom", folder, **keywords)
        return read_volume(reference)


def test_a_seg_of_another_series(tmp_path: Path) -> None:
    write_dicom(tmp_path / "p" / "image", HU)
    write_seg(tmp_path / "p", "seg", {"Liver": LABELS > 0})

    def move(header: Dataset, index: int) -> None:
        header.ImagePositionPatient = [0, 0.4, SPACING_MM[0] * index]

    write_dicom(tmp_path / "p" / "image", HU, edit=move)
    assert "must lie on its image's voxels" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("Liver", "liver"),
        ("liver_segment_4", "liver"),
        ("Hepatic tumor", "tumour"),
        ("Lesion 3", "tumour"),
        ("liver_vessels", None),
        ("kidney_tumor_left", None),
        ("Spleen", None),
        ("portal_vein_and_splenic_vein", None),
    ],
)
def test_segments_are_known_by_their_labels(name: str, structure: str | None) -> None:
    assert structure_of(name) == structure
