"""Signals that stop a command."""

import os
import signal
import threading
import time
import weakref

import pytest

from tfstyle.cli.stops import interrupt_on_signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals here")


SIGNALS = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)]


class Finalized:
    """Receives a signal when it is no longer used."""

    def __init__(self, number):
        self._number = number

    def __del__(self):
        """Python ignores what is raised here."""
        self.send()

    def send(self):
        os.kill(os.getpid(), self._number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("how", ["__del__", "weakref.finalize"])
def test_a_signal_in_a_finalizer_interrupts_after_it(number, how):
    def receive():
        if how == "__del__":
            Finalized(number)
        else:
            weakref.finalize(frozenset([1]), os.kill, os.getpid(), number)
        time.sleep(30)

    given, began = signal.signal(number, signal.SIG_DFL), time.monotonic()
    try:
        with interrupt_on_signals() as stops, pytest.raises(KeyboardInterrupt):
            receive()
        assert stops.signal == number
        assert time.monotonic() - began < 20  # What waits is interrupted, not only what comes after it.
    finally:
        signal.signal(number, given)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_interrupt_and_is_remembered(number):
    given = signal.signal(number, signal.SIG_DFL)  # Whoever runs the tests may ignore it, as nohup does.
    try:
        with interrupt_on_signals() as stops:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert stops.signal == number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, given)


def test_without_another_signal_it_was_ctrl_c():
    with interrupt_on_signals() as stops, pytest.raises(KeyboardInterrupt):
        raise KeyboardInterrupt
    assert stops.signal == signal.SIGINT


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    try:
        with interrupt_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_thread_nothing_changes():
    handlers = []

    def run():
        with interrupt_on_signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]
