"""A stream that is drawn in a thread ahead of its use."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
_ITEMS_AHEAD = 4
_POLL_S = 0.2
_CLOSE_S = 10.0


class ReadAhead(Iterator[T]):
    """The items of a stream, which is opened at once; an error in it is raised to who draws them.

    Closing it, or dropping the last reference to it, ends the thread after the item at hand.

    Args:
        open_stream: opens it, in the thread.
    """

    def __init__(self, open_stream: Callable[[], Iterator[T]]) -> None:
        self._ended = False
        # Apart from this object, which a thread that referred to it would keep alive.
        self._shared = _Shared[T]()
        self._thread = threading.Thread(
            target=_draw, args=(self._shared, open_stream), daemon=True, name="read-ahead"
        )
        self._thread.start()
        weakref.finalize(self, self._shared.stop.set)

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item = self._shared.ready.get()
        if not isinstance(item, _End):
            return item
        self._ended = True
        raise item.error or StopIteration

    def close(self) -> None:
        """End the thread, and wait until it has ended, but not for ever."""
        self._ended = True
        self._shared.stop.set()
        self._thread.join(_CLOSE_S)


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


@dataclass
class _Shared(Generic[T]):
    """Between the thread that reads and the one that draws."""

    ready: queue.Queue[T | _End] = field(default_factory=lambda: queue.Queue(_ITEMS_AHEAD))
    stop: threading.Event = field(default_factory=threading.Event)

    def hand_over(self, item: T | _End) -> bool:
        """Put an item where it is drawn from; False if nobody wants it any more."""
        while not self.stop.is_set():
            with suppress(queue.Full):
                self.ready.put(item, timeout=_POLL_S)
                return True
        return False


def _draw(shared: _Shared[T], open_stream: Callable[[], Iterator[T]]) -> None:
    end = _End()
    try:
        for item in open_stream():
            if not shared.hand_over(item):
                return
    except BaseException as error:  # whatever it is, it belongs to who draws the items
        end = _End(error)
    shared.hand_over(end)


def chained(parts: Iterable[Callable[[], Iterator[T]]]) -> Generator[T, None, None]:
    """The items of one stream after another; the next is opened as soon as this one has given its first.

    Args:
        parts: open the streams.
    """
    following = map(ReadAhead, parts)
    current = next(following, None)
    upcoming: ReadAhead[T] | None = None
    try:
        while current is not None:
            for number, item in enumerate(current):
                if number == 0:
                    upcoming = next(following, None)
                yield item
            current, upcoming = upcoming, None
    finally:
        for stream in (current, upcoming):
            if stream is not None:
                stream.close()
