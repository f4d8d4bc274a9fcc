"""Carrying a connection: everything, in order, half-closes and resets included."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from agent.holder.loop import Loop
from agent.holder.pump import Pump


class Carried:
    """A user's socket, carried to the port of `service` by a loop that runs in a thread."""

    def __init__(self, port: int, patience: float = 0.0) -> None:
        with socket.create_server(("127.0.0.1", 0)) as entry:
            self.user = socket.create_connection(entry.getsockname(), timeout=10)
            accepted, _ = entry.accept()
        self.loop = Loop()
        self.ended: list[Pump] = []

        def end(pump: Pump) -> None:
            self.ended.append(pump)
            self.loop.stop()

        self.pump = Pump(self.loop, accepted, ("127.0.0.1", port), patience=patience, on_end=end)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        if not self.ended:
            self.loop.run()

    def finish(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        assert self.ended == [self.pump]
        self.loop.close()
        self.user.close()


@pytest.fixture
def service() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_much_both_ways_with_half_closes(service: socket.socket) -> None:
    there, back = os.urandom(3_000_000), os.urandom(2_000_000)
    carried = Carried(service.getsockname()[1])
    peer, _ = service.accept()
    peer.settimeout(10)

    def send() -> None:
        carried.user.sendall(there)
        carried.user.shutdown(socket.SHUT_WR)

    thread = in_thread(send)
    assert read_all(peer) == there
    thread.join()

    def answer() -> None:
        peer.sendall(back)
        peer.close()

    thread = in_thread(answer)
    assert read_all(carried.user) == back
    thread.join()
    carried.finish()
    service.close()


@pytest.mark.parametrize("who", ["user", "service"])
def test_a_reset_ends_both(service: socket.socket, who: str) -> None:
    carried = Carried(service.getsockname()[1])
    peer, _ = service.accept()
    peer.settimeout(10)
    sinner, other = (carried.user, peer) if who == "user" else (peer, carried.user)
    sinner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sinner.close()
    assert other.recv(1) == b""
    other.close()
    carried.finish()
    service.close()


def test_a_service_that_comes_late(service: socket.socket) -> None:
    address = service.getsockname()
    service.close()
    carried = Carried(address[1], patience=10.0)
    carried.user.sendall(b"hello")
    with socket.create_server(address) as again:
        again.settimeout(10)
        peer, _ = again.accept()
        with peer:
            assert peer.recv(5) == b"hello"
    assert carried.user.recv(1) == b""
    carried.user.close()
    carried.finish()


def test_a_service_that_never_comes(service: socket.socket) -> None:
    port = service.getsockname()[1]
    service.close()
    carried = Carried(port)
    assert carried.user.recv(1) == b""
    carried.finish()
