"""Several seeds of the ablation as one table: what each way changes from the control of the same seed.

    python benchmarks/real_ct/ablation_summary.py benchmarks/results/real_ct_ablation_seed{0,1,2}-DATE.json

Of each split the control's scores, and of every way the mean change over the seeds with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import mean
from typing import Any

from taskct_core import schema

CONTROL = "control"  # the way of ablation.py that has no task loss
LIVER, TUMOUR = "dice_liver_patient_monai", "dice_tumour_patient_monai"
COLUMNS = {
    "PSNR [dB]": schema.PRIMARY_PSNR,
    "liver": LIVER,
    "liver, second judge": LIVER + schema.AUDIT_NETWORK_SUFFIX,
    "tumour": TUMOUR,
    "tumour, second judge": TUMOUR + schema.AUDIT_NETWORK_SUFFIX,
    "false tumours a slice": "tumour_false_positives",
}
DIGITS = {schema.PRIMARY_PSNR: 2, "tumour_false_positives": 1}
Record = dict[str, Any]


def table(records: list[Record], split: str) -> str:
    """The ways that every record has, as a Markdown table."""
    ways = [name for name in records[0]["ways"] if all(name in one["ways"] for one in records)]
    lines = [f"| {split} | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    lines.append(_line("full dose", [_of_reference(records, split, name) for name in COLUMNS.values()]))
    lines.append(_line(CONTROL, [_of_control(records, split, name) for name in COLUMNS.values()]))
    lines += [
        _line(way, [_change(records, split, way, name) for name in COLUMNS.values()])
        for way in ways
        if way != CONTROL
    ]
    return "\n".join(lines)


def _line(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _of_reference(records: list[Record], split: str, column: str) -> str:
    value = records[0]["references"][schema.FULL_DOSE][split].get(column, math.nan)
    return f"{value:.{DIGITS.get(column, 3)}f}" if math.isfinite(value) else ""


def _of_control(records: list[Record], split: str, column: str) -> str:
    values = [one["ways"][CONTROL][split][column] for one in records]
    return _with_range(values, column, "")


def _change(records: list[Record], split: str, way: str, column: str) -> str:
    changes = [one["ways"][way][split][column] - one["ways"][CONTROL][split][column] for one in records]
    return _with_range(changes, column, "+")


def _with_range(values: list[float], column: str, sign: str) -> str:
    digits = DIGITS.get(column, 3)
    shown = f"{mean(values):{sign}.{digits}f}"
    if len(values) == 1:
        return shown
    return f"{shown} ({min(values):{sign}.{digits}f} to {max(values):{sign}.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, nargs="+", help="of one seed each, by ablation.py --json")
    options = parser.parse_args()
    records = [json.loads(path.read_text()) for path in options.records]
    for split in ("test", "validation"):
        print(table(records, split), end="\n\n")


if __name__ == "__main__":
    main()
