"""Signals end the story, but cut neither a start nor a stop in two."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from examples.demo.errors import Interrupted
from examples.demo.signals import Signals

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    installed = Signals()
    installed.install()
    yield installed
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", _NUMBERS)
def test_a_signal_is_raised_where_the_story_is(signals: Signals, number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as raised:
        os.kill(os.getpid(), number)
    assert raised.value.number == number


def test_a_held_one_is_raised_afterwards(signals: Signals) -> None:
    done = []
    with pytest.raises(Interrupted), signals.held():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("what was begun")
    assert done


def test_while_stopping_it_only_asks_for_patience(signals: Signals, capfd: pytest.CaptureFixture[str]) -> None:
    signals.ignore("already stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    assert "already stopping" in capfd.readouterr().err
