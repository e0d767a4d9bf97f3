"""Ctrl-C and its kin, while a run trains: the first asks it to end in good order, the second ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopping_signals(stop: Callable[[], None], note: Callable[[str], None]) -> Iterator[None]:
    """Has the first signal call `stop`, and any later one raise KeyboardInterrupt, for as long as it is open.

    Outside the main thread, where Python handles no signals, it does nothing.

    Args:
        stop: Returns at once.
        note: Is told what happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stop()
        note("stopping before the next collection, with a checkpoint; once more to stop at once")

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
