"""Fresh samples: moved as drawn, the same bits whatever the batch, and never out of the field of view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from taskct_core.errors import ConfigError
from taskct_core.geometry import ParallelBeam
from taskct_core.hounsfield import MU_MAX, hu_to_mu
from taskct_core.schema import (
    BASE_HU,
    BASE_LABELS,
    FBP,
    FULL_DOSE,
    LABELS,
    PATIENT,
    PHOTONS_PER_RAY,
    PIXEL_SPACING_MM,
    SINOGRAM,
    SLICE_INDEX,
    TUMOUR,
    TUMOUR_PIXELS,
    UNLABELLED,
)
from taskct_core.simulation.config import FreshDrawConfig, SimulationConfig
from taskct_core.simulation.fresh import FreshScanner, visits_of_epoch
from taskct_core.simulation.fresh_base import FINER
from taskct_core.simulation.movement import Movement, Mover, draw_movement
from taskct_core.simulation.slices import geometry_of, simulate_slices
from taskct_core.volumes.body import body_box

SCANNER = SimulationConfig(preset="tiny", field_of_view_mm=320, store_sinogram=True)
STILL = {"turn_degrees": 0.0, "scale": 0.0, "shift_mm": 0.0}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))


def with_draw(config: SimulationConfig = SCANNER, **changes: Any) -> SimulationConfig:
    return config.model_copy(update={"fresh_draw": FreshDrawConfig(**changes)})


def slices(count: int = 5) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A body of 300 mm with a liver and, in every other slice, a tumour; slices of 2 mm pixels."""
    rows, columns = (np.indices((160, 160)) - 79.5) * 2
    hu = np.full((count, 160, 160), -1000, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    hu[:, (rows / 100) ** 2 + (columns / 150) ** 2 < 1] = 20
    liver = ((rows + 10) / 55) ** 2 + ((columns + 70) / 60) ** 2 < 1
    hu[:, liver], labels[:, liver] = 110, 1
    tumour = (rows + 20) ** 2 + (columns + 80) ** 2 < 18**2
    hu[::2, tumour], labels[::2, tumour] = 50, 2
    return hu, labels


def bases(config: SimulationConfig = SCANNER, count: int = 5) -> dict[str, NDArray[Any]]:
    hu, labels = slices(count)
    return simulate_slices(
        hu,
        labels,
        spacing_mm=(2.0, 2.0),
        patient="p1",
        slice_indices=range(count),
        config=config,
        body=body_box(hu, (2.0, 2.0)),
        with_base=True,
    )


def draw(
    rows: dict[str, NDArray[Any]],
    config: SimulationConfig = SCANNER,
    seed: int = 0,
    epoch: int = 1,
    **more: Any,
) -> dict[str, NDArray[Any]]:
    return FreshScanner(geometry_of(config), config)(rows, seed=seed, epoch=epoch, **more)


def test_a_fresh_sample_has_the_columns_of_a_stored_one() -> None:
    stored = bases()
    fresh = draw(stored)
    without_base = {name: stored[name] for name in fresh}
    assert {PATIENT, SLICE_INDEX, FULL_DOSE, FBP, LABELS, SINOGRAM, PHOTONS_PER_RAY, PIXEL_SPACING_MM} == set(
        fresh
    )
    for name, values in without_base.items():
        assert (fresh[name].shape, fresh[name].dtype) == (values.shape, values.dtype), name
    np.testing.assert_array_equal(stored[TUMOUR_PIXELS] > 0, [True, False, True, False, True])


def test_without_movement_only_the_photons_are_new() -> None:
    stored = bases()
    fresh = draw(stored, with_draw(**STILL))
    for name in (FULL_DOSE, LABELS, PHOTONS_PER_RAY, PIXEL_SPACING_MM):
        np.testing.assert_array_equal(fresh[name], stored[name])
    noise = [columns[FBP][0] - stored[FULL_DOSE][0] for columns in (stored, fresh)]
    assert np.std(noise[1]) == pytest.approx(np.std(noise[0]), rel=0.05)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.9


def test_hardly_moved_is_the_stored_image() -> None:
    """Resampled from the base, an image keeps what the scanner's own pixels show, edges included."""
    stored = bases()
    fresh = draw(stored, with_draw(turn_degrees=1e-6, scale=0.0, shift_mm=0.0))
    assert np.abs(fresh[FULL_DOSE] - stored[FULL_DOSE]).max() < 1.0 * 0.02 / MU_MAX


@pytest.mark.parametrize("policy", ["scanner", "crop", "resize", "true_size"])
def test_the_base_lies_on_the_stored_image_under_every_policy(policy: str) -> None:
    config = SCANNER.model_copy(update={"field_of_view": policy})
    if policy != "scanner":
        config = config.model_copy(update={"field_of_view_mm": None})
    config = with_draw(config, turn_degrees=1e-6, scale=0.0, shift_mm=0.0)
    with pytest.warns(UserWarning, match="cuts the body") if policy == "crop" else _nothing():
        stored = bases(config)
    fresh = draw(stored, config)
    # The crop's base is finer than the slice, so interpolated, and a little softer at edges.
    error = np.abs(fresh[FULL_DOSE] - stored[FULL_DOSE])
    assert error.mean() < (3e-4 if policy == "crop" else 1e-4)
    assert error.max() < (0.02 if policy == "crop" else 0.001)
    scan = geometry_of(config)
    scale = stored[PIXEL_SPACING_MM][0] / scan.pixel_spacing_mm
    assert scale == pytest.approx(320 / 260 if policy == "true_size" else 1)
    assert np.std(fresh[SINOGRAM] - stored[SINOGRAM]) > 0


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_the_same_bits_whatever_the_batch_order_and_threads() -> None:
    stored = bases()
    together = draw(stored)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = [draw({name: values[[row]] for name, values in stored.items()}) for row in reversed(range(5))]
    finally:
        torch.set_num_threads(threads)
    for name, values in together.items():
        assert values.tobytes() == np.concatenate([part[name] for part in alone][::-1]).tobytes(), name


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 2}, {"visits": np.ones(5, int)}])
def test_every_epoch_seed_and_visit_is_another_scan(change: dict[str, Any]) -> None:
    stored = bases()
    first, second = draw(stored), draw(stored, **change)
    assert all(not np.array_equal(a, b) for a, b in zip(first[FULL_DOSE], second[FULL_DOSE], strict=True))
    assert draw(stored)[FBP].tobytes() == first[FBP].tobytes()


