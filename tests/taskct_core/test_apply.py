"""A reconstructor applied to scans of a user's own: on their own grid, in HU, told where they differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from torch import nn

import taskct_core
from taskct_core.apply.application import Output, apply_reconstructor
from taskct_core.apply.card import ReconstructorCard, save_reconstructor
from taskct_core.apply.fit import check_fit
from taskct_core.apply.noise import noise_hu
from taskct_core.apply.reconstructor import Reconstructor
from taskct_core.apply.scan import open_scan, scan_of_images
from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import ParallelBeam
from taskct_core.hounsfield import MU_MAX
from taskct_core.projection import RayTransform
from taskct_core.reconstructors import build_reconstructor

PIXEL_MM = 4.0
GEOMETRY = ParallelBeam(
    image_shape=(96, 96), pixel_spacing_mm=PIXEL_MM, num_bins=137, bin_spacing_mm=4.0, num_angles=40
)


class Plus(nn.Module):
    """Adds so many HU."""

    def __init__(self, hu: float) -> None:
        super().__init__()
        self.hu = hu

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (
            image
            + Reconstructor.normalised(torch.tensor(self.hu))
            - Reconstructor.normalised(torch.tensor(0.0))
        )


def network_of(module: nn.Module, **card: Any) -> Reconstructor:
    values: dict[str, Any] = {
        "architecture": "unet",
        "alpha": 0.5,
        "inputs": ("fbp",),
        "geometry": GEOMETRY.to_dict(),
        "data_hash": "0" * 64,
    }
    return Reconstructor(module, GEOMETRY, ReconstructorCard(**{**values, **card}))


def body(slices: int = 3, rows: int = 90, columns: int = 84) -> np.ndarray:
    """A made-up trunk in HU: fat around soft tissue, a bright organ on the image's left, bone behind."""
    y, x = np.mgrid[0:rows, 0:columns] / np.array([rows, columns])[:, None, None] * 2 - 1
    hu = np.full((slices, rows, columns), -1000, np.int16)
    for k, image in enumerate(hu):
        image[(x / 0.8) ** 2 + (y / 0.7) ** 2 < 1] = -90
        image[(x / 0.72) ** 2 + (y / 0.6) ** 2 < 1] = 40 + 5 * k
        image[((x + 0.35) / 0.25) ** 2 + (y / 0.3) ** 2 < 1] = 110
        image[x**2 + (y - 0.42) ** 2 < 0.012] = 700
    return hu


AFFINES = {
    "LPS": np.diag([-3.5, -4.0, 5.0, 1.0]),
    "flipped": np.diag([3.5, 4.0, -5.0, 1.0]),
    "permuted": np.array([[0, 0, -3.5, 9], [0, 4.0, 0, -7], [5.0, 0, 0, 3], [0, 0, 0, 1.0]]),
    "oblique": np.array(
        [[-3.4, 0.5, 0.2, 12], [-0.5, -3.9, 0.3, -30], [0.1, -0.2, 5.0, 700], [0, 0, 0, 1.0]]
    ),
}


def write_nifti(path: Path, hu: np.ndarray, affine: np.ndarray) -> Path:
    """Canonical HU stored as ``affine`` says."""
    from taskct_core.volumes.voxel_grid import VoxelGrid

    shape = np.empty(3, int)
    turn = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    shape[:] = [hu.shape[::-1][axis] for axis in turn]
    stored = VoxelGrid(tuple(shape), affine).from_canonical(hu)
    nib.save(nib.Nifti1Image(stored, affine), path)
    return path


@pytest.mark.parametrize("kind", AFFINES)
def test_images_come_back_on_the_scans_own_grid(kind: str, tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "scan.nii.gz", body(), AFFINES[kind])
    output = tmp_path / "made.nii.gz"
    told: list[Any] = []
    apply_reconstructor(network_of(Plus(30)), source, Output(output), "test", told.append, no_progress)
    before, after = map(nib.Nifti1Image.from_filename, (source, output))
    np.testing.assert_array_equal(before.affine, after.affine)
    assert before.shape == after.shape and after.get_data_dtype() == np.int16
    shift = after.get_fdata() - before.get_fdata()
    soft = (
        np.abs(before.get_fdata() - 110) < 1
    )  # inside an organ, away from its edge, resampling changes nothing
    assert np.median(shift[soft]) == 30
    assert "not for diagnosis" in after.header["descrip"].item().decode()


