"""What a trial costs does not grow with its study: what has ended is looked at once, models see a bounded history."""

from __future__ import annotations

import cProfile
import math
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookup_trainable import DIRECTIONS, SPACE, row_at
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from studies import InThisProcess, study_config

from study.search.conductor import Conductor
from study.search.duplicates import Twins
from study.search.judgement import Judge
from study.search.pruners import make_pruner
from study.search.pruners.median import MINIMUM_TRIALS, MedianRule
from study.search.pruners.pareto_asha import Rung
from study.search.samplers import make_sampler
from study.search.samplers.bounded import BoundedHistory
from study.search.samplers.factories import TPE_HISTORY
from study.search.samplers.seen_study import with_past
from study.search.space import SearchSpace
from study.search.storage.following import FollowedTrials
from study.search.storage.journal import open_journal
from study.search.storage.records import (
    DUPLICATE_OF,
    FIXED,
    OBJECTIVES,
    VALUES,
    FollowedRecords,
    best_records,
)
from study.search.trial_state import Rules
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import EPOCH, PRIMARY_DICE, PRIMARY_PSNR

TWO = [PRIMARY_DICE, PRIMARY_PSNR]
X = {"x": FloatDistribution(0, 1)}


def ended(x: float, values: list[float] | None = None, **settings: Any) -> FrozenTrial:
    state = TrialState.COMPLETE if values else TrialState.PRUNED
    return create_trial(state=state, params={"x": x}, distributions=X, values=values, **settings)


def two_way_study(seed: int, trials: int) -> optuna.Study:
    """Some pruned, some failed, some over a bound, ties among them; they end in another order than they begin."""
    draw = np.random.default_rng(seed)
    study = optuna.create_study(directions=["maximize", "minimize"])
    begun = [study.ask(X) for _ in range(trials)]
    for number in draw.permutation(trials):
        values = [float(value) for value in draw.integers(0, 8, 2)]
        begun[number].set_user_attr(OBJECTIVES, dict(zip(TWO, values, strict=True)))
        if draw.random() < 0.2:
            study.tell(begun[number], state=(TrialState.PRUNED, TrialState.FAIL)[int(draw.integers(2))])
            continue
        begun[number].set_constraint("size", float(draw.choice([-1, -1, 1])))
        study.tell(begun[number], values)
    return study


@pytest.mark.parametrize("seed", range(3))
def test_the_front_that_is_kept_is_optunas(seed: int) -> None:
    study = two_way_study(seed, 40)
    assert [r.trial for r in best_records(study)] == sorted(t.number for t in study.best_trials)
    assert len(study.best_trials) > 1


def test_records_are_told_of_once() -> None:
    study = optuna.create_study(directions=["maximize"] * 2)
    records = FollowedRecords(study)
    first, second = study.ask(X), study.ask(X)
    assert records.look() == [] and [r.trial for r in records.open()] == [0, 1]
    study.tell(second, [1.0, 1.0])
    assert [r.trial for r in records.look()] == [1] and [r.trial for r in records.open()] == [0]
    study.enqueue_trial({"x": 0.5})
    study.tell(first, state=TrialState.FAIL)
    assert [r.trial for r in records.look()] == [0] and records.look() == []
    assert [r.status for r in records.open()] == ["WAITING"]
    assert [r.trial for r in records.front()] == [1]


