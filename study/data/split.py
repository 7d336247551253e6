"""Which patients train, validate and test: decided by patient, never by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from taskct_core.errors import ConfigError
from taskct_core.schema import SPLITS


def split_patients(
    patients: Sequence[str], split: Mapping[str, float | list[str]], seed: int
) -> dict[str, list[str]]:
    """Assign patients to train, validation and test.

    Args:
        patients: all patients of the source.
        split: for each split either its share of the patients (shares are normalised by their sum) or the
            names of its patients (others are left out).
        seed: of the shuffle behind the shares.

    Raises:
        ConfigError: if a named patient does not exist or stands in two splits, if shares are negative or
            all zero, or if a split with a share would be left without a patient.
    """
    names = {name: value for name, value in split.items() if isinstance(value, list)}
    if names:
        return _named(patients, {name: names.get(name, []) for name in SPLITS})
    shares = {name: value for name, value in split.items() if not isinstance(value, list)}
    return _by_share(sorted(patients), {name: shares.get(name, 0.0) for name in SPLITS}, seed)


def _named(patients: Sequence[str], split: dict[str, list[str]]) -> dict[str, list[str]]:
    counts = Counter(patient for names in split.values() for patient in names)
    repeated = sorted(patient for patient, count in counts.items() if count > 1)
    if repeated:
        raise ConfigError(
            "a patient may stand in one split only",
            f"{', '.join(repeated)} named more than once in data.split",
            "Keep each patient in one of train, validation, test.",
        )
    unknown = sorted(set(counts) - set(patients))
    if unknown:
        raise ConfigError(
            "data.split must name patients of the source",
            f"{', '.join(unknown)}; the source has {', '.join(sorted(patients))}",
            "Correct the names.",
        )
    return split


def _by_share(patients: list[str], shares: dict[str, float], seed: int) -> dict[str, list[str]]:
    total = sum(shares.values())
    if total <= 0 or any(share < 0 for share in shares.values()):
        raise ConfigError(
            "shares in data.split must be >= 0 and not all 0", f"{shares}", "Correct the shares."
        )
    wanted = [name for name in SPLITS if shares[name] > 0]
    if len(patients) < len(wanted):
        raise ConfigError(
            "each split with a share needs a patient of its own",
            f"{len(patients)} patients for {', '.join(wanted)}",
            "Add patients, or set a split's share to 0.",
        )
    order = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    # Every wanted split gets one patient; the rest go, one by one, to the split furthest below its share.
    counts = {name: int(name in wanted) for name in SPLITS}
    for _ in range(len(patients) - len(wanted)):
        neediest = max(wanted, key=lambda name: shares[name] / total * len(patients) - counts[name])
        counts[neediest] += 1
    result: dict[str, list[str]] = {}
    start = 0
    for name in SPLITS:
        result[name] = sorted(order[start : start + counts[name]])
        start += counts[name]
    return result
