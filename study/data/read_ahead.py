"""One pass over a stream, drawn in a thread ahead of its use, so that nobody waits for a stream's start."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from taskct_core.contracts.rows import Batch

# Opens a pass: it must call its argument once the stream has given all it has, though batches may be left.
OpenPass = Callable[[Callable[[], None]], Iterator[Batch]]
StartNext = Callable[[], "ReadAhead"]
_BATCHES_AHEAD = 4
_POLL_S = 0.2
_CLOSE_S = 10.0


class ReadAhead(Iterator[Batch]):
    """The batches of a pass, which is opened at once; an error in it is raised to who draws them.

    Closing it, or dropping the last reference to it, ends the thread after the batch at hand.

    Args:
        open_pass: opens it, in the thread.
        start_next: starts what will be drawn next, as soon as this pass's stream has given all it has.
    """

    def __init__(self, open_pass: OpenPass, start_next: StartNext | None = None) -> None:
        self._ended = False
        # Apart from this object, which a thread that referred to it would keep alive.
        self._shared = _Shared()
        arguments = (self._shared, open_pass, start_next)
        self._thread = threading.Thread(target=_draw, args=arguments, daemon=True, name="read-ahead")
        self._thread.start()
        weakref.finalize(self, self._shared.stop.set)

    @property
    def next_pass(self) -> ReadAhead | None:
        """What ``start_next`` started."""
        return self._shared.next_pass

    def __next__(self) -> Batch:
        if self._ended:
            raise StopIteration
        batch = self._shared.ready.get()
        if not isinstance(batch, _End):
            return batch
        self._ended = True
        raise batch.error or StopIteration

    def close(self) -> None:
        """End the thread, and wait until it has ended, but not for ever."""
        self._ended = True
        self._shared.stop.set()
        self._thread.join(_CLOSE_S)


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


@dataclass
class _Shared:
    """Between the thread that reads and the one that draws."""

    ready: queue.Queue[Batch | _End] = field(default_factory=lambda: queue.Queue(_BATCHES_AHEAD))
    stop: threading.Event = field(default_factory=threading.Event)
    next_pass: ReadAhead | None = None

    def hand_over(self, item: Batch | _End) -> bool:
        """Put an item where it is drawn from; False if nobody wants it any more."""
        while not self.stop.is_set():
            with suppress(queue.Full):
                self.ready.put(item, timeout=_POLL_S)
                return True
        return False


def _draw(shared: _Shared, open_pass: OpenPass, start_next: StartNext | None) -> None:
    def stream_is_drained() -> None:
        if start_next is not None and not shared.stop.is_set():
            shared.next_pass = start_next()

    end = _End()
    try:
        for batch in open_pass(stream_is_drained):
            if not shared.hand_over(batch):
                return
    except BaseException as error:  # whatever it is, it belongs to who draws the batches
        end = _End(error)
    shared.hand_over(end)