def test_an_image_is_moved_as_scipy_moves_it() -> None:
    pixels, spacing_mm = 48, 3.0
    hu = gaussian_filter(np.random.default_rng(0).normal(0, 3000, (2 * pixels,) * 2), 4)
    movement = Movement(turn_rad=0.3, scale=1.1, shift_mm=(7.0, -11.0))
    moved = Mover(pixels).image(hu, movement, spacing_mm)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    forward = 1.1 * np.array([[cosine, -sine], [sine, cosine]])
    inverse, centre = np.linalg.inv(forward), np.full(2, pixels - 0.5)
    shift = np.array(movement.shift_mm) / (spacing_mm / FINER)
    fine = affine_transform(hu + 1000, inverse, centre - inverse @ (centre + shift), order=3) - 1000
    expected = fine.reshape(pixels, 2, pixels, 2).mean(axis=(1, 3))
    inside = np.hypot(*(np.indices(moved.shape) - (pixels - 1) / 2)) < 0.3 * pixels
    assert np.abs(moved - expected)[inside].max() < 0.02 * hu.std()


def test_labels_move_with_the_image() -> None:
    pixels, spacing_mm = 64, 4.0
    rows, columns = (np.indices((128, 128)) - 63.5) * 2
    disc = (rows - 30) ** 2 + (columns + 10) ** 2 < 24**2
    movement = Movement(turn_rad=-0.4, scale=0.9, shift_mm=(12.0, 20.0))
    mover = Mover(pixels)
    labels = mover.labels(disc.astype(np.uint8), movement, spacing_mm)
    image = mover.image(np.where(disc, 0, -1000), movement, spacing_mm)
    assert (labels == (image > -500)).mean() > 0.995
    centre_mm = [(np.average(i, weights=labels) - 31.5) * 4 for i in np.indices(labels.shape)]
    cosine, sine = np.cos(-0.4), np.sin(-0.4)
    expected = [0.9 * (cosine * 30 + sine * 10) + 12, 0.9 * (sine * 30 - cosine * 10) + 20]
    np.testing.assert_allclose(centre_mm, expected, atol=0.6)
    assert labels.sum() * 16 == pytest.approx(np.pi * (0.9 * 24) ** 2, rel=0.03)


def test_movements_cover_their_ranges_and_keep_the_body_in_the_field() -> None:
    config = FreshDrawConfig(turn_degrees=20, scale=0.2, shift_mm=15)
    rng = np.random.default_rng(0)
    free = [draw_movement(config, (40.0, 50.0), 200.0, rng) for _ in range(500)]
    turns, scales = ([getattr(m, name) for m in free] for name in ("turn_rad", "scale"))
    assert np.degrees(np.ptp(turns)) == pytest.approx(40, rel=0.05)
    assert np.ptp(scales) == pytest.approx(0.4, rel=0.05)
    assert np.ptp([m.shift_mm for m in free], axis=0) == pytest.approx([30, 30], rel=0.05)
    angle = np.linspace(0, 2 * np.pi, 300)
    for _ in range(200):
        movement = draw_movement(config, (140.0, 190.0), 200.0, rng)
        cosine, sine = np.cos(movement.turn_rad), np.sin(movement.turn_rad)
        rows, columns = 140 * np.sin(angle), 190 * np.cos(angle)
        moved = movement.scale * np.array([cosine * rows - sine * columns, sine * rows + cosine * columns])
        assert np.abs(moved + np.array(movement.shift_mm)[:, None]).max() <= 200 + 1e-6


