"""A study and its conductor, called plainly: no executor, no command line, no Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lookup_trainable import SPACE, row_at
from studies import EPOCHS

from study.search.conductor import Conductor
from study.search.config import SamplerConfig
from study.search.events import Event
from study.search.judgement import Judge
from study.search.pruners.pruner import Pruner
from study.search.samplers import make_sampler
from study.search.space import SearchSpace
from study.search.storage.opening import begin_study, open_study
from study.search.storage.records import TrialRecord, read_records
from study.search.trial_state import Proposal, Rules
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import StudyError
from taskct_core.schema import EPOCH, PRIMARY_DICE, PRIMARY_PSNR

JUDGE = Judge([PRIMARY_DICE, PRIMARY_PSNR], {})


class StopAt:
    """A pruner that gives one trial up at one epoch, and remembers what it was shown."""

    def __init__(self, trial: int = -1, epoch: int = -1) -> None:
        self.stop, self.seen = (trial, epoch), list[tuple[int, int]]()

    def observe(self, trial: int, row: Any) -> None:
        self.seen.append((trial, row[EPOCH]))

    def reason_to_stop(self, trial: int, row: Any) -> str | None:
        self.observe(trial, row)
        return "not good enough" if (trial, row[EPOCH]) == self.stop else None


class Search:
    """A study in a folder, and the conductor that a driver made for it."""

    def __init__(
        self, folder: Path, pruner: Pruner | None = None, make_pruner: Any = None, **rules: Any
    ) -> None:
        self.folder = StudyFolder(folder)
        folder.mkdir(exist_ok=True)
        if not self.folder.storage.exists():
            begin_study(folder, None, ["maximize", "maximize"])
        self.events: list[Event] = []
        self.lock_is_lost = False
        self.now = 0.0
        self.study = open_study(folder, writable=True)
        self.study.sampler = make_sampler(SamplerConfig(name="random"), SearchSpace.parse(SPACE), 0)
        defaults = {"trials": 3, "epochs": EPOCHS, "max_retries": 2}
        self.conductor = Conductor(
            self.study,
            self.folder,
            SearchSpace.parse(SPACE),
            Rules(JUDGE, **{**defaults, **rules}),
            pruner,
            check_lock=self.check_lock,
            on_event=self.events.append,
            make_pruner=make_pruner,
            clock=lambda: self.now,
        )

    def check_lock(self) -> None:
        if self.lock_is_lost:
            raise StudyError("a study must have one driver", "another took it over", "Let that one finish.")

    def suggest(self) -> Proposal:
        proposal = self.conductor.suggest()
        assert proposal is not None
        return proposal

    def train(self, proposal: Proposal, last: int = EPOCHS) -> bool:
        """Log and report epochs as a trainable does; whether the trial was left to go on."""
        logged = epoch_log.read(proposal.folder)
        for epoch in range(1, last + 1):
            row = row_at(proposal.values, epoch)
            if epoch > len(logged):
                epoch_log.append(proposal.folder, row)
            if not self.conductor.report(proposal.trial, row):
                return False
        return True

    def run(self) -> list[TrialRecord]:
        while (proposal := self.conductor.suggest()) is not None:
            self.train(proposal)
            self.conductor.complete(proposal.trial)
        return self.records

    @property
    def records(self) -> list[TrialRecord]:
        return read_records(self.study)
