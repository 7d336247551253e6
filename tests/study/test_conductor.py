"""The conductor called plainly: proposals, judgement of each epoch once, errors and restarts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from lookup_trainable import row_at
from searches import JUDGE, Search, StopAt
from studies import EPOCHS

from study.search.events import TrialErrored, TrialFinished, TrialStarted
from study.search.storage.opening import open_study
from study.search.storage.records import REASON, RETRIES, read_records
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import StudyError
from taskct_core.schema import COMPLETE, FAIL, KEPT_EPOCH, PRUNED, RUNNING


def test_it_proposes_as_many_trials_as_the_study_shall_have(tmp_path: Path) -> None:
    search = Search(tmp_path)
    assert search.conductor.remaining() == 3 and not search.conductor.is_done
    assert [record.status for record in search.run()] == [COMPLETE] * 3
    assert search.conductor.remaining() == 0 and search.conductor.is_done
    started = [event for event in search.events if isinstance(event, TrialStarted)]
    assert [event.adopted for event in started] == [False] * 3
    last = row_at(search.records[2].values, EPOCHS)
    assert search.records[2].objectives == {name: last[name] for name in JUDGE.objectives}


def test_it_is_not_done_before_the_last_trial_has_ended(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2)
    first, second = search.suggest(), search.suggest()
    assert search.conductor.suggest() is None and not search.conductor.is_done
    search.train(first)
    search.conductor.complete(first.trial)
    assert not search.conductor.is_done
    search.train(second)
    search.conductor.complete(second.trial)
    assert search.conductor.is_done


def test_each_epoch_is_judged_once_however_often_it_is_reported(tmp_path: Path) -> None:
    pruner = StopAt()
    search = Search(tmp_path, pruner, trials=1)
    proposal = search.suggest()
    search.train(proposal, 2)
    search.conductor.fail(proposal.trial, "the trial's process died")
    search.train(proposal)
    assert pruner.seen == [(0, epoch) for epoch in range(1, EPOCHS + 1)]


def test_a_later_driver_adopts_what_it_finds_and_judges_the_last_epoch_only(tmp_path: Path) -> None:
    first = Search(tmp_path)
    whole, half = first.suggest(), first.suggest()
    first.train(whole)
    first.conductor.complete(whole.trial)
    first.train(half, 2)
    pruner = StopAt(half.trial, 2)
    second = Search(tmp_path, pruner)
    assert pruner.seen == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1)]
    adopted = second.suggest()
    assert adopted == half
    assert second.train(adopted) is False
    second.conductor.complete(adopted.trial)
    assert (second.records[1].status, second.records[1].last_epoch) == (PRUNED, 2)


def test_a_trial_is_judged_by_the_epoch_whose_weights_it_keeps(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    proposal = search.suggest()
    for epoch in (1, 2, 3):
        row = row_at(proposal.values, epoch) | {KEPT_EPOCH: min(epoch, 2)}
        epoch_log.append(proposal.folder, row)
        search.conductor.report(0, row)
    search.conductor.complete(0)
    kept = row_at(proposal.values, 2)
    (record,) = search.records
    assert record.objectives == {name: kept[name] for name in JUDGE.objectives} and record.last_epoch == 3


def test_the_last_epoch_is_no_ground_to_stop(tmp_path: Path) -> None:
    search = Search(tmp_path, StopAt(0, EPOCHS), trials=1)
    assert search.run()[0].status == COMPLETE


def test_what_a_pruned_trial_trains_too_much_does_not_count(tmp_path: Path) -> None:
    search = Search(tmp_path, StopAt(0, 2), trials=1)
    proposal = search.suggest()
    for epoch in range(1, EPOCHS + 1):
        epoch_log.append(proposal.folder, row_at(proposal.values, epoch))
    assert search.train(proposal) is False
    assert search.conductor.report(0, row_at(proposal.values, 3)) is False
    search.conductor.fail(0, "stopped in the middle of an epoch")
    search.conductor.complete(0, failed=True)
    (record,) = search.records
    assert (record.status, record.last_epoch, record.reason) == (PRUNED, 2, "not good enough")


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_trial_that_is_given_up_is_proposed_again(tmp_path: Path, deaths: int) -> None:
    expected = [record.values for record in Search(tmp_path / "alone").run()]
    search = Search(tmp_path / "killed")
    for _ in range(deaths):
        proposal = search.suggest()
        search.conductor.fail(proposal.trial, "the trial's process died")
        # The same death, told once more while the trial waits to be started again.
        search.conductor.fail(proposal.trial, "the trial's process died", while_starting=True)
        search.conductor.complete(proposal.trial, failed=True)
    records = search.run()
    assert [record.values for record in records] == expected
    assert [(record.status, record.retries) for record in records] == [
        (COMPLETE, deaths),
        (COMPLETE, 0),
        (COMPLETE, 0),
    ]


def test_a_death_while_starting_counts_if_the_trial_had_come_back(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    proposal = search.suggest()
    search.conductor.fail(0, "died")
    search.train(proposal, 1)
    search.conductor.fail(0, "died", while_starting=True)
    assert search.conductor.retries_left(0) == 0


def test_after_its_last_retry_it_fails_with_the_reason(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2)
    for attempt in range(3):
        proposal = search.suggest()
        assert proposal.trial == 0 and search.conductor.retries_left(0) == 2 - attempt
        search.conductor.fail(0, f"death {attempt}", while_starting=True)
        search.conductor.complete(0, failed=True)
    failed = search.run()[0]
    assert (failed.status, failed.reason, failed.retries) == (FAIL, "death 2", 2)
    assert sum(isinstance(event, TrialErrored) for event in search.events) == 3


def test_errors_are_counted_over_drivers(tmp_path: Path) -> None:
    first = Search(tmp_path, trials=1)
    first.suggest()
    first.conductor.fail(0, "died")
    second = Search(tmp_path, trials=1)
    assert second.conductor.retries_left(0) == 1


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    search.train(search.suggest(), 1)
    search.conductor.fail(0, "the loss is nan", is_fatal=True)
    search.conductor.complete(0)
    (record,) = search.records
    assert (record.status, record.reason, record.retries, record.last_epoch) == (
        FAIL,
        "the loss is nan",
        0,
        1,
    )


def test_a_trial_that_takes_too_long_fails_with_the_reason(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2, trial_timeout=60.0)
    slow, quick = search.suggest(), search.suggest()
    search.now = 1000.0  # of waiting for a node
    search.conductor.started(slow.trial)
    search.train(slow, 2)
    search.now += 30.0
    search.conductor.started(quick.trial)
    search.train(quick)
    search.now += 31.0
    assert search.conductor.overdue() == [slow.trial]
    assert search.conductor.overdue() == []  # it is told once
    search.conductor.fail(slow.trial, "its process was killed")
    search.conductor.complete(slow.trial, failed=True)
    search.conductor.complete(quick.trial)
    assert [record.status for record in search.records] == [FAIL, COMPLETE]
    assert "study.trial_timeout = 60 s" in str(search.records[0].reason)
    assert (search.records[0].last_epoch, search.records[0].retries) == (2, 0)


def test_a_new_attempt_has_its_own_time(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1, trial_timeout=60.0)
    for _ in range(2):
        proposal = search.suggest()
        search.conductor.started(proposal.trial)
        search.now += 50.0
        assert search.conductor.overdue() == []
        search.conductor.fail(proposal.trial, "died")
        search.conductor.complete(proposal.trial, failed=True)


def test_when_the_time_is_up_nothing_more_is_proposed(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=3, timeout=100.0)
    search.train(search.suggest())
    search.conductor.complete(0)
    half = search.suggest()
    search.train(half, 2)
    search.now = 100.0
    assert search.conductor.time_is_up and search.conductor.suggest() is None
    assert not search.conductor.is_done and not search.conductor.is_finished
    assert [record.status for record in search.records] == [COMPLETE, RUNNING]
    later = Search(tmp_path, trials=3, timeout=100.0)
    assert [record.status for record in later.run()] == [COMPLETE] * 3
    assert later.conductor.is_finished


def test_a_trial_that_could_not_be_ended_is_ended_when_asked_again(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    search.train(search.suggest())
    search.folder.journal.rename(tmp_path / "away")
    search.folder.journal.symlink_to("/dev/full")
    with pytest.raises(StudyError, match="by its study's driver alone"):
        search.conductor.complete(0)
    search.folder.journal.unlink()
    (tmp_path / "away").rename(search.folder.journal)
    search.conductor.complete(0)
    assert search.records[0].status == COMPLETE
    assert sum(isinstance(event, TrialFinished) for event in search.events) == 1


def test_a_driver_without_its_lock_proposes_and_ends_nothing(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2)
    search.train(search.suggest())
    search.lock_is_lost = True
    for write in (search.conductor.suggest, lambda: search.conductor.complete(0)):
        with pytest.raises(StudyError, match="one driver"):
            write()
    assert [record.status for record in search.records] == [RUNNING]


def test_the_search_knows_no_ray_outside_its_tune_folder() -> None:
    code = "import sys, study.run, study.search.tune; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_reason_of_a_failure_tells_no_password(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    search.train(search.suggest(), 1)
    search.conductor.fail(0, "no answer from postgresql://anna:s3cr3t@db/s", is_fatal=True)
    search.conductor.complete(0)
    (record,) = search.records
    assert record.reason == "no answer from postgresql://anna:***@db/s"
    assert b"s3cr3t" not in StudyFolder(tmp_path).journal.read_bytes()


def test_what_a_driver_said_of_a_trial_before_it_died_does_not_stay(tmp_path: Path) -> None:
    search = Search(tmp_path)
    proposal = search.conductor.suggest()
    assert proposal is not None
    trial = optuna.Trial(search.study, proposal.trial)
    trial.set_user_attr(REASON, "its time is up")
    trial.set_user_attr(RETRIES, 2)
    row = row_at(proposal.values, 1)
    JUDGE.tell(trial, [row], JUDGE.outcome([row], pruned=None, error=None), retries=0)
    (record,) = read_records(open_study(tmp_path))
    assert (record.status, record.reason, record.retries, record.last_epoch) == (COMPLETE, None, 0, 1)
