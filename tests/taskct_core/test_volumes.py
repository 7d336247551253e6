"""The LiTS reader: axis order against world coordinates, and one clear message for each bad input."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from taskct_core.errors import ConfigError, DataError
from taskct_core.volumes import Volume, list_patients, read_volume
from taskct_core.volumes.voxel_grid import VoxelGrid

pytestmark = pytest.mark.filterwarnings("error::UserWarning")

AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ORIENTATIONS = ["".join(letters) for order in permutations(("RL", "AP", "SI")) for letters in product(*order)]
SPACING_MM = {0: 0.8, 1: 1.5, 2: 3.0}  # along left-right, front-back, head-foot
COUNTS = {0: 9, 1: 7, 2: 5}


def affine_of(orientation: str, offset_mm: float = 0.0) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, letter in enumerate(orientation):
        axis, sign = AXES[letter]
        affine[axis, column] = sign * SPACING_MM[axis]
    affine[:3, 3] = offset_mm
    return affine


def shape_of(orientation: str) -> tuple[int, ...]:
    return tuple(COUNTS[AXES[letter][0]] for letter in orientation)


def world_mm(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """RAS+ coordinates of every voxel, (3, i, j, k)."""
    index = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)


def code(world: np.ndarray) -> np.ndarray:
    """A value that tells where a voxel lies in the patient; looks like HU."""
    x, y, z = np.round(world / np.array([0.8, 1.5, 3.0]).reshape(3, 1, 1, 1))
    return (x + 20 * y + 300 * z - 800 + 1500 * (z < 0)).astype(np.int16)


def write_pair(
    folder: Path,
    number: int | str = 0,
    hu: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    label_affine: np.ndarray | None = None,
) -> None:
    """Write a valid pair in RAS+, or with what is given in its place."""
    affine = affine_of("RAS") if affine is None else affine
    hu = code(world_mm(shape_of("RAS"), affine)) if hu is None else hu
    labels = np.zeros(hu.shape, np.uint8) if labels is None else labels
    label_affine = affine if label_affine is None else label_affine
    nib.save(nib.Nifti1Image(hu, affine), folder / f"volume-{number}.nii.gz")
    nib.save(nib.Nifti1Image(labels, label_affine), folder / f"segmentation-{number}.nii.gz")


def read_one(folder: Path) -> Volume:
    (reference,) = list_patients("lits", folder)
    return read_volume(reference)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_reads_as_inferior_anterior_right_first(tmp_path: Path, orientation: str) -> None:
    affine = affine_of(orientation)
    world = world_mm(shape_of(orientation), affine)
    labels = (world[0] > np.median(world[0])).astype(np.uint8)  # on the patient's right, as a liver
    write_pair(tmp_path, hu=code(world), labels=labels, affine=affine)

    volume = read_one(tmp_path)

    right, front, low = world[0].max(), world[1].max(), world[2].min()
    slices, rows, columns = np.indices((5, 7, 9))
    expected = np.stack([right - 0.8 * columns, front - 1.5 * rows, low + 3.0 * slices])
    assert np.array_equal(volume.hu, code(expected))
    assert np.array_equal(volume.labels, (expected[0] > np.median(world[0])).astype(np.uint8))
    assert volume.spacing_mm == pytest.approx((3.0, 1.5, 0.8))
    assert volume.hu.dtype == np.int16 and volume.labels.dtype == np.uint8
    assert volume.hu.flags.c_contiguous


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


def test_a_slightly_rotated_scan_goes_to_the_nearest_axes() -> None:
    angle = np.deg2rad(12)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight, oblique = VoxelGrid((9, 7, 5), affine_of("RAS")), VoxelGrid((9, 7, 5), turn @ affine_of("RAS"))
    voxels = np.random.default_rng(0).normal(size=(9, 7, 5))
    assert np.array_equal(straight.to_canonical(voxels), oblique.to_canonical(voxels))
    assert oblique.spacing_mm() == pytest.approx((3.0, 1.5, 0.8))


def test_labels_stored_in_another_axis_order_match_by_position(tmp_path: Path) -> None:
    right_anterior_superior = affine_of("RAS")
    world = world_mm(shape_of("RAS"), right_anterior_superior)
    labels = (world[0] > 3).astype(np.uint8) + (world[2] > 8)
    stored = labels.astype(np.uint8)[::-1].transpose(2, 0, 1)  # now S, L, A
    label_affine = affine_of("SLA")
    label_affine[:3, 3] = [world[0].max(), 0, 0]
    write_pair(tmp_path, labels=stored, label_affine=label_affine)
    expected = labels[::-1, ::-1].transpose(2, 1, 0)
    assert np.array_equal(read_one(tmp_path).labels, expected)


def test_patients_are_listed_in_numerical_order_from_sub_folders(tmp_path: Path) -> None:
    (tmp_path / "part1").mkdir()
    write_pair(tmp_path, 10)
    write_pair(tmp_path / "part1", 9)
    write_pair(tmp_path, "abc")
    references = list_patients("lits", tmp_path)
    assert [reference.patient for reference in references] == ["volume-9", "volume-10", "volume-abc"]
    assert [reference.num_slices for reference in references] == [5, 5, 5]
    assert [file.name for file in references[0].files] == ["volume-9.nii.gz", "segmentation-9.nii.gz"]


def test_listing_reads_no_voxels(tmp_path: Path) -> None:
    write_pair(tmp_path)
    file = tmp_path / "volume-0.nii"
    nib.save(nib.load(tmp_path / "volume-0.nii.gz"), file)
    (tmp_path / "volume-0.nii.gz").unlink()
    file.write_bytes(file.read_bytes()[:352])  # the header alone
    (reference,) = list_patients("lits", tmp_path)
    with pytest.raises(DataError, match=r"complete NIfTI image.*volume-0\.nii"):
        read_volume(reference)


def test_references_and_volumes_pickle(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (reference,) = list_patients("lits", tmp_path)
    volume = pickle.loads(pickle.dumps(read_volume(pickle.loads(pickle.dumps(reference)))))
    assert np.array_equal(volume.hu, read_volume(reference).hu)


def test_scaled_and_float_files_give_the_same_hu(tmp_path: Path) -> None:
    hu = code(world_mm(shape_of("RAS"), affine_of("RAS")))
    write_pair(tmp_path, 0, hu=hu)
    write_pair(tmp_path, 1, hu=hu.astype(np.float64) + 0.25)
    scaled = nib.Nifti1Image(hu.astype(np.int16) + np.int16(24), affine_of("RAS"))
    scaled.header.set_slope_inter(1, -24)
    nib.save(scaled, tmp_path / "volume-2.nii.gz")
    (tmp_path / "segmentation-2.nii.gz").write_bytes((tmp_path / "segmentation-0.nii.gz").read_bytes())
    integer, fractional, with_intercept = map(read_volume, list_patients("lits", tmp_path))
    assert fractional.hu.dtype == np.float32
    assert np.array_equal(fractional.hu, integer.hu + np.float32(0.25))
    assert np.array_equal(with_intercept.hu, integer.hu)


def test_padding_below_air_becomes_air(tmp_path: Path) -> None:
    hu = code(world_mm(shape_of("RAS"), affine_of("RAS")))
    hu[0, 0, 0] = -3024
    write_pair(tmp_path, hu=hu)
    volume = read_one(tmp_path)
    assert volume.hu.min() == -1024 and volume.hu[0, -1, -1] == -1024


def test_wrong_header_directions_warn_and_can_be_overridden(tmp_path: Path) -> None:
    world = world_mm(shape_of("LPS"), affine_of("LPS"))
    hu = code(world)
    labels = (world[0] > np.median(world[0])).astype(np.uint8)
    write_pair(tmp_path, hu=hu, labels=labels, affine=affine_of("RAS"))  # stored LPS, but says RAS
    with pytest.warns(UserWarning, match=r"patient's left.*source\.orientation: \{volume-0: LPS\}"):
        wrong = read_one(tmp_path)
    (reference,) = list_patients("lits", tmp_path, orientation="LPS")
    right = read_volume(reference)
    assert np.array_equal(right.hu, hu.transpose(2, 1, 0))
    assert np.array_equal(right.hu, wrong.hu[:, ::-1, ::-1])
    assert right.spacing_mm == pytest.approx((3.0, 1.5, 0.8))


@pytest.mark.parametrize("orientation", ["LP", "LLS", "XYZ", "LRS"])
def test_orientation_must_name_three_axes(tmp_path: Path, orientation: str) -> None:
    write_pair(tmp_path)
    with pytest.raises(ConfigError, match="three letters"):
        list_patients("lits", tmp_path, orientation=orientation)


# --- bad input ------------------------------------------------------------------------------------


def expect(tmp_path: Path, *parts: str) -> None:
    """Listing and reading end in a DataError that contains all parts."""
    with pytest.raises(DataError) as caught:
        for reference in list_patients("lits", tmp_path):
            read_volume(reference)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.next_step


def test_missing_folder(tmp_path: Path) -> None:
    expect(tmp_path / "absent", "existing folder", "absent", "does not exist")


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    expect(tmp_path / "file", "existing folder", "a file")


def test_folder_without_volumes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    expect(tmp_path, "volume-N.nii", "neither found")


def test_path_and_kind_are_required() -> None:
    with pytest.raises(ConfigError, match=r"source\.path"):
        list_patients("lits")
    with pytest.raises(ConfigError, match=r"phantom, lits, nifti, dicom.*'nrrd'"):
        list_patients("nrrd", "somewhere")


@pytest.mark.parametrize(("kept", "missing"), [("volume", "segmentation"), ("segmentation", "volume")])
def test_half_a_pair(tmp_path: Path, kept: str, missing: str) -> None:
    write_pair(tmp_path, 1)
    write_pair(tmp_path, 7)
    (tmp_path / f"{missing}-7.nii.gz").unlink()
    expect(tmp_path, f"{kept}-7.nii.gz without {missing}-7.nii")


def test_two_files_for_one_patient(tmp_path: Path) -> None:
    write_pair(tmp_path)
    nib.save(nib.load(tmp_path / "volume-0.nii.gz"), tmp_path / "volume-0.nii")
    expect(tmp_path, "volume-0.nii.gz", "volume-0.nii ", "Keep one")


def test_mismatched_shapes(tmp_path: Path) -> None:
    write_pair(tmp_path, labels=np.zeros((9, 7, 4), np.uint8))
    expect(tmp_path, "same shape", "(9, 7, 5)", "(9, 7, 4)", "segmentation-0")


def test_mismatched_affines(tmp_path: Path) -> None:
    write_pair(tmp_path, label_affine=affine_of("RAS", offset_mm=0.3))
    expect(tmp_path, "same affine", "0.4 mm", "0.52 mm", "segmentation-0")


def test_affines_within_half_a_voxel_are_the_same(tmp_path: Path) -> None:
    write_pair(tmp_path, label_affine=affine_of("RAS", offset_mm=0.2))
    read_one(tmp_path)


def test_wrong_label_values_are_listed(tmp_path: Path) -> None:
    labels = np.zeros(shape_of("RAS"), np.uint8)
    labels[0, 0, :3] = [1, 3, 255]
    write_pair(tmp_path, labels=labels)
    expect(tmp_path, "0 (background), 1 (liver) or 2 (tumour)", "also 3, 255", "segmentation-0")


def test_fractional_labels(tmp_path: Path) -> None:
    write_pair(tmp_path, labels=np.full(shape_of("RAS"), 0.5, np.float32))
    expect(tmp_path, "also 0.5")


def test_labels_of_nan(tmp_path: Path) -> None:
    write_pair(tmp_path, labels=np.full(shape_of("RAS"), np.nan, np.float32))
    expect(tmp_path, "also nan")


def test_a_file_that_is_no_nifti(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "volume-0.nii.gz").write_bytes(b"not a NIfTI file at all" * 40)
    expect(tmp_path, "complete NIfTI", "volume-0.nii.gz")


@pytest.mark.parametrize("name", ["volume-0.nii.gz", "segmentation-0.nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files(tmp_path: Path, name: str, share: float) -> None:
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1000, (40, 40, 8)).astype(np.int16)
    labels = rng.integers(0, 3, hu.shape).astype(np.uint8)
    labels[:20] = 0  # keeps the liver on the patient's right
    write_pair(tmp_path, hu=hu, labels=labels)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[: int(share * len(raw))])
    expect(tmp_path, "complete NIfTI", name)


def test_corrupted_compressed_data(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (40, 40, 8)).astype(np.int16)
    write_pair(tmp_path, hu=hu)
    raw = bytearray((tmp_path / "volume-0.nii.gz").read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 200] = b"\xff" * 200
    (tmp_path / "volume-0.nii.gz").write_bytes(raw)
    expect(tmp_path, "complete NIfTI", "volume-0.nii.gz")


def test_four_axes(tmp_path: Path) -> None:
    write_pair(tmp_path, hu=np.zeros((9, 7, 5, 2), np.int16))
    expect(tmp_path, "three axes", "(9, 7, 5, 2)")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite(tmp_path: Path, value: float) -> None:
    hu = code(world_mm(shape_of("RAS"), affine_of("RAS"))).astype(np.float32)
    hu[1, 2, 3] = value
    write_pair(tmp_path, hu=hu)
    expect(tmp_path, "finite", "1 NaN or infinite", "volume-0")


@pytest.mark.parametrize(
    ("low", "high", "dtype", "hint"),
    [
        (0.0, 1.0, np.float32, "normalised to [0, 1]"),
        (0, 255, np.uint8, "8-bit grey levels"),
        (0, 4095, np.int16, "rescale intercept"),
        (-30, 20, np.int16, "in HU"),
        (-100, 100, np.int8, "in HU"),
        (-200, 250, np.int16, "clipped to a window"),
        (-1000, 40000, np.int32, "[-10240, 30710]"),
        (-20000, 1000, np.int16, "[-10240, 30710]"),
    ],
)
def test_voxels_that_are_no_hu(tmp_path: Path, low: float, high: float, dtype: type, hint: str) -> None:
    hu: np.ndarray = np.linspace(low, high, 9 * 7 * 5).astype(dtype).reshape(9, 7, 5)
    write_pair(tmp_path, hu=hu)
    expect(tmp_path, f"{low:g} to {high:g}", hint, "volume-0")


@pytest.mark.parametrize("kind", ["volume", "segmentation"])
def test_voxels_that_are_no_real_numbers(tmp_path: Path, kind: str) -> None:
    write_pair(tmp_path)
    image = nib.Nifti1Image(np.zeros((9, 7, 5), np.complex64), affine_of("RAS"))
    nib.save(image, tmp_path / f"{kind}-0.nii.gz")
    expect(tmp_path, "real numbers", "complex64", f"{kind}-0")


def test_colour_labels(tmp_path: Path) -> None:
    write_pair(tmp_path)
    rgb = np.zeros((9, 7, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, affine_of("RAS")), tmp_path / "segmentation-0.nii.gz")
    expect(tmp_path, "real numbers", "segmentation-0")


def test_zero_spacing(tmp_path: Path) -> None:
    write_pair(tmp_path)
    affine = affine_of("RAS")
    affine[2, 2] = 0
    image = nib.Nifti1Image.from_filename(tmp_path / "volume-0.nii.gz")
    image = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header.set_sform(affine, code=1)
    image.header.set_qform(None, code=0)
    nib.save(image, tmp_path / "volume-0.nii.gz")
    expect(tmp_path, "spacing must be positive", "0.8 x 1.5 x 0 mm", "volume-0")


def test_axes_that_coincide(tmp_path: Path) -> None:
    write_pair(tmp_path)
    affine = affine_of("RAS")
    affine[:3, 1] = affine[:3, 0]
    image = nib.Nifti1Image(np.full((9, 7, 5), -1000, np.int16), affine)
    nib.save(image, tmp_path / "volume-0.nii.gz")
    expect(tmp_path, "three different directions", "volume-0")


def test_header_without_orientation(tmp_path: Path) -> None:
    write_pair(tmp_path)
    for name in ("volume-0.nii.gz", "segmentation-0.nii.gz"):
        image = nib.Nifti1Image.from_filename(tmp_path / name)
        image = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
        image.header["sform_code"] = image.header["qform_code"] = 0
        nib.save(image, tmp_path / name)
    expect(tmp_path, "qform_code or sform_code", "source.orientation")
    (reference,) = list_patients("lits", tmp_path, orientation="RAS")
    assert read_volume(reference).spacing_mm == pytest.approx((3.0, 1.5, 0.8))


# --- real CT --------------------------------------------------------------------------------------

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.mark.real_ct
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no CT in ../shared/data")
def test_real_patients_lie_liver_left_and_spine_at_the_bottom(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(SHARED / "tools" / "prepare_real_ct.py"), str(tmp_path)],
        check=True,
        capture_output=True,
    )
    # That tool stores DICOM's axis order (LPS) under a header that says RAS.
    for reference in list_patients("lits", tmp_path, orientation="LPS"):
        volume = read_volume(reference)
        assert volume.hu.shape == volume.labels.shape == (reference.num_slices, 512, 512)
        _, row, column = ndimage.center_of_mass(volume.hu > -300)
        liver_column = ndimage.center_of_mass(volume.labels)[2]
        # Bone over 400 HU away from the ribs, in the middle third of the columns: the spine.
        spine_row = ndimage.center_of_mass(volume.hu[:, :, 171:341] > 400)[1]
        assert liver_column < column and spine_row > row
        assert 40 < np.median(volume.hu[volume.labels == 1]) < 160
