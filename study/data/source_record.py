"""What a dataset remembers of the files it was made from, and what has changed in them since.

Equal sizes and times mean unchanged files; where they differ, as after a copy, the contents decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from study.data.shards import concurrently
from taskct_core.config import StrictModel
from taskct_core.volumes import VolumeReference

Split = Mapping[str, Sequence[str]]  # split -> its patients


class SourceRecord(StrictModel):
    """One patient's files, as they were when the patient was simulated. Hashes are SHA-256."""

    stamp: str  # of the sizes and times of all files
    image: str  # of the contents of the CT's files
    labels: str  # of the contents of the label files


def record_source(reference: VolumeReference) -> SourceRecord:
    """The record of a patient's files as they are now.

    Raises:
        OSError: if one cannot be read.
    """
    labels = reference.label_files
    image = tuple(file for file in reference.files if file not in labels)
    return SourceRecord(stamp=stamp(reference), image=_content(image), labels=_content(labels))


def stamp(reference: VolumeReference) -> str:
    """A hash of the sizes and times of a patient's files."""
    stats = [file.stat() for file in reference.files]
    times = [(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
    return hashlib.sha256(repr(times).encode()).hexdigest()


def _content(files: tuple[Path, ...]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def current_records(
    references: Mapping[str, VolumeReference], recorded: Mapping[str, SourceRecord]
) -> dict[str, SourceRecord]:
    """The records of patients' files as they are now; only files whose sizes or times differ are read."""

    def current(patient: str) -> SourceRecord:
        known = recorded[patient]
        return known if stamp(references[patient]) == known.stamp else record_source(references[patient])

    patients = [patient for patient in recorded if patient in references]
    return dict(zip(patients, concurrently(current, patients), strict=True))


def moved_patients(made: Split, planned: Split) -> list[str]:
    """Patients that the source gained or lost, or who belong to another split now: one line each."""
    before = {patient: split for split, patients in made.items() for patient in patients}
    now = {patient: split for split, patients in planned.items() for patient in patients}
    lines = []
    for patient in sorted(before.keys() | now.keys()):
        if patient not in now:
            lines.append(f"{patient}: no longer in the source")
        elif patient not in before:
            lines.append(f"{patient}: added, for {now[patient]}")
        elif before[patient] != now[patient]:
            lines.append(f"{patient}: from {before[patient]} to {now[patient]}")
    return lines


def changed_files(
    recorded: Mapping[str, SourceRecord], current: Mapping[str, SourceRecord]
) -> dict[str, str]:
    """Patients whose files have other contents than when they were simulated, and which ones."""
    changes = {}
    for patient, now in current.items():
        parts = [
            f"{what} {getattr(recorded[patient], part)[:8]} -> {getattr(now, part)[:8]}"
            for part, what in (("image", "CT"), ("labels", "labels"))
            if getattr(recorded[patient], part) != getattr(now, part)
        ]
        if parts:
            changes[patient] = f"{patient}: other {' and '.join(parts)}"
    return changes


def newer_files(
    references: Mapping[str, VolumeReference], patients: Sequence[str], seconds: float
) -> dict[str, str]:
    """Of patients without a record, as older datasets have them: those with files changed after ``seconds``."""
    newer = {}
    for patient in patients:
        names = [file.name for file in references[patient].files if file.stat().st_mtime > seconds]
        if names:
            newer[patient] = f"{patient}: {', '.join(names[:2])} newer than the dataset"
    return newer
