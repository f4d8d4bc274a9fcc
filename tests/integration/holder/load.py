"""Users of a module: what they ask, and what they got."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Load:
    """Threads that ask without a pause until `stop`. `failures` says how, `versions` who answered."""

    host: str
    port: int
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, *, keep_alive: int = 0, one_shot: int = 0, late: int = 0) -> None:
        kinds = [(keep_alive, self._keep_alive), (one_shot, self._one_shot), (late, self._late)]
        for count, ask in kinds:
            for _ in range(count):
                thread = threading.Thread(target=ask)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> int:
        return sum(self.versions.values())

    def wait_for(self, answers: int, deadline: float = 20.0) -> None:
        """Until that many more have been answered."""
        until, target = time.monotonic() + deadline, self.answers + answers
        while self.answers < target:
            assert time.monotonic() < until, f"{self.answers} answers of {target}; {self.failures}"
            time.sleep(0.01)

    def _took(self, status: int, body: str) -> None:
        if status == 200:
            self.versions[body] += 1
        else:
            self.failures[f"{status} {body}"] += 1

    def _one_shot(self) -> None:
        while not self._ended.is_set():
            try:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=15)
                connection.request("GET", "/", headers={"Connection": "close"})
                answer = connection.getresponse()
                self._took(answer.status, answer.read().decode())
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failures[f"one-shot: {error!r}"] += 1
            time.sleep(0.01)

    def _keep_alive(self) -> None:
        connection = None
        while not self._ended.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.host, self.port, timeout=15)
                connection.request("GET", "/")
                answer = connection.getresponse()
                self._took(answer.status, answer.read().decode())
                if answer.getheader("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures[f"keep-alive: {error!r}"] += 1
                connection = None
            time.sleep(0.01)

    def _late(self) -> None:
        """Connects, and sends half a second later: with TCP_DEFER_ACCEPT the handshake ends only then."""
        while not self._ended.is_set():
            try:
                with socket.create_connection((self.host, self.port), timeout=15) as sock:
                    time.sleep(0.5)
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    status, body = read_answer(sock)
                    self._took(status, body)
            except OSError as error:
                self.failures[f"late: {error!r}"] += 1


def read_answer(sock: socket.socket) -> tuple[int, str]:
    """One answer with a Content-Length. Raises ConnectionError when it is cut off."""
    data = b""
    while b"\r\n\r\n" not in data or len(data.split(b"\r\n\r\n", 1)[1]) < _length(data):
        more = sock.recv(4096)
        if not more:
            raise ConnectionError(f"cut off after {data!r}")
        data += more
    return int(data.split(b" ", 2)[1]), data.split(b"\r\n\r\n", 1)[1].decode()


def _length(data: bytes) -> int:
    for line in data.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def ask(host: str, port: int, path: str = "/", *, source: tuple[str, int] | None = None, timeout: float = 10.0) -> str:
    """The body of one answer of status 200. Raises OSError or AssertionError."""
    with socket.create_connection((host, port), timeout=timeout, source_address=source) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, body = read_answer(sock)
        assert status == 200, (status, body)
        return body
