"""Ends a command at SIGTERM and SIGHUP as at Ctrl-C: what is finished and the image so far are written."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")  # Windows lacks the second.


class Stops:
    """The signal that stopped a command.

    Attributes:
        signal: SIGINT until another has arrived.
    """

    signal: int = signal.SIGINT

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        self.signal = number
        raise KeyboardInterrupt


@contextlib.contextmanager
def interrupt_on_signals() -> Iterator[Stops]:
    """Raises KeyboardInterrupt at SIGTERM and SIGHUP inside the context.

    A signal that is ignored, as by nohup, stays so. Only the main thread can handle signals: elsewhere nothing changes.
    """
    stops, before = Stops(), {}
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, stops.handle)
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
