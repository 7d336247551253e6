"""Seconds a slice and peak memory: measured on this machine, and constraints of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lookup_trainable import row_at
from studies import EPOCHS, run_here, study_config

from study.search.config import COSTS
from study.trials.cost import CostMeter
from taskct_core import schema

CPU = torch.device("cpu")
MEGABYTE = 10**6


def test_latency_is_of_one_slice() -> None:
    shown = {schema.PATIENT: ["a", "a", "b", "b"]}
    calls: list[int] = []

    def reconstruct(batch: dict) -> torch.Tensor:
        calls.append(len(batch[schema.PATIENT]))
        return torch.ones(500, 500) @ torch.ones(500, 500)

    columns = CostMeter(CPU, shown).columns(reconstruct)
    assert 0 < columns[schema.SECONDS_PER_SLICE] < 1
    assert set(calls) == {4}
    assert schema.SECONDS_PER_SLICE not in CostMeter(CPU, {}).columns(reconstruct)


def test_peak_memory_is_of_the_trial_and_not_of_those_before() -> None:
    def peak(meter: CostMeter) -> float:
        return float(meter.columns(lambda batch: torch.zeros(0))[schema.PEAK_MEMORY_MB])

    before = peak(CostMeter(CPU, {}))
    meter = CostMeter(CPU, {})
    large = torch.ones(400 * MEGABYTE, dtype=torch.uint8)
    del large
    assert peak(meter) > before + 300
    assert peak(CostMeter(CPU, {})) < before + 200


@pytest.mark.parametrize("column", COSTS)
def test_every_cost_may_be_bounded(column: str) -> None:
    assert study_config(constraints={column: 1.5}).constraints == {column: 1.5}


def test_trials_over_a_bound_are_no_part_of_the_front(tmp_path: Path) -> None:
    summary = run_here(study_config(trials=10, constraints={schema.PARAMETERS: 12_000.0}), tmp_path)
    costs = {r.trial: row_at(r.values, EPOCHS)[schema.PARAMETERS] for r in summary.trials}
    assert {r.trial for r in summary.trials if r.feasible} == {
        t for t, cost in costs.items() if cost <= 12_000
    }
    assert all(record.feasible for record in summary.front)
    assert not all(record.feasible for record in summary.trials)
