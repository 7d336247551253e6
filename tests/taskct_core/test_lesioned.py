"""Synthetic lesions in a real liver: inside it, darker or brighter by what was drawn, and nothing else moved."""

from __future__ import annotations

import pickle
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, label

from taskct_core.phantom import make_phantom
from taskct_core.phantom.lesions import BRIGHTER_BY_HU, DARKER_BY_HU, DIAMETER_MM
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes import Volume, list_patients
from taskct_core.volumes.lesioned import insert_lesions, with_lesions


@pytest.fixture(scope="module")
def healthy() -> Volume:
    return make_phantom(seed=(5, 0), num_slices=12, pixels=128, lesions=0, patient="healthy")


def insert(volume: Volume, seed: int) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    return insert_lesions(volume.hu, volume.labels, volume.spacing_mm, np.random.default_rng(seed))


def test_lesions_lie_inside_the_liver_and_leave_the_rest_alone(healthy: Volume) -> None:
    before = healthy.hu.copy()
    hu, labels = insert(healthy, 1)
    assert (labels == TUMOUR).any()
    assert np.array_equal(labels > 0, healthy.labels > 0)
    assert np.array_equal(hu[healthy.labels != LIVER], healthy.hu[healthy.labels != LIVER])
    assert np.array_equal(healthy.hu, before)
    assert hu.dtype == healthy.hu.dtype


def test_contrast_to_the_liver_is_a_drawn_one(healthy: Volume) -> None:
    darkest, brightest = -DARKER_BY_HU[1] - 22 - 10, BRIGHTER_BY_HU[1] + 10  # necrotic core, noise of a mean
    for seed in range(6):
        hu, labels = insert(healthy, seed)
        contrast = hu[labels == TUMOUR].mean() - np.median(healthy.hu[healthy.labels == LIVER])
        assert darkest < contrast < brightest
        assert abs(contrast) > 8  # soft edges included


def test_noise_and_texture_of_the_scan_stay(healthy: Volume) -> None:
    hu, labels = insert(healthy, 1)
    inside = binary_erosion(labels == TUMOUR, np.ones((1, 5, 5)))  # away from other tissue's edges
    grain, before = (
        (image - gaussian_filter(image, (0, 1, 1)))[inside]
        for image in (hu.astype(float), healthy.hu.astype(float))
    )
    assert np.corrcoef(grain, before)[0, 1] > 0.5
    assert 0.5 < grain.std() / before.std() < 1.5  # what a lesion is uneven by comes on top


def test_a_lesion_is_as_uneven_inside_as_a_tumour_and_keeps_no_vessel() -> None:
    """A liver of 9 HU of texture at 1.5 mm, as that of 3D-IRCADb-01's first patient, with a vessel of 80 HU.

    His tumours' own spread at that scale is 10 to 14 HU.
    """
    spacing_mm, rng = 0.7, np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(0, 1, (1, 200, 200)), (0, 2, 2))
    hu = (110 + texture * (12 / texture.std())).astype(np.float32)
    hu[:, 95:105] += 80
    labels = np.full(hu.shape, LIVER, np.uint8)
    spreads, vessels = [], []
    for seed in range(12):
        changed, where = insert_lesions(
            hu, labels, (3.0, spacing_mm, spacing_mm), np.random.default_rng(seed), 4, large_first=False
        )
        smooth = gaussian_filter(changed.astype(float), (0, 1.5 / spacing_mm, 1.5 / spacing_mm))
        lesions, count = label(where == TUMOUR)
        cores = [binary_erosion(lesions == number, np.ones((1, 7, 7))) for number in range(1, count + 1)]
        spreads += [smooth[core].std() for core in cores if core.sum() > 100]
        in_vessel = (where == TUMOUR)[:, 98:102]
        vessels += list(changed[:, 98:102][in_vessel])
    assert 6 < np.median(spreads) < 18
    assert np.median(vessels) < 110  # of a lesion darker than the liver, as most are


def test_a_slice_gets_small_lesions_as_often_as_large_ones() -> None:
    """Diameters are drawn evenly over their logarithm, so half are below the geometric mean of the ends."""
    hu, labels = np.full((1, 256, 256), 100, np.float32), np.full((1, 256, 256), LIVER, np.uint8)
    diameters: dict[bool, list[float]] = {True: [], False: []}
    for large_first, seed in product(diameters, range(40)):
        _, where = insert_lesions(
            hu, labels, (3.0, 1.0, 1.0), np.random.default_rng(seed), 1, large_first=large_first
        )
        diameters[large_first].append(2 * float(np.sqrt((where == TUMOUR).sum() / np.pi)))
    assert np.median(diameters[False]) == pytest.approx(np.sqrt(np.prod(DIAMETER_MM)), rel=0.3)
    assert min(diameters[True]) > 18


def test_real_tumours_stay() -> None:
    volume = make_phantom(seed=(5, 1), num_slices=8, pixels=96, lesions=2, patient="ill")
    _, labels = insert(volume, 0)
    assert (labels[volume.labels == TUMOUR] == TUMOUR).all()
    assert (labels == TUMOUR).sum() > (volume.labels == TUMOUR).sum()


def test_same_seed_same_lesions_and_draws_differ() -> None:
    patient = list_patients("phantom", patients=8, slices_per_patient=6, pixels=64)[7]  # the healthy one
    first, second = with_lesions(patient, draws=2, seed=3)
    again = pickle.loads(pickle.dumps(first)).read()
    assert np.array_equal(first.read().hu, again.hu)
    assert not np.array_equal(first.read().labels, second.read().labels)
    assert {first.patient, second.patient} == {f"{patient.patient}+lesions{draw}" for draw in (0, 1)}


def test_a_volume_without_liver_comes_back() -> None:
    hu, labels = np.zeros((3, 16, 16), np.int16), np.zeros((3, 16, 16), np.uint8)
    changed, same = insert_lesions(hu, labels, (2.0, 1.0, 1.0), np.random.default_rng(0))
    assert np.array_equal(changed, hu)
    assert np.array_equal(same, labels)