def no_progress(slices: int) -> Any:
    from contextlib import nullcontext

    return nullcontext(lambda done: None)


def test_a_scan_on_the_networks_pixels_is_what_the_network_makes_of_it() -> None:
    hu = np.random.default_rng(0).normal(40, 60, (2, 96, 96)).astype(np.float32)
    torch.manual_seed(0)
    module = build_reconstructor("unet", {"width": 4}).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)
    network = network_of(module, scan={"field_of_view": "true_size"})
    made = network.denoise(hu, (5.0, PIXEL_MM, PIXEL_MM))
    with torch.no_grad():
        expected = Reconstructor.to_hu(module(Reconstructor.normalised(torch.from_numpy(hu[:, None]))))[:, 0]
    assert np.abs(made - expected.numpy()).max() < 0.01
    assert np.abs(made - hu).max() > 1


def test_padding_metal_and_what_lies_beyond_the_field_stay() -> None:
    hu = body(1, 140, 140).astype(np.float32)  # 560 mm; the network sees 384
    hu[0, :5], hu[0, 70, 70] = -1024, 9000
    made = network_of(Plus(50)).denoise(hu, (5.0, PIXEL_MM, PIXEL_MM))
    assert (made[0, :5] == -1024).all() and made[0, 70, 70] == 9000
    assert (made[0, :, :10] == hu[0, :, :10])[5:].all()
    assert made[0, 70, 60] == pytest.approx(hu[0, 70, 60] + 50, abs=0.01)


def test_noise_in_air_is_no_padding() -> None:
    hu = np.maximum(np.random.default_rng(2).normal(-1000, 40, (1, 96, 96)), -1024).astype(np.float32)
    made = network_of(Plus(300), scan={"field_of_view": "true_size"}).denoise(hu, (5.0, PIXEL_MM, PIXEL_MM))
    assert np.mean(hu == -1024) > 0.2 and np.mean(made < -900) < 0.01


def dicom_series(folder: Path, hu: np.ndarray, spacing: tuple[float, float, float] = (5.0, 4.0, 3.5)) -> Path:
    """Oblique, stored from head to feet, with padding that is not HU."""
    folder.mkdir()
    angle = 0.2
    row = np.array([np.cos(angle), np.sin(angle), 0.0])
    column = np.array([-np.sin(angle), np.cos(angle), 0.0])
    for index, image in enumerate(hu[::-1]):
        file = pydicom.Dataset()
        file.SOPClassUID, file.SOPInstanceUID = pydicom.uid.CTImageStorage, f"1.2.3.{index + 1}"
        file.Modality, file.PatientID, file.PatientName = "CT", "P1", "Doe^Jane"
        file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = "1.2", "1.2.3", "1.9"
        file.SeriesNumber, file.InstanceNumber, file.ImageType = (
            4,
            index + 1,
            ["ORIGINAL", "PRIMARY", "AXIAL"],
        )
        file.Rows, file.Columns = image.shape
        file.PixelSpacing, file.SliceThickness = list(spacing[1:]), spacing[0]
        file.ImageOrientationPatient = [f"{value:.8f}" for value in (*row, *column)]
        file.ImagePositionPatient = [10, -20, 500 - index * spacing[0]]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        file.RescaleSlope, file.RescaleIntercept, file.PixelPaddingValue = 1, -1024, 0
        file.PixelData = (image + 1024).astype(np.uint16).tobytes()
        file.file_meta = pydicom.dataset.FileMetaDataset()
        file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        file.save_as(folder / f"slice-{index}.dcm", enforce_file_format=True)
    return folder


