"""Ends a command at SIGINT (Ctrl-C), SIGTERM and SIGHUP: what is finished and the image so far are written."""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Iterator
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last.
_DELAY = 0.1


class Stops:
    """The signal that stopped a command.

    Attributes:
        signal: SIGINT until another has arrived.
    """

    signal: int = signal.SIGINT

    def __init__(self) -> None:
        self._retry: threading.Timer | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal: raises KeyboardInterrupt, a moment later where Python would ignore the exception."""
        self.signal = number
        if not _is_ignored(frame):
            raise KeyboardInterrupt
        if hasattr(signal, "pthread_kill"):  # Not on Windows. To this thread, so that its waiting ends as well.
            self._retry = threading.Timer(_DELAY, signal.pthread_kill, [threading.get_ident(), number])
        else:
            self._retry = threading.Timer(_DELAY, signal.raise_signal, [number])
        self._retry.daemon = True
        self._retry.start()

    def close(self) -> None:
        """Forgets a signal that was put off."""
        if self._retry:
            self._retry.cancel()


def _is_ignored(frame: FrameType | None) -> bool:
    """Returns whether Python ignores exceptions raised in a frame: in finalizers, and when weak references end."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def interrupt_on_signals() -> Iterator[Stops]:
    """Raises KeyboardInterrupt at SIGINT, SIGTERM and SIGHUP inside the context.

    A signal that is ignored, as by nohup, stays so. Only the main thread can handle signals: elsewhere nothing changes.
    """
    stops, before = Stops(), {}
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, stops.handle)
    try:
        yield stops
    finally:
        stops.close()
        for number, handler in before.items():
            signal.signal(number, handler)
