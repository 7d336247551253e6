"""The science of task-adaptive low-dose CT: physics, networks, losses, metrics. No cluster needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskct_core.apply.reconstructor import Reconstructor
    from taskct_core.apply.scan import Scan

__all__ = ["load_reconstructor", "open_scan"]


def load_reconstructor(folder: str | Path, trust: bool = False) -> Reconstructor:
    """The trained reconstructor of a finished trial or study; see :mod:`taskct_core.apply`."""
    # Here, as PyTorch takes seconds, which a configuration's check need not.
    from taskct_core.apply.reconstructor import load_reconstructor

    return load_reconstructor(folder, trust)


def open_scan(path: str | Path) -> Scan:
    """A CT of one's own, a NIfTI file or a folder of a DICOM series; see :mod:`taskct_core.apply`."""
    from taskct_core.apply.scan import open_scan

    return open_scan(path)
