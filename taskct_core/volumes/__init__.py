"""Volumes in: NIfTI of any layout, DICOM series, the built-in phantom or a user's own source, all read as one ``Volume``.

    references = list_patients("lits", "/data/lits")   # cheap: headers only
    volume = read_volume(references[0])

References and volumes pickle, so a Ray task can take a reference and read it where it runs.
"""

from taskct_core.volumes.finding import Finding
from taskct_core.volumes.sources import SOURCE_KINDS, list_patients, read_volume
from taskct_core.volumes.volume import Volume, VolumeReference

__all__ = ["SOURCE_KINDS", "Finding", "Volume", "VolumeReference", "list_patients", "read_volume"]