def test_of_a_journal_only_open_and_new_trials_are_read(tmp_path: Path) -> None:
    draw, journal = np.random.default_rng(0), open_journal(tmp_path / "journal.log")
    study = optuna.create_study(directions=["maximize"] * 2, storage=journal)
    study.add_trial(ended(0.5, [1.0, 1.0]))
    other = ended(0.1, [0.0, 0.0])
    other.number = -1
    followed, with_others = FollowedTrials(study), FollowedTrials(with_past(study, [other]))
    followed.look(), with_others.look()
    running: list[optuna.Trial] = []
    for _ in range(30):
        if running and draw.random() < 0.5:
            study.tell(running.pop(int(draw.integers(len(running)))), state=TrialState.PRUNED)
        else:
            running += [study.ask(X) for _ in range(int(draw.integers(1, 3)))]
        with mock.patch.object(journal, "get_all_trials", side_effect=AssertionError("reads every trial")):
            followed.look(), with_others.look()
        assert followed.all == study.get_trials()
        assert with_others.all == [other, *study.get_trials()]
        assert [followed.all[place].number for place in followed.open] == sorted(t.number for t in running)


POINTS = st.lists(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan]), min_size=2, max_size=2), min_size=1, max_size=25
)


@given(POINTS)
def test_a_rung_counts_who_dominates_whom(points: list[list[float]]) -> None:
    rung = Rung(2)
    for trial, point in enumerate(points):
        rung.add(trial, np.array(point))
    known = [[-math.inf] * 2 if any(map(math.isnan, point)) else point for point in points]
    by = [
        sum(other != point and all(o >= p for o, p in zip(other, point, strict=True)) for other in known)
        for point in known
    ]
    for trial, count in enumerate(by):
        assert rung.better_than(trial) == sum(other < count for other in by)


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_medians_that_are_kept_are_those_of_the_curves(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rule = MedianRule("score", "maximize", grace_epochs=1)
    curves: dict[int, dict[int, float]] = {}
    for trial in range(8):  # some report every other epoch alone, and none before their first
        for epoch in range(int(draw.integers(1, 3)), 9, int(draw.integers(1, 3))):
            curve = curves.setdefault(trial, {})
            curve[epoch] = float(draw.integers(0, 4))
            stops = rule.reason_to_stop(trial, {EPOCH: epoch, "score": curve[epoch]}) is not None
            means = [
                np.mean([value for at, value in other.items() if at <= epoch])
                for number, other in curves.items()
                if number != trial and min(other) <= epoch <= max(other)
            ]
            enough = len(means) >= MINIMUM_TRIALS
            assert stops == (enough and max(curve.values()) < float(np.median(means)))


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_twins_are_those_that_a_look_at_all_trials_finds(seed: int) -> None:
    draw, twins = np.random.default_rng(seed), Twins()
    trials: list[FrozenTrial] = []
    for number in range(40):
        values = {"alpha": float(draw.integers(0, 12)), "architecture_parameters": {"width": 8}}
        fixed: dict[str, Any] = {FIXED: {}} if draw.random() < 0.1 else {}
        trials.append(ended(0.5, user_attrs={VALUES: values}, system_attrs=fixed))
        twin = twins.of(number, trials)
        assert twin == twin_by_definition(number, trials)
        if twin is not None:
            trials[number].user_attrs[DUPLICATE_OF] = twin
        elif draw.random() < 0.1:
            trials[number].state = TrialState.FAIL


def twin_by_definition(number: int, trials: list[FrozenTrial]) -> int | None:
    before = trials[:number]
    run = [
        other
        for other, t in enumerate(before)
        if DUPLICATE_OF not in t.user_attrs and t.state != TrialState.FAIL
    ]
    same = [other for other in run if trials[other].user_attrs == trials[number].user_attrs]
    drawn = [repr(trials[other].user_attrs) for other in run if FIXED not in trials[other].system_attrs]
    in_a_row = len(before) >= 5 and all(DUPLICATE_OF in trial.user_attrs for trial in before[-5:])
    if not same or FIXED in trials[number].system_attrs or in_a_row or len(set(drawn)) < len(drawn):
        return None
    return same[0]


LIMIT = 12


def shown(study: optuna.Study, history: BoundedHistory) -> list[int]:
    """What the history shows to the next proposal, which fails."""
    trial = study.ask()
    seen = history.of(study, study.trials[trial.number]).get_trials(deepcopy=False)
    study.tell(trial, state=TrialState.FAIL)
    return [other.number for other in seen if other.number != trial.number]


def test_a_bounded_history_keeps_the_best_the_latest_and_some_of_the_rest() -> None:
    study = optuna.create_study(directions=["maximize", "maximize"])
    history = BoundedHistory(LIMIT)
    for number in range(8 * LIMIT):
        best = number in (7, 20, 41)
        study.add_trial(ended(0.5, [number / 1000 + 10 * best, -number / 1000 + 10 * best]))
        followed = shown(study, history) if number % 5 == 0 else []
        assert len(followed) <= 2 * LIMIT + 1
    seen = shown(study, history)
    ended_well = [t.number for t in study.trials if t.state == TrialState.COMPLETE]
    assert {ended_well[7], ended_well[20], ended_well[41]} <= set(seen)
    assert set(ended_well[-LIMIT // 3 :]) <= set(seen)
    assert len(seen) > LIMIT // 2
    # Whoever opens the study now sees the same part of it.
    assert shown(study, BoundedHistory(LIMIT)) == shown(study, history)


def conductor_after(trials: int, folder: Path, sampler: str, pruner: str) -> Conductor:
    """Of a study in which so many trials have ended already."""
    space, draw = SearchSpace.parse(SPACE), np.random.default_rng(0)
    study = optuna.create_study(directions=["maximize", "maximize"])
    config = study_config(sampler={"name": sampler}, pruner={"name": pruner, "reduction_factor": 2})
    study.sampler = make_sampler(config.sampler, space, 0)
    kinds = {
        "alpha": FloatDistribution(0, 1),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "architecture": CategoricalDistribution(["unet", "lookup:other"]),
    }
    watch = make_pruner(config, DIRECTIONS)
    for number in range(trials):
        params = {"alpha": draw.random(), "learning_rate": 1e-3, "architecture": "unet"}
        row = row_at(params, 1)
        values = [row[name] for name in TWO]
        told = {VALUES: params, OBJECTIVES: dict(zip(TWO, values, strict=True))}
        study.add_trial(create_trial(params=params, distributions=kinds, values=values, user_attrs=told))
        watch.observe(number, row)
    return Conductor(
        study, StudyFolder(folder), space, Rules(Judge(TWO, {}), trials=trials + 1 + MEASURED), watch
    )


def run_one(conductor: Conductor) -> None:
    proposal = conductor.suggest()
    assert proposal is not None
    for row in InThisProcess().rows(proposal):
        if not conductor.report(proposal.trial, row):
            break
    conductor.complete(proposal.trial)


MEASURED = 6  # trials: some are pruned earlier, and TPE draws some in one way and some in another


def fewest_calls(conductor: Conductor) -> int:
    """Of functions, in which a trial is proposed, run and judged, once the conductor has seen the study."""
    run_one(conductor)
    counts = []
    for _ in range(MEASURED):
        profile = cProfile.Profile()
        profile.runcall(run_one, conductor)
        counts.append(sum(entry.callcount for entry in profile.getstats()))
    return min(counts)


@pytest.mark.parametrize(
    ("sampler", "pruner", "allowed"),
    [
        ("tpe", "pareto_asha", 1.5),  # what ranking the trials that it sees takes depends on their values
        ("random", "median", 1.1),
        ("qmc", "asha", 1.1),
        ("grid", "none", 1.1),
    ],
)
def test_a_trial_of_a_long_study_takes_as_many_calls_as_an_early_one(
    tmp_path: Path, sampler: str, pruner: str, allowed: float
) -> None:
    early = 2 * TPE_HISTORY - 2 * MEASURED  # TPE sees equally many then and later
    late = early + 2 * (TPE_HISTORY + 1)
    first = fewest_calls(conductor_after(early, tmp_path / "early", sampler, pruner))
    last = fewest_calls(conductor_after(late, tmp_path / "late", sampler, pruner))
    assert last < allowed * first
