"""Volumes in: LiTS-style NIfTI, DICOM series and the built-in phantom, all read as one ``Volume``.

    references = list_patients("lits", "/data/lits")   # cheap: headers only
    volume = read_volume(references[0])

References and volumes pickle, so a Ray task can take a reference and read it where it runs.
"""

from taskct_core.volumes.sources import list_patients, read_volume
from taskct_core.volumes.volume import Volume, VolumeReference

__all__ = ["Volume", "VolumeReference", "list_patients", "read_volume"]