def test_a_turned_crop_shows_the_body_beyond_the_crop_and_no_air() -> None:
    config = SCANNER.model_copy(update={"field_of_view": "crop", "field_of_view_mm": None})
    config = with_draw(config, turn_degrees=45, scale=0.0, shift_mm=0.0)
    hu = np.zeros((1, 128, 128), np.int16)
    with pytest.warns(UserWarning, match="cuts the body"):
        rows = simulate_slices(
            hu, np.zeros(hu.shape, np.uint8), spacing_mm=(2.0, 2.0), patient="p", slice_indices=[0],
            config=config, with_base=True,
        )  # fmt: skip
    for epoch in range(4):
        image = draw(rows, config, epoch=epoch)[FULL_DOSE]
        np.testing.assert_allclose(image, hu_to_mu(0.0) / MU_MAX, rtol=2e-3)


def test_fresh_lesions_lie_in_the_liver_and_differ_between_epochs() -> None:
    rows = bases()
    config = with_draw(**STILL, lesion_share=1.0)
    first, second = (draw(rows, config, epoch=epoch)[LABELS] for epoch in (1, 2))
    liver = draw(rows, with_draw(turn_degrees=1e-6, scale=0.0, shift_mm=0.0))[LABELS] >= 1
    for labels in (first, second):
        assert ((labels == TUMOUR).sum(axis=(1, 2)) > 0).all()
        np.testing.assert_array_equal(labels >= 1, liver)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("field_mm", [300.0, 400.0])  # the patient's images show 320 mm
def test_a_slice_without_labels_stays_one_wherever_it_is_moved(field_mm: float) -> None:
    config = SCANNER.model_copy(update={"field_of_view_mm": field_mm})
    hu, labels = slices(4)
    stored = simulate_slices(
        hu,
        np.full_like(labels, UNLABELLED),
        spacing_mm=(2.0, 2.0),
        patient="p1",
        slice_indices=range(4),
        config=config,
        body=body_box(hu, (2.0, 2.0)),
        with_base=True,
    )
    assert (stored[LABELS] == UNLABELLED).all() and not stored[TUMOUR_PIXELS].any()
    for changes in (STILL, {}, {"lesion_share": 1.0}):
        assert (draw(stored, with_draw(config, **changes))[LABELS] == UNLABELLED).all()


def test_the_dose_varies_when_asked() -> None:
    rows = {name: np.repeat(values, 8, axis=0) for name, values in bases().items()}
    rows[SLICE_INDEX] = np.arange(40, dtype=np.int32)
    photons = draw(rows, with_draw(dose_factor=(0.25, 4.0)))[PHOTONS_PER_RAY] / 4096
    assert 0.25 <= photons.min() < 0.4
    assert 2.5 < photons.max() <= 4


def test_the_base_holds_what_the_scanner_does_not_see() -> None:
    rows = bases()
    assert rows[BASE_HU].shape == rows[BASE_LABELS].shape == (5, FINER * 64, FINER * 64)
    assert rows[BASE_HU].dtype == np.int16


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_an_epoch_visits_tumours_as_often_as_asked(share: float) -> None:
    has_tumour = np.arange(50) % 5 == 0
    visits = visits_of_epoch(has_tumour, share, seed=3, epoch=7)
    assert visits.sum() == 50
    assert visits[has_tumour].sum() == max(10, round(50 * share))
    assert np.ptp(visits[has_tumour]) <= 1
    assert visits[~has_tumour].max(initial=0) <= 1
    np.testing.assert_array_equal(visits, visits_of_epoch(has_tumour, share, seed=3, epoch=7))
    if 0.2 < share < 1:
        assert not np.array_equal(visits, visits_of_epoch(has_tumour, share, seed=3, epoch=8))


def test_without_tumours_every_sample_is_visited_once() -> None:
    assert (visits_of_epoch(np.zeros(9, bool), 0.5, seed=0, epoch=0) == 1).all()


def test_the_geometry_is_the_datasets() -> None:
    scan = geometry_of(SCANNER)
    assert isinstance(scan, ParallelBeam)
    assert scan.pixel_spacing_mm * 64 == pytest.approx(320)


@pytest.mark.parametrize("values", [{"scale": 1.0}, {"turn_degrees": -1}, {"dose_factor": [2, 1]}])
def test_bad_draws_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        SimulationConfig.parse({"fresh_draw": values})
