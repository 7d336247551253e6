"""Every patient of a source, looked at by several processes, and what only all of them together show."""

from __future__ import annotations

import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from study.inspection.patient_look import PatientLook, look_at
from taskct_core.volumes import Finding, VolumeReference

OnPatient = Callable[[PatientLook], None]


def inspect_source(
    references: Sequence[VolumeReference], on_patient: OnPatient, processes: int | None = None
) -> list[PatientLook]:
    """Look at every patient, in the order given.

    Args:
        on_patient: called as each is done, in any order.
        processes: how many patients are looked at at a time; None: one a processor.
    """
    count = min(processes or os.cpu_count() or 1, len(references))
    if count <= 1:
        looks = {}
        for number, reference in enumerate(references):
            looks[number] = look_at(reference)
            on_patient(looks[number])
    else:
        looks = _in_processes(references, on_patient, count)
    return _compared([looks[number] for number in range(len(references))])


def _in_processes(
    references: Sequence[VolumeReference], on_patient: OnPatient, count: int
) -> dict[int, PatientLook]:
    looks: dict[int, PatientLook] = {}
    # Spawned: a fork would copy the progress bar's thread in whatever state it is.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(look_at, reference): number for number, reference in enumerate(references)}
        for job in as_completed(jobs):
            looks[jobs[job]] = job.result()
            on_patient(looks[jobs[job]])
    return looks


def _compared(looks: list[PatientLook]) -> list[PatientLook]:
    """The looks with warnings of patients who are there twice."""
    looks = _with_twins(
        looks,
        [look.fingerprint for look in looks],
        "each CT is there once",
        "the same voxels as {others}",
        "Leave one of them out, or keep both in one split.",
    )
    return _with_twins(
        looks,
        [look.person or "" for look in looks],
        "each patient is there once",
        "the same PatientID as {others}",
        "They are kept in one split; if the IDs mean nothing, set data.source.trust_patient_id: false.",
    )


def _with_twins(
    looks: list[PatientLook], keys: list[str], rule: str, found: str, next_step: str
) -> list[PatientLook]:
    groups = defaultdict(list)
    for look, key in zip(looks, keys, strict=True):
        groups[key].append(look.patient)
    result = []
    for look, key in zip(looks, keys, strict=True):
        others = [name for name in groups[key] if name != look.patient] if key else []
        named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        finding = Finding("warning", rule, found.format(others=named), next_step)
        result.append(look.with_finding(finding) if others else look)
    return result
