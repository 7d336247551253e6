"""Methods, parameters and settings as people read them."""

from __future__ import annotations

from taskct_core import schema as S

_REFERENCE_NAMES = {"full_dose": "Full dose", "fbp": "FBP", "tv": "TV", "sirt": "SIRT"}


def reference_name(method: str) -> str:
    """``fbp`` -> ``FBP``; other methods as they are."""
    return _REFERENCE_NAMES.get(method, method)


def method_name(method: str) -> str:
    """``task_adaptive`` -> ``task-adaptive``; references by their usual names."""
    return reference_name(method) if method in S.REFERENCES else method.replace("_", "-")


def parameter_name(column: str) -> str:
    """``config_image_loss`` -> ``image loss``."""
    return column.removeprefix(S.CONFIG_PREFIX).replace("_", " ")


def format_value(value: object) -> str:
    """A setting as text: numbers to three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
