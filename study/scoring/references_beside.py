"""References scored while the trials of a study run, on CPUs that the trials leave idle.

A few actors do the pieces of the work. They ask Ray for no CPU, so that they run where trials have taken all of them,
and have the least priority, so that trials go first.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.cluster.ray_session import cluster_cpus
from study.scoring.reference_scorer import Piece, ReferenceScorer, timed
from study.scoring.references import PARTS, write_references
from study.search.events import OnEvent, ReferencesAdvanced, ReferenceScored
from study.trials.inputs import TrialInputs
from study.trials.repeats import Repeats
from taskct_core.contracts.files import write_json
from taskct_core.contracts.folders import StudyFolder

if TYPE_CHECKING:  # Ray takes seconds to import
    from ray import ObjectRef
    from ray.actor import ActorHandle

_CPUS_AN_ACTOR = 4  # of the cluster
_RESTARTS = 3  # of an actor whose node was taken away
_SECONDS_BETWEEN_NOTES = 1.0
_POLL_S = 0.2
_LEAST_PRIORITY = 19


class ReferencesBeside:
    """Scores what is missing of a study's references in a thread, by Ray actors. Needs a Ray session.

    Args:
        folder: of the study; how far the work is stands in ``references-progress.json`` there until it is done.
        inputs: what the study's trials share.
        on_event: called, in the thread, with each reference's scores and with how far the work is.
    """

    def __init__(self, folder: Path, inputs: TrialInputs | Repeats, on_event: OnEvent) -> None:
        self._folder = StudyFolder(folder)
        self._inputs = inputs
        self._on_event = on_event
        self._thread: threading.Thread | None = None
        self._actors: list[Any] = []
        self._tasks: deque[ObjectRef[Any]] = deque()  # begun and not yet asked for, in their order
        self._shared: Any = None
        self._stopped = False
        self._error: BaseException | None = None
        self._noted = 0.0

    def begin(self) -> None:
        """Start, unless it has."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="references")
            self._thread.start()

    def finish(self, until: float | None = None) -> bool:
        """Wait for what is missing.

        Args:
            until: a time of ``time.monotonic``; None: however long it takes.

        Returns:
            Whether all references are there.

        Raises:
            Exception: that ended the work.
        """
        self.begin()
        assert self._thread is not None
        while self._thread.is_alive() and (until is None or time.monotonic() < until):
            self._thread.join(_POLL_S)  # not for ever, which would keep Ctrl-C waiting
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the work; what is scored whole stays, the next driver does the rest."""
        self._stopped = True
        for task in tuple(self._tasks):
            _cancel(task)
        for actor in self._actors:
            _kill(actor)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            write_references(
                self._folder,
                self._inputs,
                lambda row: self._on_event(ReferenceScored(row)),
                self._advance,
                self._run,
            )
            self._folder.reference_progress.unlink(missing_ok=True)
        except BaseException as error:  # whatever it is, it belongs to who waits for the references
            if not self._stopped:
                self._error = error
        finally:
            for actor in self._actors:
                _kill(actor)

    def _run(self, pieces: Sequence[Piece]) -> Iterator[tuple[Any, float]]:
        import ray
        from ray.util import ActorPool

        if not self._actors:
            self._shared = ray.put(self._inputs)  # for as long as an actor may be restarted
            self._actors = _start_actors()
        pool = ActorPool(self._actors)
        for piece in pieces:
            pool.submit(self._begin_piece, piece)
        while pool.has_next():
            if self._stopped:
                raise InterruptedError
            done = pool.get_next()
            self._tasks.popleft()
            yield done

    def _begin_piece(self, actor: ActorHandle[_Actor], piece: Piece) -> ObjectRef[Any]:
        task: ObjectRef[Any] = actor.do.remote([self._shared], piece)
        self._tasks.append(task)
        if self._stopped:  # which may have looked for tasks just before
            _cancel(task)
        return task

    def _advance(self, advanced: ReferencesAdvanced) -> None:
        self._on_event(advanced)
        now = time.monotonic()
        if now - self._noted >= _SECONDS_BETWEEN_NOTES:
            self._noted = now
            note = {"done": advanced.done, "total": advanced.total, "method": advanced.method}
            write_json(self._folder.reference_progress, note)


class _Actor:
    """A ``ReferenceScorer`` in a process of its own.

    What it scores with comes with each piece, not at its start: Ray warns on the screen of an actor that it may
    restart without what it was started with.
    """

    def __init__(self) -> None:
        import torch

        os.setpriority(os.PRIO_PROCESS, 0, _LEAST_PRIORITY)  # trials go first
        torch.set_num_threads(1)
        self._scorer: ReferenceScorer | None = None

    def do(self, shared: list[Any], piece: Piece) -> tuple[Any, float]:
        """``shared``: a reference to the study's inputs, in a list, which Ray hands on as it is."""
        import ray

        if self._scorer is None:
            self._scorer = ReferenceScorer(ray.get(shared[0]))
        return timed(piece, self._scorer)


def _start_actors() -> list[ActorHandle[_Actor]]:
    import ray

    remote: Any = ray.remote(
        num_cpus=0, max_restarts=_RESTARTS, max_task_retries=_RESTARTS, scheduling_strategy="SPREAD"
    )
    count = min(PARTS, max(1, int(cluster_cpus() // _CPUS_AN_ACTOR)))
    return [remote(_Actor).remote() for _ in range(count)]


def _cancel(task: ObjectRef[Any]) -> None:
    """Give a task up; else Ray says on the screen, when its actor is killed, that it will be retried."""
    import ray
    from ray.exceptions import RayError

    with suppress(RayError, ValueError):  # the session has ended
        ray.cancel(task)


def _kill(actor: ActorHandle[Any]) -> None:
    import ray
    from ray.exceptions import RayError

    with suppress(RayError, ValueError):  # it is dead, or the session has ended
        ray.kill(actor)
