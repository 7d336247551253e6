"""The scan as numbers: where rays run, and which part of a slice lies in its field. Nothing here imports PyTorch."""

from taskct_core.geometry.scan import (
    LODOPAB_FIELD_MM,
    PRESETS,
    FanBeam,
    FieldOfViewPolicy,
    Geometry,
    OdlScan,
    ParallelBeam,
    geometry_from_dict,
    with_field_of_view,
)

__all__ = [
    "LODOPAB_FIELD_MM",
    "PRESETS",
    "FanBeam",
    "FieldOfViewPolicy",
    "Geometry",
    "OdlScan",
    "ParallelBeam",
    "geometry_from_dict",
    "with_field_of_view",
]
