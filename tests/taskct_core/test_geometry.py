"""Geometries: presets, round trips and what they refuse."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from taskct_core.errors import ConfigError
from taskct_core.geometry import PRESETS, FanBeam, ParallelBeam, geometry_from_dict


def test_lodopab_preset_has_the_published_numbers() -> None:
    scan = PRESETS["lodopab"]
    assert (scan.image_shape, scan.num_bins, scan.num_angles) == ((362, 362), 513, 1000)
    assert scan.pixel_spacing_mm * 362 == pytest.approx(260)
    assert scan.bin_spacing_mm * 513 / 2 == pytest.approx(183.84776)
    np.testing.assert_allclose(scan.angles, (np.arange(1000) + 0.5) * np.pi / 1000)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_symmetric_and_see_the_whole_image(name: str) -> None:
    scan = PRESETS[name]
    assert scan.num_angles % 4 == 0
    diagonal = scan.pixel_spacing_mm * np.hypot(*scan.image_shape)
    assert scan.num_bins * scan.bin_spacing_mm >= diagonal * (1 - 1e-6)
    assert scan.num_angles >= np.pi / 2 * scan.image_shape[0] * 0.99


@pytest.mark.parametrize("angles_rad", [None, (0.1, 0.2, 0.7)])
def test_parallel_beam_survives_json_and_pickle(angles_rad: tuple[float, ...] | None) -> None:
    scan = dataclasses.replace(PRESETS["tiny"], num_angles=3, angles_rad=angles_rad)
    assert ParallelBeam.from_dict(json.loads(json.dumps(scan.to_dict()))) == scan
    assert pickle.loads(pickle.dumps(scan)) == scan
    assert hash(ParallelBeam.from_dict(json.loads(json.dumps(scan.to_dict())))) == hash(scan)


def test_fan_beam_survives_json() -> None:
    fan = FanBeam(
        image_shape=(8, 9),
        pixel_spacing_mm=1.0,
        num_bins=20,
        bin_spacing_mm=1.5,
        num_angles=12,
        source_radius_mm=50,
        detector_radius_mm=30,
    )
    assert FanBeam.from_dict(json.loads(json.dumps(fan.to_dict()))) == fan
    with pytest.raises(ConfigError, match="kind must be ParallelBeam"):
        ParallelBeam.from_dict(fan.to_dict())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_shape", (0, 4)),
        ("image_shape", (4, 4, 4)),
        ("pixel_spacing_mm", float("nan")),
        ("bin_spacing_mm", -1.0),
        ("num_bins", 0),
        ("num_angles", 2.5),
        ("angles_rad", (0.0, 1.0)),
        ("angles_rad", (float("inf"),) * 100),
        ("angles_rad", ("a",) * 100),
        ("angles_rad", ([],) * 100),
        ("angles_rad", (10**400,) * 100),
        ("pixel_spacing_mm", 10**400),
        ("bin_spacing_mm", "wide"),
    ],
)
def test_invalid_geometry_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(PRESETS["tiny"], **{field: value})


def test_unknown_key_in_a_dict_is_refused() -> None:
    with pytest.raises(ConfigError, match="curvature"):
        ParallelBeam.from_dict({**PRESETS["tiny"].to_dict(), "curvature": 1})


@pytest.mark.parametrize("kind", ["Helix", [], {"a": 1}, None])
def test_a_kind_that_is_none_is_told(kind: object) -> None:
    with pytest.raises(ConfigError, match="kind must be one of ParallelBeam"):
        geometry_from_dict({**PRESETS["tiny"].to_dict(), "kind": kind})
