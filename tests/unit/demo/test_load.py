"""The demo's clients count what they got, and call nothing an answer that is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.demo.load import Endpoint, Load

_LIMIT = 30.0


class _Node:
    """A real server on a real socket that answers each request with the next of its answers, the last for ever."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("qa-1", f"http://127.0.0.1:{self._listener.getsockname()[1]}")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while True:
                line = lines.readline()
                if not line:
                    return
                if line == b"\r\n":
                    with self._lock:
                        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                    if not answer:
                        return
                    connection.sendall(answer)
                    if b"Connection: close" in answer:
                        return


def _answer(version: str, said: str | None = None, status: str = "200 OK", more: str = "") -> bytes:
    body = f"Hello, Ada! (version {said or version})\n"
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nX-Module-Version: {version}\r\n{more}\r\n{body}"
    ).encode()


@contextmanager
def _load(endpoint: Endpoint) -> Iterator[Load]:
    load = Load([endpoint], pause=0.005, clients_per_kind=1)
    load.start()
    try:
        yield load
    finally:
        load.stop()


@contextmanager
def _node(*answers: bytes) -> Iterator[_Node]:
    node = _Node(*answers)
    try:
        yield node
    finally:
        node.close()


def test_answers_are_counted_by_node_and_version() -> None:
    with _node(_answer("1.0.0"), _answer("1.1.0")) as node:
        with _load(node.endpoint) as load:
            assert load.wait_for_more_answers(20, _LIMIT)
        tally = load.cut()
    assert tally.failures == {}
    assert tally.versions["1.0.0"] == 1
    assert tally.versions["1.1.0"] == tally.answered - 1
    assert tally.answered >= 20
    assert 0 < tally.slowest < _LIMIT


def test_a_cut_begins_a_new_count() -> None:
    with _node(_answer("1.0.0")) as node:
        with _load(node.endpoint) as load:
            assert load.wait_for_more_answers(5, _LIMIT)
            first = load.cut()
            assert load.wait_for_more_answers(5, _LIMIT)
        second = load.cut()
    assert first.answered >= 5
    assert second.answered >= 5
    assert load.cut().answered == 0


def test_an_announced_end_of_a_connection_is_no_failure() -> None:
    with _node(_answer("1.0.0", more="Connection: close\r\n")) as node:
        with _load(node.endpoint) as load:
            assert load.wait_for_more_answers(10, _LIMIT)
        assert load.cut().failures == {}
        assert node.connections >= 10


def test_one_kind_of_client_keeps_its_connection_and_the_other_does_not() -> None:
    with _node(_answer("1.0.0")) as node:
        with _load(node.endpoint) as load:
            assert load.wait_for_more_answers(40, _LIMIT)
        answered = load.cut().answered
        assert 2 <= node.connections < answered


@pytest.mark.parametrize(
    "bad",
    [
        b"",  # the connection ends without a word
        _answer("1.0.0", status="503 Service Unavailable"),
        _answer("1.0.0", said="1.1.0"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-Module-Version: 1.0.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Module-Version: 1.0.0\r\nContent-Length: 900\r\nConnection: close\r\n\r\nshort",
        b"nonsense\r\n\r\n",
    ],
    ids=["cut", "503", "two versions", "no version", "no length", "short", "nonsense"],
)
def test_what_is_no_proper_answer_is_a_failure_and_counted_once(bad: bytes) -> None:
    with _node(bad, _answer("1.0.0")) as node:
        with _load(node.endpoint) as load:
            assert load.wait_for_more_answers(5, _LIMIT)
        tally = load.cut()
    assert tally.failed == 1
    assert tally.versions == {"1.0.0": tally.answered}


def test_a_refused_connection_is_a_failure() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with _load(Endpoint("qa-1", f"http://127.0.0.1:{nobody.getsockname()[1]}")) as load:
            assert not load.wait_for_more_answers(1, 0.3)
    tally = load.cut()
    assert tally.failed > 0
    assert tally.answered == 0


def test_silence_of_a_version_is_waited_for() -> None:
    with _node(_answer("1.0.0"), _answer("1.1.0")) as node, _load(node.endpoint) as load:
        assert load.wait_for_more_answers(5, _LIMIT)
        assert load.wait_for_silence_of("1.0.0", quiet=0.1, limit=_LIMIT)
        assert not load.wait_for_silence_of("1.1.0", quiet=20.0, limit=0.2)
