"""Simulation against LoDoPaB-CT's procedure written out with ODL and scikit-image, and its invariances."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import odl
import pytest
import torch
from numpy.typing import NDArray
from skimage.transform import resize

from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import PRESETS
from taskct_core.hounsfield import MU_MAX, hu_to_mu
from taskct_core.projection import RayTransform
from taskct_core.projection.guarded import project_guarded
from taskct_core.schema import (
    FBP,
    FULL_DOSE,
    LABELS,
    PATIENT,
    PHOTONS_PER_RAY,
    PIXEL_SPACING_MM,
    SINOGRAM,
    SLICE_INDEX,
)
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.slices import geometry_of, simulate_slices
from taskct_core.volumes.body import COARSE_MM, BodyBox, body_box

TINY = SimulationConfig(preset="tiny", store_sinogram=True, field_of_view="resize")
SCANNER = TINY.model_copy(update={"field_of_view": "scanner", "field_of_view_mm": 300.0})


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))


def body(slices: int = 3, size: int = 96) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """An off-centre body with an off-centre organ: nothing in it survives a flip or a transpose."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    hu = np.full((slices, size, size), -1000, np.int16)
    hu[:, ((rows - 0.06) / 0.3) ** 2 + ((columns - 0.05) / 0.4) ** 2 < 1] = 30
    organ = ((rows + 0.1) / 0.1) ** 2 + ((columns + 0.12) / 0.17) ** 2 < 1
    hu[:, organ] = 110
    labels = np.zeros(hu.shape, np.uint8)
    labels[:, organ] = 1
    labels[:, size // 2 - 8 : size // 2 - 4, size // 3 : size // 3 + 6] = 2
    return hu + np.arange(slices, dtype=np.int16)[:, None, None], labels


def simulate(config: SimulationConfig, **changes: Any) -> dict[str, NDArray[Any]]:
    hu, labels = body()
    arguments = {"hu": hu, "labels": labels, "spacing_mm": (3.0, 3.0), "patient": "p1"}
    return simulate_slices(**{**arguments, "slice_indices": range(3), "config": config, **changes})


def test_columns_shapes_and_types() -> None:
    columns = simulate(TINY)
    expected = {
        PATIENT: ((3,), "U"),
        SLICE_INDEX: ((3,), "i"),
        FULL_DOSE: ((3, 64, 64), "f"),
        FBP: ((3, 64, 64), "f"),
        LABELS: ((3, 64, 64), "u"),
        PHOTONS_PER_RAY: ((3,), "f"),
        PIXEL_SPACING_MM: ((3,), "f"),
        SINOGRAM: ((3, 100, 91), "f"),
    }
    assert {name: (value.shape, value.dtype.kind) for name, value in columns.items()} == expected
    assert columns[FULL_DOSE].dtype == columns[SINOGRAM].dtype == np.float32
    assert 0 <= columns[FULL_DOSE].min() <= columns[FULL_DOSE].max() <= 1
    assert SINOGRAM not in simulate(TINY.model_copy(update={"store_sinogram": False}))


def test_guard_equals_resizing_with_scikit_image_and_projecting_with_odl() -> None:
    scan = PRESETS["tiny"]
    image = np.random.default_rng(0).random(scan.image_shape).astype(np.float32)
    half_detector = scan.num_bins * scan.bin_spacing_mm / 2000
    space = odl.uniform_discr([-0.13] * 2, [0.13] * 2, (1000, 1000), dtype="float32")
    odl_scan = odl.applications.tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, scan.num_angles),
        odl.uniform_partition(-half_detector, half_detector, scan.num_bins),
    )
    operator = odl.applications.tomo.RayTransform(space, odl_scan, impl="astra_cpu")
    expected = np.array(operator(space.element(resize(image, (1000, 1000), order=1))).data)
    actual = project_guarded(scan, torch.from_numpy(image)[None])[0].numpy()
    assert np.linalg.norm(actual - expected) < 1e-4 * np.linalg.norm(expected)


