"""Signals that wait until a step is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Handle Ctrl-C and the like only after the block has ended.

    A KeyboardInterrupt in Popen() would lose the server that was just started; in poll() it would leave a lock held for
    which wait() waits; in a finaliser or a weak reference's callback, as while a module is imported, Python drops it.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    def handle() -> None:
        for number in held:
            signal.raise_signal(number)

    with ExitStack() as undo:
        undo.callback(handle)
        if threading.current_thread() is threading.main_thread():  # no other thread is interrupted
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                if callable(handler := signal.getsignal(number)):
                    undo.callback(signal.signal, number, handler)
                    signal.signal(number, hold)
        yield