def test_a_dicom_series_gives_a_derived_series_in_the_same_place(tmp_path: Path) -> None:
    source = dicom_series(tmp_path / "series", body())
    output = tmp_path / "derived"
    apply_reconstructor(
        network_of(Plus(30)), source, Output(output), "made by test", lambda f: None, no_progress
    )
    before, after = open_scan(source), open_scan(output)
    np.testing.assert_allclose(before.grid.affine, after.grid.affine)
    organ = before.hu == 110
    assert np.median((after.hu - before.hu)[organ]) == 30
    originals = {pydicom.dcmread(file).SOPInstanceUID for file in source.iterdir()}
    images = [pydicom.dcmread(file) for file in output.iterdir()]
    assert {image.SourceImageSequence[0].ReferencedSOPInstanceUID for image in images} == originals
    assert not {image.SOPInstanceUID for image in images} & originals
    assert {image.SeriesInstanceUID for image in images} != {"1.2.3"} and len(images) == len(originals)
    first = images[0]
    assert (first.PatientID, first.StudyInstanceUID, first.FrameOfReferenceUID) == ("P1", "1.2", "1.9")
    assert list(first.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert first.DerivationDescription == "made by test" and "PixelPaddingValue" not in first
    assert first.ContributingEquipmentSequence[0].Manufacturer == "taskct"


@pytest.mark.parametrize("kind", AFFINES)
def test_nifti_in_dicom_out_lies_where_it_lay(kind: str, tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "scan.nii.gz", body(), AFFINES[kind])
    output = tmp_path / "series"
    apply_reconstructor(network_of(Plus(0)), source, Output(output), "test", lambda f: None, no_progress)
    before, after = open_scan(source), open_scan(output)
    np.testing.assert_allclose(before.grid.canonical().affine, after.grid.canonical().affine, atol=1e-4)
    assert np.abs(after.hu - before.hu)[before.hu == 110].max() < 60


def test_what_does_not_fit_is_told_with_both_numbers() -> None:
    generator = np.random.default_rng(0)
    noisy = (body() + generator.normal(0, 20, body().shape)).astype(np.float32)
    scan = scan_of_images(noisy, 4.0, "scan")
    assert not check_fit(network_of(Plus(0), noise_hu=20.0), scan)
    (noise,) = check_fit(network_of(Plus(0), noise_hu=5.0), scan)
    assert "5 HU" in noise.rule and float(noise.found.split()[3]) == pytest.approx(20, rel=0.25)
    fine = scan_of_images(noisy, 0.8, "scan")
    (pixels,) = check_fit(network_of(Plus(0)), fine)
    assert "4 mm" in pixels.rule and "0.8 mm" in pixels.found
    wide = scan_of_images(np.repeat(np.repeat(noisy, 2, 1), 2, 2), 4.0, "scan")
    (field,) = check_fit(network_of(Plus(0)), wide)
    assert "384 mm" in field.rule and "mm" in field.found
    shifted = scan_of_images(noisy + 1024, 4.0, "scan")
    assert any(finding.severity == "refused" for finding in check_fit(network_of(Plus(0)), shifted))


def test_noise_is_measured_as_it_is() -> None:
    generator = np.random.default_rng(1)
    hu = np.full((4, 64, 64), 50.0) + np.linspace(0, 30, 64)  # a slope is no noise
    assert noise_hu(hu) == pytest.approx(0, abs=1e-6)
    assert noise_hu(hu + generator.normal(0, 12, hu.shape)) == pytest.approx(12, rel=0.05)
    assert noise_hu(np.full((1, 64, 64), -1000.0)) is None


def test_sinograms_give_images_in_hu(tmp_path: Path) -> None:
    network = network_of(Plus(10))
    truth = np.zeros((1, 1, 96, 96), np.float32)
    truth[..., 30:60, 30:60] = Reconstructor.normalised(torch.tensor(50.0))
    sinogram = RayTransform(GEOMETRY)(torch.from_numpy(truth))[:, 0].numpy()
    np.save(tmp_path / "sinogram.npy", sinogram)
    output = tmp_path / "made.nii.gz"
    apply_reconstructor(network, tmp_path / "sinogram.npy", Output(output), "t", lambda f: None, no_progress)
    made = open_scan(output)
    assert made.spacing_mm == pytest.approx((1.0, PIXEL_MM, PIXEL_MM))
    assert made.hu[0, 40:50, 40:50].mean() == pytest.approx(60, abs=15)
    with pytest.raises(DataError, match="40 angles, 137 bins"):
        network.reconstruct(sinogram[:, :, :-1])


def test_files_alone_make_the_same_network_again(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = build_reconstructor("dncnn", {"width": 4, "depth": 3})
    before = network_of(module, architecture="dncnn", architecture_parameters={"width": 4, "depth": 3})
    save_reconstructor(module, before.card, tmp_path / "study")
    after = taskct_core.load_reconstructor(tmp_path)  # an experiment's folder, with its study in it
    hu = body().astype(np.float32)
    np.testing.assert_array_equal(before.denoise(hu, (5, 4, 4)), after.denoise(hu, (5, 4, 4)))
    assert after.geometry == GEOMETRY and after.card.normalisation["mu_max"] == MU_MAX
    weights = tmp_path / "study" / "reconstructor.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(DataError, match="card was written for"):
        taskct_core.load_reconstructor(tmp_path / "study")
    with pytest.raises(DataError, match=r"reconstructor\.json"):
        taskct_core.load_reconstructor(tmp_path / "elsewhere")


def test_an_architecture_of_a_folders_own_is_imported_only_if_trusted(tmp_path: Path) -> None:
    card = network_of(Plus(0), architecture="somebody.elses:Network").card
    save_reconstructor(nn.Linear(1, 1), card, tmp_path)
    with pytest.raises(ConfigError, match="--trust"):
        taskct_core.load_reconstructor(tmp_path)


def test_nothing_is_written_over_and_bad_scans_leave_nothing(tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "scan.nii.gz", body(), AFFINES["LPS"])
    apply = lambda place, output: apply_reconstructor(  # noqa: E731
        network_of(Plus(0)), place, Output(output), "t", lambda f: None, no_progress
    )
    with pytest.raises(ConfigError, match="existing output"):
        apply(source, source)
    shifted = write_nifti(tmp_path / "shifted.nii.gz", body() + 1024, AFFINES["LPS"])
    for place in (shifted, tmp_path / "absent.nii.gz"):
        with pytest.raises(DataError):
            apply(place, tmp_path / "made.nii.gz")
    sinogram_network = network_of(Plus(0), inputs=("fbp", "sinogram"))
    with pytest.raises(ConfigError, match="sinogram"):
        sinogram_network.denoise(body(), (5, 4, 4))
    assert not (tmp_path / "made.nii.gz").exists()


def test_masks_lie_on_the_scans_grid(tmp_path: Path) -> None:
    class Bright(nn.Module):
        def predict(self, image: torch.Tensor) -> torch.Tensor:
            return (Reconstructor.to_hu(image)[:, 0] > 80).long()

    source = write_nifti(tmp_path / "scan.nii.gz", body(), AFFINES["permuted"])
    output = Output(tmp_path / "made.nii.gz", tmp_path / "masks.nii.gz")
    judge: Any = Bright()
    apply_reconstructor(network_of(Plus(0)), source, output, "t", lambda f: None, no_progress, judge)
    scan, masks = map(nib.Nifti1Image.from_filename, (source, output.masks))
    np.testing.assert_array_equal(scan.affine, masks.affine)
    bright, found = scan.get_fdata() > 80, masks.get_fdata() == 1
    overlap = 2 * np.count_nonzero(bright & found) / (bright.sum() + found.sum())
    assert overlap > 0.9


def test_a_card_is_kept_as_it_was_written(tmp_path: Path) -> None:
    card = network_of(
        Plus(0), noise_hu=12.5, scores={"test": {"psnr_lodopab": 31.0, "ssim_lodopab": None}}
    ).card
    written = save_reconstructor(nn.Linear(1, 1), card, tmp_path)
    from taskct_core.apply.card import read_card

    assert read_card(tmp_path).model_dump(mode="json") == written.model_dump(mode="json")
    assert dataclasses.is_dataclass(GEOMETRY) and written.geometry["pixel_spacing_mm"] == PIXEL_MM


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["made.nii.gzz"], "whose name has no ending"),
        (["made.mha"], "whose name has no ending"),
        (["made.nii.gz", "masks.png"], "masks are written as"),
        (["made.nii.gz", "made.nii.gz"], "two files"),
    ],
)
def test_an_output_of_no_known_format_is_refused(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Output(*(tmp_path / name for name in names)).check()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["made.nii", "made.nii.gz", "series", "series-1.2"])
def test_an_output_is_a_nifti_file_or_a_folder(name: str, tmp_path: Path) -> None:
    Output(tmp_path / name).check()
