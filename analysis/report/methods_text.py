"""The methods section: what a paper must say, taken from the study's own records."""

from __future__ import annotations

from typing import Any

from analysis.metric_info import metric_info
from analysis.results_table import CLAIM_SPLIT, ResultsTable
from analysis.tables import shown_metrics
from taskct_core import schema as S


def methods_text(table: ResultsTable) -> list[dict[str, Any]]:
    """Blocks of ``{"title", "items": [(name, text)]}``; what the records do not hold is left out."""
    config = table.study.config
    blocks = [
        (
            "Data and dose",
            _data_and_dose(table.study.dataset, config.get("simulation")),
        ),
        ("Task network", _flat(table.study.task_network)),
        ("Training, where the search sets nothing else", _flat(config.get("trial"))),
        ("Search", _flat(config.get("study"))),
        ("Metrics", {metric_info(name).label: metric_info(name).policy for name in shown_metrics(table)}),
        ("Evaluation", _evaluation(table)),
        ("Provenance", _provenance(table)),
    ]
    return [{"title": title, "items": list(items.items())} for title, items in blocks if items]


def _data_and_dose(dataset: dict[str, Any], simulation: object) -> dict[str, str]:
    facts = {**_flat(simulation, "simulation"), **_flat(dataset)}  # what the dataset records is what was done
    policy = facts.get("simulation.field_of_view")
    if policy in S.FIELD_OF_VIEW_POLICIES:
        facts["simulation.field_of_view"] = f"{policy} ({S.FIELD_OF_VIEW_POLICIES[policy]})"
    return facts


def _evaluation(table: ResultsTable) -> dict[str, str]:
    seen = (
        "not seen by training or search"
        if table.claim_split == CLAIM_SPLIT
        else "the one the search optimises"
    )
    samples = table.samples[table.samples[S.SPLIT] == table.claim_split]
    counted = samples[[S.PATIENT, S.SLICE_INDEX]].drop_duplicates()
    facts = {"split of the scores": f"{table.claim_split} ({seen})"}
    if len(counted):
        patients = counted[S.PATIENT].nunique()
        facts["scored on"] = f"{patients} {'patient' if patients == 1 else 'patients'}, {len(counted)} slices"
    return facts


def _provenance(table: ResultsTable) -> dict[str, str]:
    columns = [
        S.DATA_HASH,
        S.TASK_NETWORK_HASH,
        S.METRIC_POLICY,
        S.GIT_COMMIT,
        S.GIT_CHANGED,
        S.HOST,
        S.DEVICE,
    ]
    columns += [c for c in table.rows if c.startswith(S.VERSION_PREFIX)]
    facts = {}
    for column in columns:
        values = [str(v) for v in table.rows[column].dropna().unique()] if column in table.rows else []
        if values:
            facts[column.replace("_", " ")] = ", ".join(values)
    return facts


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    """Nested records as dotted names and texts."""
    if not isinstance(value, dict):
        return {prefix: _text(value)} if prefix and value is not None else {}
    flat: dict[str, str] = {}
    for key, inner in value.items():
        flat.update(_flat(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _text(value: object) -> str:
    """As a paper would have it: numbers to six digits, lists without brackets, points by their number."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, list):
        return str(value)
    if value and isinstance(value[0], dict):
        return f"{len(value)} points, listed in study.json"
    return ", ".join(map(_text, value)) or "none"
