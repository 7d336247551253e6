"""The phantom: reproducible, anatomically plausible, labelled exactly, and no threshold exercise."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from taskct_core.phantom import make_phantom
from taskct_core.phantom.grid import Grid, smooth_cut, smooth_field, smooth_union
from taskct_core.phantom.lesions import DIAMETER_MM, Lesion, draw_lesions
from taskct_core.phantom.tissues import APPEARANCE, Tissue
from taskct_core.volumes import Volume, list_patients, read_volume


@cache
def patients() -> list[Volume]:
    return [read_volume(reference) for reference in list_patients("phantom", patients=16, pixels=96, seed=3)]


def flat_grid(count: int = 60, extent_mm: float = 60.0) -> Grid:
    """A grid without warping."""
    axis = np.linspace(-extent_mm, extent_mm, count, dtype=np.float32)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return Grid((axis, axis, axis), (z, y, x))


# --- reproducibility ------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_patient_and_another_seed_another() -> None:
    first, again, other = (make_phantom(seed, 4, 64) for seed in (5, 5, 6))
    assert np.array_equal(first.hu, again.hu) and np.array_equal(first.labels, again.labels)
    assert first.spacing_mm != other.spacing_mm
    assert np.mean(first.labels != other.labels) > 0.01


def test_another_process_makes_the_same_patient() -> None:
    script = (
        "import hashlib; from taskct_core.phantom import make_phantom; v = make_phantom((1, 2), 3, 64);"
        "print(hashlib.sha256(v.hu.tobytes() + v.labels.tobytes()).hexdigest())"
    )
    results = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(results) == 1


def test_a_patient_keeps_its_anatomy_at_every_resolution() -> None:
    coarse, fine = make_phantom(2, 6, 64, lesions=0), make_phantom(2, 6, 128, lesions=0)
    share_of_liver = fine.labels.reshape(6, 64, 2, 64, 2).mean(axis=(2, 4))
    clear = (share_of_liver == 0) | (share_of_liver == 1)
    agreement = np.mean((share_of_liver > 0.5)[clear] == (coarse.labels > 0)[clear])
    assert agreement > 0.995


def test_patients_do_not_depend_on_how_many_there_are() -> None:
    few, many = (list_patients("phantom", patients=n, seed=1) for n in (3, 9))
    assert many[:3] == few
    assert len({reference.patient for reference in many}) == 9
    assert pickle.loads(pickle.dumps(many)) == many
    assert {r.patient for r in list_patients("phantom", patients=3, seed=2)}.isdisjoint(
        r.patient for r in few
    )


# --- contract -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_slices", "pixels"), [(1, 64), (2, 33), (5, 96)])
def test_shape_types_and_spacing(num_slices: int, pixels: int) -> None:
    volume = make_phantom(0, num_slices, pixels)
    assert volume.hu.shape == volume.labels.shape == (num_slices, pixels, pixels)
    assert volume.hu.dtype == np.int16 and volume.labels.dtype == np.uint8
    assert -1024 <= volume.hu.min() < -950 and 250 < volume.hu.max() <= 3071
    slice_mm, row_mm, column_mm = volume.spacing_mm
    assert row_mm == column_mm and 300 < column_mm * pixels < 480
    assert 0 < slice_mm <= 10


def test_every_slice_shows_liver_and_most_patients_have_lesions() -> None:
    with_tumour = [bool((volume.labels == 2).any()) for volume in patients()]
    assert all((volume.labels > 0).any(axis=(1, 2)).all() for volume in patients())
    assert with_tumour == [number % 8 != 7 for number in range(16)]


def test_patients_differ_in_build_contrast_and_burden() -> None:
    widths = [volume.spacing_mm[1] for volume in patients()]
    livers = [np.median(volume.hu[volume.labels == 1]) for volume in patients()]
    burdens = [np.mean(volume.labels == 2) for volume in patients()]
    assert np.ptp(widths) > 0.15 * np.mean(widths)
    assert np.ptp(livers) > 40
    assert max(burdens) > 3 * min(burden for burden in burdens if burden)


# --- anatomy --------------------------------------------------------------------------------------


def test_liver_lies_right_and_spine_behind() -> None:
    for volume in patients():
        _, row, column = ndimage.center_of_mass(volume.hu > -300)
        _, _, liver_column = ndimage.center_of_mass(volume.labels)
        middle = slice(int(0.4 * volume.hu.shape[2]), int(0.6 * volume.hu.shape[2]))
        spine_row = ndimage.center_of_mass(volume.hu[:, :, middle] > 250)[1]
        assert liver_column < column - 5 and spine_row > row + 5


def test_liver_is_one_organ_of_human_size() -> None:
    for volume in patients():
        parts, _ = ndimage.label(volume.labels > 0)
        sizes = np.bincount(parts.ravel())[1:]
        litres = sizes.sum() * np.prod(volume.spacing_mm) * 1e-6
        assert sizes.max() > 0.97 * sizes.sum()
        assert 0.7 < litres < 3.2


def test_neighbouring_slices_belong_together() -> None:
    volume = make_phantom(4, 24, 96)
    liver = volume.labels > 0

    def dice(a: np.ndarray, b: np.ndarray) -> float:
        return float(2 * (a & b).sum() / (a.sum() + b.sum()))

    assert min(dice(a, b) for a, b in pairwise(liver[2:-2])) > 0.8
    assert dice(liver[2], liver[-3]) < 0.8


def test_fat_air_and_liver_have_textbook_hu() -> None:
    for volume in patients():
        assert np.median(volume.hu[:, :3]) == pytest.approx(-1000, abs=5)
        assert 20 < np.median(volume.hu[volume.labels == 1]) < 140
        fat = volume.hu[(volume.hu > -150) & (volume.hu < -60)]
        assert fat.size > 0.03 * volume.hu.size and -112 < np.median(fat) < -85


def test_every_tissue_has_an_appearance_in_enum_order() -> None:
    assert list(APPEARANCE) == list(Tissue) == list(range(len(Tissue)))


# --- the task -------------------------------------------------------------------------------------


def test_no_hu_window_segments_the_liver() -> None:
    edges = np.arange(-200, 305, 5)
    liver, other = (
        np.sum([np.histogram(v.hu[(v.labels > 0) == is_liver], edges)[0] for v in patients()], axis=0)
        for is_liver in (True, False)
    )
    liver_upto, other_upto = (np.concatenate([[0], np.cumsum(h)]) for h in (liver, other))
    inside, wrong = (upto[None, :] - upto[:, None] for upto in (liver_upto, other_upto))
    dice = 2 * inside / np.maximum(liver.sum() + inside + wrong, 1)
    assert dice.max() < 0.75


def test_lesions_differ_from_the_liver_by_the_contrasts_of_the_model() -> None:
    contrasts = []
    for volume in patients():
        parts, count = ndimage.label(volume.labels == 2)
        core = ndimage.binary_erosion(volume.labels == 2, np.ones((1, 3, 3)))
        liver_hu = np.median(volume.hu[volume.labels == 1])
        contrasts += [
            np.median(volume.hu[core & (parts == i)]) - liver_hu
            for i in range(1, count + 1)
            if (core & (parts == i)).sum() >= 12
        ]
    assert len(contrasts) >= 15
    assert -95 < min(contrasts) < -30 and max(contrasts) < 50
    assert np.median(contrasts) < -25
    assert np.mean(np.abs(contrasts) > 8) > 0.8


def test_full_dose_noise_leaves_lesions_visible() -> None:
    for volume in patients():
        liver = volume.hu[ndimage.binary_erosion(volume.labels == 1, np.ones((1, 5, 5)))]
        quartiles = np.percentile(liver, [25, 75])
        assert 4 < np.diff(quartiles)[0] / 1.349 < 20  # HU; an interquartile range is 1.349 std


# --- lesions and shapes in closed form ------------------------------------------------------------


def test_a_lesion_has_its_volume_its_contrast_and_half_of_it_at_the_border() -> None:
    grid = flat_grid(121)  # 1 mm
    tissue = np.full(grid.shape, Tissue.LIVER, np.uint8)
    lesion = Lesion((3.0, -2.0, 5.0), (20.0, 20.0, 20.0), -40.0, edge_mm=4.0, necrotic=False)
    mask, added_hu = draw_lesions(tissue, grid, [lesion], np.random.default_rng(0))
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.25)  # lobulated
    assert ndimage.center_of_mass(mask) == pytest.approx((63, 58, 65), abs=2.5)
    assert np.array_equal(mask, added_hu < -20)
    assert added_hu.min() == -40 and added_hu[63, 58, 65] == -40


def test_lesions_stay_inside_the_liver() -> None:
    grid = flat_grid()
    tissue = np.full(grid.shape, Tissue.FAT, np.uint8)
    tissue[:30] = Tissue.LIVER
    lesion = Lesion((0.0, 0.0, 0.0), (25.0, 25.0, 25.0), 30.0, edge_mm=8.0, necrotic=False)
    mask, added_hu = draw_lesions(tissue, grid, [lesion], np.random.default_rng(0))
    assert mask[:30].any() and not mask[30:].any() and not added_hu[30:].any()


def test_lesions_are_no_larger_than_declared() -> None:
    for volume in patients():
        parts, count = ndimage.label(volume.labels == 2)
        extents = [
            max((s.stop - s.start) * mm for s, mm in zip(box, volume.spacing_mm, strict=True))
            for box in ndimage.find_objects(parts)
        ]
        assert len(extents) == count
        # Axes vary by 15 %, lobulation by a few mm, voxels by one slice.
        assert max(extents, default=0) < 1.4 * DIAMETER_MM[1] + 10


def test_lesions_are_as_many_and_as_large_as_asked_for() -> None:
    references = list_patients(
        "phantom", patients=8, pixels=96, seed=3, lesions=3, lesion_diameter_mm=(14.0, 15.0)
    )
    volumes = [read_volume(reference) for reference in references]
    for volume in volumes[:7]:
        parts, count = ndimage.label(volume.labels == 2)
        assert 1 <= count <= 3
        pixels = max(
            ndimage.sum_labels(volume.labels[z] == 2, parts[z], n)
            for n in range(1, count + 1)
            for z in range(12)
        )
        diameter_mm = 2 * np.sqrt(pixels * volume.spacing_mm[1] ** 2 / np.pi)
        assert 8 < diameter_mm < 19
    assert not (volumes[7].labels == 2).any()  # every eighth patient has none


@pytest.mark.parametrize("radii", [(20.0, 20.0, 20.0), (30.0, 15.0, 22.0)])
def test_an_ellipsoid_has_its_volume(radii: tuple[float, float, float]) -> None:
    inside = flat_grid(121).ellipsoid((1.0, 2.0, -3.0), radii) < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.01)


def test_a_capsule_is_a_cylinder_with_two_half_balls() -> None:
    grid = flat_grid(121)
    box = grid.box((0, 0, 0), (60, 60, 60))
    inside = grid.capsule((-20, 0.3, 0.4), (20, 0.3, 0.4), (10, 10), box) < 0
    assert inside.sum() == pytest.approx(np.pi * 10**2 * 40 + 4 / 3 * np.pi * 10**3, rel=0.02)


def test_union_and_cut_follow_the_sharp_ones_away_from_the_seam() -> None:
    a, b = np.random.default_rng(0).normal(0, 30, (2, 1000)).astype(np.float32)
    far = np.abs(a - b) > 10
    assert np.array_equal(smooth_union(a, b, 10)[far], np.minimum(a, b)[far])
    assert (smooth_union(a, b, 10) <= np.minimum(a, b)).all()
    apart = np.abs(a + b) > 10
    assert np.array_equal(smooth_cut(a, b, 10)[apart], np.maximum(a, -b)[apart])


@pytest.mark.parametrize("extent_mm", [250.0, 300.0])
def test_a_smooth_field_has_unit_variance_and_its_length(extent_mm: float) -> None:
    axis = np.linspace(-250, 250, 101, dtype=np.float32)  # 5 mm
    field = smooth_field((axis, axis, axis), 25, np.random.default_rng(0), (extent_mm,) * 3)
    assert field.shape == (101, 101, 101)
    assert field.mean() == pytest.approx(0, abs=0.05) and field.std() == pytest.approx(1, abs=0.05)

    def correlation(steps: int) -> float:
        return float(np.mean(field[:, :, steps:] * field[:, :, : 101 - steps]))

    assert correlation(1) > 0.9 and abs(correlation(24)) < 0.05


def test_a_field_of_one_slice_draws_no_more_than_reaches_it() -> None:
    """Lesions of fresh slices are uneven by such fields: a patient's whole extent took most of a draw's time."""
    axis = np.linspace(-100, 100, 201, dtype=np.float32)
    one = np.zeros(1, np.float32)
    rng, reference = (np.random.default_rng(0) for _ in range(2))
    fields = np.stack([smooth_field((one, axis, axis), 6, rng, (0.0, 100.0, 100.0)) for _ in range(20)])
    assert fields.std() == pytest.approx(1, abs=0.05)
    reference.standard_normal((20, 4, 38, 38), dtype=np.float32)
    assert rng.bit_generator.state == reference.bit_generator.state
