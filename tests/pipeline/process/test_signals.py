"""Signals become events, whatever the main thread is at when they come."""

import signal
import threading
from collections.abc import Callable

import pytest

from dscsnet.pipeline.process import signals as interrupt
from dscsnet.pipeline.process.signals import reload_on_hangup, stop_on_signals


def locked(event: threading.Event) -> threading.Condition:
    """The event's lock, which `wait` holds for a moment before it sleeps and after."""
    return event._cond  # type: ignore[attr-defined, no-any-return]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_within_a_wait_stops_it(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        with locked(stop):
            signal.raise_signal(number)
        assert stop.wait(60)
        # A second one acts as it always did.
        assert signal.getsignal(number) is before
    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]


@pytest.mark.timeout(20)
def test_a_closed_terminal_stops_within_a_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = [True]
    monkeypatch.setattr(interrupt, "_has_terminal", lambda: terminal[0])
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    stop, calls = threading.Event(), list[None]()
    reload: Callable[[], None] = lambda: calls.append(None)  # noqa: E731
    try:
        with reload_on_hangup(reload, stop):
            signal.raise_signal(signal.SIGHUP)
            assert (len(calls), stop.is_set()) == (1, False)
            terminal[0] = False
            with locked(stop):
                signal.raise_signal(signal.SIGHUP)
            assert stop.wait(60)
            assert len(calls) == 1
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_signal_nothing_is_set_or_left_behind() -> None:
    with stop_on_signals() as stop:
        pass
    assert not stop.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]
