"""Carries one TCP connection to another address, both ways, half-closes included."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable

from agent.holder.loop import Loop, Timer, Watch

_CHUNK = 128 * 1024
_MOST_WAITING = 256 * 1024  # bytes held per direction; then the sender has to wait
_RETRY_SECONDS = 0.05
_READ_EVENTS = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR


class _End:
    """One socket of the two and what waits to be sent on it."""

    __slots__ = ("finished_reading", "finished_writing", "sock", "waiting", "watch")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.watch: Watch | None = None
        self.waiting = bytearray()
        self.finished_reading = False  # its FIN has come
        self.finished_writing = False  # our FIN has gone


class Pump:
    """Connects to `target` (again for `patience` seconds while it is refused) and carries until both sides have ended.

    `on_end` is called once, when both sockets are closed.
    """

    def __init__(
        self,
        loop: Loop,
        user: socket.socket,
        target: tuple[str, int],
        *,
        patience: float,
        on_end: Callable[[Pump], None],
    ) -> None:
        self._loop = loop
        self._target = target
        self._give_up = time.monotonic() + patience
        self._on_end = on_end
        self._timer: Timer | None = None
        self._ended = False
        user.setblocking(False)
        _tune(user)
        self._user = _End(user)
        self._service: _End | None = None
        self._connect()

    def end(self) -> None:
        """Cuts the connection."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        for end in (self._user, self._service):
            if end is not None:
                if end.watch is not None:
                    end.watch.end()
                end.sock.close()
        self._on_end(self)

    def _connect(self) -> None:
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # out of descriptors
            self._retry()
            return
        _tune(sock)
        self._service = _End(sock)
        code = sock.connect_ex(self._target)
        if code not in (0, errno.EINPROGRESS):
            self._retry()
            return
        self._service.watch = self._loop.watch(sock.fileno(), select.EPOLLOUT, self._connected)

    def _retry(self) -> None:
        if self._service is not None:
            if self._service.watch is not None:
                self._service.watch.end()
            self._service.sock.close()
            self._service = None
        if time.monotonic() >= self._give_up:
            self.end()
            return
        self._timer = self._loop.later(_RETRY_SECONDS, self._connect)

    def _connected(self, _: int) -> None:
        service = self._service
        assert service is not None and service.watch is not None
        if service.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._retry()
            return
        service.watch.callback = lambda mask: self._ready(service, self._user, mask)
        self._user.watch = self._loop.watch(
            self._user.sock.fileno(), select.EPOLLIN, lambda mask: self._ready(self._user, service, mask)
        )
        self._set_masks(service)

    def _ready(self, end: _End, other: _End, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                _flush(end)
            if mask & _READ_EVENTS and not end.finished_reading and len(other.waiting) < _MOST_WAITING:
                self._read(end, other)
            elif mask & (select.EPOLLHUP | select.EPOLLERR) and end.finished_reading and not end.finished_writing:
                raise ConnectionResetError
            self._close_finished(end, other)
        except BlockingIOError:
            pass
        except OSError:
            self.end()
            return
        if end.finished_reading and end.finished_writing and other.finished_reading and other.finished_writing:
            self.end()
            return
        assert self._service is not None
        self._set_masks(self._service)

    def _read(self, end: _End, other: _End) -> None:
        data = end.sock.recv(_CHUNK)
        if data:
            other.waiting += data
            _flush(other)
        else:
            end.finished_reading = True

    @staticmethod
    def _close_finished(end: _End, other: _End) -> None:
        """Passes a FIN on once everything before it has gone."""
        for source, sink in ((end, other), (other, end)):
            if source.finished_reading and not sink.waiting and not sink.finished_writing:
                sink.finished_writing = True
                sink.sock.shutdown(socket.SHUT_WR)

    def _set_masks(self, service: _End) -> None:
        for end, other in ((self._user, service), (service, self._user)):
            if end.watch is None:
                continue
            if end.finished_reading and end.finished_writing:
                end.watch.end()  # EPOLLHUP would come for ever
                continue
            reads = not end.finished_reading and len(other.waiting) < _MOST_WAITING
            end.watch.change((select.EPOLLIN if reads else 0) | (select.EPOLLOUT if end.waiting else 0))


def _flush(end: _End) -> None:
    while end.waiting:
        try:
            sent = end.sock.send(end.waiting)
        except BlockingIOError:
            return
        del end.waiting[:sent]


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
