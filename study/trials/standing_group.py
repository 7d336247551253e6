"""A Ray Train worker group that trains one trial after another.

Starting a group takes seconds (processes, imports, a process group), a trial in one that stands takes none of them. The
group belongs to the process that Ray Tune keeps warm between trials, its coordinator, and dies with it.

Coordinator and workers talk through a mailbox. The coordinator's orders go to all workers in the same sequence: a trial
to train, or whether to go on after an epoch. The first worker answers: an epoch's row, or that the trial is done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from study.trials.task import TrialTask
from taskct_core.contracts.rows import EpochRow

if TYPE_CHECKING:  # Ray takes seconds to import
    from ray.actor import ActorHandle

Report = Callable[[EpochRow], None]
Work = Callable[[TrialTask, Report], None]  # what a worker does with a trial

_SECONDS_BETWEEN_LOOKS = 1.0  # at whether the group still lives


class TrialStopped(Exception):
    """Ends a trial in its workers that the search goes no further with."""


class Mailbox:
    """An actor that keeps orders and answers until they are fetched."""

    def __init__(self) -> None:
        self._orders: list[TrialTask | bool] = []
        self._answers: asyncio.Queue[EpochRow | None] = asyncio.Queue()
        self._arrived = asyncio.Condition()

    async def order(self, order: TrialTask | bool) -> None:
        """Say something to all workers."""
        async with self._arrived:
            self._orders.append(order)
            self._arrived.notify_all()

    async def next_order(self, index: int) -> TrialTask | bool:
        """The order of this index, once it is there."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: index < len(self._orders))
            return self._orders[index]

    async def answer(self, row: EpochRow | None) -> None:
        """Say something to the coordinator; None: the trial is done."""
        await self._answers.put(row)

    async def next_answer(self) -> EpochRow | None:
        """The workers' next answer, once it is there."""
        return await self._answers.get()


class StandingGroup:
    """The coordinator's side.

    Args:
        fit: runs a Ray Train worker group, each of whose workers calls ``serve`` with the mailbox; it returns only
            when the group has ended, and raises why.
    """

    def __init__(self, fit: Callable[[Any], None]) -> None:
        import ray

        self._mailbox: Any = ray.remote(num_cpus=0)(Mailbox).remote()
        self._end: Future[None] = Future()
        threading.Thread(target=self._run, args=(fit,), daemon=True, name="worker-group").start()

    def _run(self, fit: Callable[[Any], None]) -> None:
        try:
            fit(self._mailbox)
        except BaseException as error:
            self._end.set_exception(error)
        else:
            self._end.set_result(None)

    def train(self, task: TrialTask, report: Report) -> None:
        """Train a trial to its end, passing each epoch's row to ``report``.

        Raises:
            Exception: why the group ended, if it did; it is then of no more use.
            SystemExit: of ``report``, when the search stops the trial; the workers are free for another.
        """
        self._order(task)
        while (row := self._answer()) is not None:
            goes_on = False
            try:
                report(row)
                goes_on = True
            finally:
                self._order(goes_on)

    def _order(self, order: TrialTask | bool) -> None:
        import ray

        ray.get(self._mailbox.order.remote(order))

    def _answer(self) -> EpochRow | None:
        import ray

        answer: Any = self._mailbox.next_answer.remote()
        while not ray.wait([answer], timeout=_SECONDS_BETWEEN_LOOKS)[0]:
            if self._end.done():
                self._end.result()
                raise RuntimeError("the worker group has ended")
        row: EpochRow | None = ray.get(answer)
        return row


def serve(mailbox: ActorHandle[Mailbox], work: Work, *, is_first: bool) -> None:
    """A worker's side: train whatever trials are ordered, for as long as the group lives."""
    orders = _orders(mailbox)

    def report(row: EpochRow) -> None:
        import ray

        if is_first:
            ray.get(mailbox.answer.remote(row))
        if not next(orders):
            raise TrialStopped

    while True:
        with suppress(TrialStopped):
            work(next(orders), report)
            if is_first:
                _tell_done(mailbox)


def _tell_done(mailbox: ActorHandle[Mailbox]) -> None:
    import ray

    ray.get(mailbox.answer.remote(None))


def _orders(mailbox: ActorHandle[Mailbox]) -> Iterator[Any]:
    import ray

    index = 0
    while True:
        yield ray.get(mailbox.next_order.remote(index))
        index += 1
