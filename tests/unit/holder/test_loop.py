"""The loop: order, survival, descriptors that go away."""

from __future__ import annotations

import os
import select
import socket

import pytest

from agent.holder.loop import Loop, Watch


def test_timers_come_in_order_and_can_be_cancelled() -> None:
    loop, called = Loop(), []
    loop.later(0.02, lambda: called.append("second"))
    loop.later(0.0, lambda: called.append("first"))
    loop.later(0.01, lambda: called.append("never")).cancel()
    loop.later(0.03, loop.stop)
    loop.run()
    loop.close()
    assert called == ["first", "second"]


def test_a_callback_that_raises_is_survived(capsys: pytest.CaptureFixture[str]) -> None:
    loop, called = Loop(), []

    def fails() -> None:
        called.append("x")
        if len(called) == 3:
            loop.stop()
        raise ValueError("of mine")

    loop.every(0.001, fails)
    loop.run()
    loop.close()
    assert "ValueError: of mine" in capsys.readouterr().err


def test_a_hung_up_listener_comes_first() -> None:
    loop, order = Loop(), []
    with socket.create_server(("127.0.0.1", 0)) as lost, socket.create_server(("127.0.0.1", 0)) as busy:
        loop.watch(busy.fileno(), select.EPOLLIN, lambda _: order.append("accept"))
        loop.watch(lost.fileno(), 0, lambda _: order.append("lost"))
        with socket.create_connection(busy.getsockname()):
            lost.shutdown(socket.SHUT_RDWR)
            loop.turn(1.0)
    loop.close()
    assert order == ["lost", "accept"]


def test_a_watch_that_ends_in_the_same_round_is_not_called() -> None:
    loop, called = Loop(), []
    pipes = [os.pipe() for _ in range(2)]
    watches: list[Watch] = []

    def end_all(_: int) -> None:
        called.append("one")
        for watch in watches:
            watch.end()

    watches.extend(loop.watch(reads, select.EPOLLIN, end_all) for reads, _ in pipes)
    for _, writes in pipes:
        os.write(writes, b".")
    loop.turn(1.0)
    loop.turn(0.0)
    loop.close()
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)
    assert called == ["one"]
