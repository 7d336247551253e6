"""The ray transform: ``RayTransform`` and what carries it out."""

from taskct_core.projection.transform import RayTransform

__all__ = ["RayTransform"]
