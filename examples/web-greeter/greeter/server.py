"""Connections: taken from the inherited socket, one thread each, brought to an orderly end at SIGTERM.

The end is where requests get lost in careless servers. After SIGTERM:

1. Nothing new is accepted, except what already waits in the queue.
2. Whoever sends a request gets its answer, with `Connection: close`, and only then is that connection closed.
3. A client that keeps an idle connection cannot know that we are leaving. Closing it at once would race with its next
   request, so an idle connection stays open for a grace time, in which its next request is answered as in 2.
4. After the grace time the reading side is shut. What the kernel has received until then is still read and answered.
5. Nobody is waited for beyond `_LONGEST_DRAIN`.
"""

from __future__ import annotations

import contextlib
import errno
import http.server
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import MutableMapping
from http import HTTPStatus

from greeter.service import Answer, Service

_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START, see sd_listen_fds(3)
_LONGEST_DRAIN = 25.0  # under the manifest's drain.timeout, after which SIGKILL comes
_IDLE_TIMEOUT = 75.0
_MAXIMUM_CONNECTIONS = 1000
_MAXIMUM_BODY = 64 * 1024
_BACKLOG = 1024
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


class SocketUnusable(Exception):
    """There is nothing to listen on; the text says why."""


def inherited_or_own_socket(environment: MutableMapping[str, str]) -> socket.socket:
    """The socket of systemd's protocol (LISTEN_FDS, LISTEN_PID), or one on 127.0.0.1 and `PORT` (8080)."""
    count = environment.pop("LISTEN_FDS", None)
    pid = environment.pop("LISTEN_PID", None)
    environment.pop("LISTEN_FDNAMES", None)
    if count is None:
        return _own_socket(environment.get("PORT", "8080"))
    if pid is not None and pid != str(os.getpid()):
        raise SocketUnusable(f"the socket was meant for process {pid}, not for {os.getpid()}; start without a shell")
    if count != "1":
        raise SocketUnusable(f"one socket is wanted, LISTEN_FDS is {count!r}")
    try:
        listener = socket.socket(fileno=_FIRST_INHERITED)
    except OSError as error:
        raise SocketUnusable(f"descriptor {_FIRST_INHERITED} is no socket: {error}") from error
    listener.set_inheritable(False)
    return listener


def _own_socket(port: str) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", int(port)), backlog=_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise SocketUnusable(f"cannot listen on port {port}: {error}") from error


class Server:
    """Serves until SIGTERM or SIGINT."""

    def __init__(self, listener: socket.socket, service: Service, idle_grace: float) -> None:
        self.service = service
        self.draining = threading.Event()
        self._idle_grace = idle_grace
        self._listener = listener
        # Whoever passed the socket keeps a copy and may take a connection that select announced to us.
        self._listener.setblocking(False)
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def run_until_sigterm(self) -> None:
        """Serve, then drain; returns when the last connection is closed or nobody is waited for any longer."""
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        print(f"{self.service.module} {self.service.version} serves, process {os.getpid()}", flush=True)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not any(key.fileobj is woken for key, _ in selector.select()):
                self._wait_for_room()
                self._accept()
        self._drain()

    def _drain(self) -> None:
        began = time.monotonic()
        self.draining.set()
        while self._accept():
            pass
        # The socket itself stays open and listening: it is not ours, and shutdown(2) would end it for its owner, too.
        print(f"SIGTERM: {self.connections} connections to end", flush=True)
        if not self._wait_until_closed(began + self._idle_grace):
            with self._changed:
                for connection in self._connections:
                    _shut_reading(connection)
            self._wait_until_closed(began + _LONGEST_DRAIN)
        print(f"ends after {time.monotonic() - began:.1f} s, {self.connections} connections cut", flush=True)

    def _wait_until_closed(self, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, max(0.0, deadline - time.monotonic()))

    def _wait_for_room(self) -> None:
        """At the limit new clients wait in the kernel's queue."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._connections) < _MAXIMUM_CONNECTIONS, 1.0)

    def _wait_for_end_of_any(self) -> None:
        with self._changed:
            self._changed.wait(0.1)

    def _accept(self) -> bool:
        try:
            connection, address = self._listener.accept()
        except OSError as error:  # somebody else took it, the client is gone again, or descriptors have run out
            if error.errno in _NO_DESCRIPTORS:
                self._wait_for_end_of_any()
            return False
        connection.setblocking(True)
        with self._changed:
            self._connections.add(connection)
        threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()
        return True

    def _serve(self, connection: socket.socket, address: object) -> None:
        try:
            Handler(connection, address, self)  # type: ignore[arg-type]  # see Handler.server
        except OSError:  # the client went away in the middle, which is its right
            pass
        finally:
            with self._changed:
                self._connections.discard(connection)
                self._changed.notify_all()
            connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: requests are parsed by the standard library, answered by the service."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # so that even nonsense gets a status line
    timeout = _IDLE_TIMEOUT
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # headers and body leave in one packet
    server: Server  # type: ignore[assignment]  # the standard library expects one of its own kind

    def do_GET(self) -> None:
        """Answer GET, HEAD and POST alike; the service tells them apart."""
        began = time.perf_counter()
        body = self._body()
        if isinstance(body, Answer):
            self.close_connection = True
            self._send(body)
            return
        answer = self.server.service.answer(self.command, self.path, body, self.server.connections)
        self._send(answer)
        if answer.route is not None:
            self.server.service.metrics.observe(
                self.command, answer.route, answer.status, time.perf_counter() - began
            )

    do_HEAD = do_POST = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses by itself: bad requests, unknown methods."""
        self.close_connection = True
        reason = message or HTTPStatus(code).phrase
        self._send(self.server.service.refusal(code, reason))

    def version_string(self) -> str:
        """The header `Server`."""
        return self.server.service.module

    def log_message(self, format: str, *args: object) -> None:
        """Requests are counted in the metrics, not logged one by one."""

    def _body(self) -> bytes | Answer:
        if "Transfer-Encoding" in self.headers:
            return self.server.service.refusal(411, "send a Content-Length")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            return self.server.service.refusal(400, "Content-Length is no number")
        if int(length) > _MAXIMUM_BODY:
            return self.server.service.refusal(413, f"a body has at most {_MAXIMUM_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return self.server.service.refusal(400, "the body ended too early")
        return body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Module-Version", self.server.service.version)
        if self.server.draining.is_set() or self.close_connection:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()


def _shut_reading(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client was faster
        connection.shutdown(socket.SHUT_RD)