def test_guard_without_symmetry_gives_the_same() -> None:
    scan = PRESETS["tiny"]
    image = torch.rand(1, 64, 64)
    symmetric = project_guarded(scan, image)
    few = dataclasses.replace(scan, num_angles=3, angles_rad=tuple(scan.angles[[7, 30, 80]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asymmetric = project_guarded(few, image)
    assert (asymmetric - symmetric[:, [7, 30, 80]]).norm() < 1e-4 * asymmetric.norm()


def test_crop_of_512_pixels_is_lodopabs_central_362() -> None:
    hu = np.random.default_rng(1).integers(-1000, 1500, (1, 512, 512)).astype(np.int16)
    config = SimulationConfig(
        preset="lodopab", field_of_view="crop", dequantisation_noise=False, inverse_crime_guard=False
    )
    from taskct_core.geometry.field_of_view import field_of_view

    view = field_of_view("crop", hu.shape[1:], (0.7, 0.7), geometry_of(config))
    np.testing.assert_array_equal(view.image(hu[0].astype(float)), hu[0, 75:-75, 75:-75])
    labels = np.random.default_rng(2).integers(0, 3, (512, 512)).astype(np.uint8)
    np.testing.assert_array_equal(view.labels(labels), labels[75:-75, 75:-75])


def test_full_dose_is_the_normalised_attenuation_of_the_resampled_slice() -> None:
    hu = np.full((1, 64, 64), -1000, np.int16)
    hu[0, 10:20, 30:50] = 60
    columns = simulate(
        TINY.model_copy(update={"dequantisation_noise": False}),
        hu=hu,
        labels=np.zeros(hu.shape, np.uint8),
        slice_indices=[0],
    )
    np.testing.assert_allclose(columns[FULL_DOSE][0], hu_to_mu(hu[0].astype(float)) / MU_MAX, rtol=1e-6)


@pytest.mark.parametrize("policy", ["scanner", "crop", "resize", "true_size"])
def test_noise_free_sinogram_is_the_ray_transform_of_the_full_dose_image(policy: str) -> None:
    config = SCANNER if policy == "scanner" else TINY.model_copy(update={"field_of_view": policy})
    config = config.model_copy(update={"photons_per_ray": 1e12, "inverse_crime_guard": False})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = simulate(config)
    projected = RayTransform(geometry_of(config))(torch.from_numpy(columns[FULL_DOSE])[:, None])[:, 0]
    np.testing.assert_allclose(columns[SINOGRAM], projected, atol=1e-6)


def test_fbp_column_is_the_fbp_of_the_sinogram_column_and_lies_on_the_labels() -> None:
    config = TINY.model_copy(update={"photons_per_ray": 1e6, "fbp_filter": "cosine"})
    columns = simulate(config)
    transform = RayTransform(geometry_of(config))
    fbp = transform.fbp(torch.from_numpy(columns[SINOGRAM])[:, None], "cosine")[:, 0]
    np.testing.assert_allclose(columns[FBP], fbp, atol=1e-6)
    error = np.abs(columns[FBP] - columns[FULL_DOSE]).mean()
    for wrong in (np.swapaxes(columns[FBP], 1, 2), columns[FBP][:, ::-1], columns[FBP][:, :, ::-1]):
        assert error < 0.5 * np.abs(wrong - columns[FULL_DOSE]).mean()
    liver = columns[LABELS] >= 1
    assert columns[FBP][liver].mean() == pytest.approx(columns[FULL_DOSE][liver].mean(), rel=0.02)


def test_true_size_sees_fewer_photons_through_a_wider_body() -> None:
    resized, real = (
        simulate(TINY.model_copy(update={"field_of_view": policy, "photons_per_ray": 1e4}))
        for policy in ("resize", "true_size")
    )
    np.testing.assert_array_equal(resized[FULL_DOSE], real[FULL_DOSE])
    assert real[PIXEL_SPACING_MM][0] == pytest.approx(96 * 3.0 / 64)
    assert resized[PIXEL_SPACING_MM][0] == pytest.approx(260 / 64)
    errors = [np.abs(columns[FBP] - columns[FULL_DOSE]).mean() for columns in (resized, real)]
    assert errors[1] > 1.02 * errors[0]


def test_the_scanner_shows_every_patient_in_true_millimetres_about_the_body() -> None:
    """The same disc of 160 mm in slices of other size, pixels and place is the same image."""
    images = []
    for size, spacing, centre in ((96, 3.0, (10, -6)), (200, 1.5, (0, 0)), (128, 2.0, (-20, 9))):
        rows, columns = (np.indices((size, size)) - (size - 1) / 2) * spacing
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 80**2
        hu = np.where(inside, 0, -1000).astype(np.int16)[None]
        labels = inside[None].astype(np.uint8)
        body = body_box(hu, (spacing, spacing))
        assert body is not None
        assert np.abs(np.subtract(body.centre_mm, centre)).max() <= COARSE_MM / 2
        body = BodyBox(*((mm - 80.0, mm + 80.0) for mm in centre))  # but for the coarse grid
        images.append(
            simulate(
                SCANNER, hu=hu, labels=labels, spacing_mm=(spacing, spacing), slice_indices=[0], body=body
            )
        )
    area = np.pi * 80**2 / (300 / 64) ** 2
    for columns in images:
        assert columns[PIXEL_SPACING_MM][0] == pytest.approx(300 / 64)
        assert columns[LABELS].sum() == pytest.approx(area, rel=0.02)
        np.testing.assert_allclose(columns[FULL_DOSE], images[0][FULL_DOSE], atol=0.1)
        assert np.abs(columns[FULL_DOSE] - images[0][FULL_DOSE]).mean() < 2e-3
    longest = RayTransform(geometry_of(SCANNER))(torch.from_numpy(images[0][FULL_DOSE])[:, None]).max()
    assert float(longest) * MU_MAX == pytest.approx(20 * 0.16, rel=0.02)  # 160 mm of water


def test_a_scanner_without_a_field_of_view_is_refused() -> None:
    with pytest.raises(ConfigError, match="field_of_view_mm"):
        simulate(SimulationConfig(preset="tiny"))


def test_anisotropic_pixels_keep_their_proportions() -> None:
    """A disc in mm on 1 x 2 mm pixels must come out round."""
    rows, columns = np.mgrid[:128, :64]
    inside = (rows - 63.5) ** 2 + ((columns - 31.5) * 2) ** 2 < 40**2
    hu = np.where(inside, 0, -1000).astype(np.int16)[None]
    image = simulate(
        TINY, hu=hu, labels=inside[None].astype(np.uint8), spacing_mm=(1.0, 2.0), slice_indices=[0]
    )
    mask = image[FULL_DOSE][0] > 0.12
    assert abs(np.ptp(np.nonzero(mask)[0]) - np.ptp(np.nonzero(mask)[1])) <= 1
    assert (mask == (image[LABELS][0] == 1)).mean() > 0.97


def test_results_do_not_depend_on_batch_order_or_threads() -> None:
    hu, labels = body(slices=6)
    together = simulate(TINY, hu=hu, labels=labels, slice_indices=range(6))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        backwards = [
            simulate(TINY, hu=hu[[i]], labels=labels[[i]], slice_indices=[i]) for i in reversed(range(6))
        ]
    finally:
        torch.set_num_threads(threads)
    for name, values in together.items():
        alone = np.concatenate([columns[name] for columns in reversed(backwards)])
        assert values.tobytes() == alone.tobytes(), name


@pytest.mark.parametrize(
    "change",
    [{"config": TINY.model_copy(update={"seed": 1})}, {"patient": "p2"}, {"slice_indices": [3, 4, 5]}],
)
def test_every_slice_has_noise_of_its_own(change: dict[str, Any]) -> None:
    first, second = simulate(TINY), simulate(**{"config": TINY, **change})
    noise = [
        columns[SINOGRAM][0]
        - RayTransform(PRESETS["tiny"])(torch.from_numpy(columns[FULL_DOSE][:1, None]))[0, 0].numpy()
        for columns in (first, second)
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2
    hu, _ = body(1)
    same = simulate(TINY, hu=hu.repeat(2, 0), labels=np.zeros((2, 96, 96), np.uint8), slice_indices=[0, 1])
    assert not np.array_equal(same[SINOGRAM][0], same[SINOGRAM][1])


def test_photons_are_drawn_from_the_range() -> None:
    hu, labels = body(slices=40)
    config = TINY.model_copy(update={"photons_per_ray": (100.0, 10_000.0), "inverse_crime_guard": False})
    photons = simulate(config, hu=hu, labels=labels, slice_indices=range(40))[PHOTONS_PER_RAY]
    assert 100 <= photons.min() < 400
    assert 2500 < photons.max() <= 10_000


def test_a_cut_body_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="p1: the field of view cuts the body in 3 of 3 slices.*scanner"):
        simulate(TINY.model_copy(update={"field_of_view": "crop"}))
    cut = {"hu": body(slices=3)[0][:, 30:66, 30:66], "labels": np.zeros((3, 36, 36), np.uint8)}
    for policy in ("resize", "true_size"):  # these take the whole slice already: no setting gives more
        with pytest.warns(UserWarning, match="The scan's own slices end there, so no setting brings it back"):
            simulate(TINY.model_copy(update={"field_of_view": policy}), **cut)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(TINY)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hu": np.full((3, 96, 96), np.nan, np.float32)}, "finite"),
        ({"hu": np.full((3, 96, 96), 1e6, np.float32)}, "HU must"),
        ({"hu": np.full((3, 96, 96), -9000, np.int16)}, "rescale"),
        ({"hu": np.zeros((96, 96), np.int16)}, "slice, height, width"),
        ({"hu": np.zeros((3, 95, 96), np.int16)}, "slice, height, width"),
        ({"hu": np.zeros((3, 96, 96), np.complex64)}, "real numbers"),
        ({"labels": np.zeros((3, 96, 96), np.float32)}, "uint8"),
        ({"slice_indices": [1]}, "1 indices"),
        ({"spacing_mm": (0.0, 1.0)}, "positive"),
    ],
)
def test_bad_slices_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        simulate(TINY, **change)


@pytest.mark.parametrize(
    "values",
    [
        {"photons_per_ray": 0},
        {"photons_per_ray": [500, 100]},
        {"zero_count_replacement": 2},
        {"num_angles": 0},
        {"preset": "huge"},
        {"field_of_view_mm": 300, "field_of_view": "crop"},
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        SimulationConfig.parse(values)
