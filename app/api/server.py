"""gunicorn's thread worker as both listeners use it: no client holds a thread, or the loop, by being slow.

gunicorn's own worker waits for a request's head in a thread and for a client to close in its only loop. Here

- a thread is given to a connection once the head of its request has arrived whole (over TLS: once anything has);
- a connection that is closed after its answer lingers beside the others in the poller (RFC 9112 9.6);
- a body's reads end at a moment that the application sets on the socket (bodies.py);
- what is refused before the application sees it is a problem like every other (problems.py).
"""

from __future__ import annotations

import json
import re
import secrets
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from app.api.problems import CONTENT_TYPE, problem_body
from app.api.tracing import HEADER

_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 10.0
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"\S+ \S+ HTTP/[0-9.]+\r?\n")
_PATH = re.compile(rb"\s*\S+ (/[^\s?#]*)")
# By the error's nearest base that stands here; what does not is a defect.
_STATUS: dict[type[BaseException], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ParseException: HTTPStatus.BAD_REQUEST,
    ssl.SSLError: HTTPStatus.BAD_REQUEST,
    TimeoutError: HTTPStatus.REQUEST_TIMEOUT,
}


class ClientSocket(socket.socket):
    """A client's connection, whose reads end at `deadline` (of `time.monotonic()`) however little comes how often."""

    deadline: float | None = None
    # Called before a read that has to wait; what it raises, the read raises.
    before_waiting: Callable[[], None] | None = None
    request: Any = None
    path = ""
    _begun: float | None = None
    _seen = 0

    @classmethod
    def of(cls, accepted: socket.socket) -> ClientSocket:
        """The same connection; `accepted` has it no more."""
        return cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Raises TimeoutError at the deadline, or when nothing came for the socket's timeout."""
        if self.deadline is None and self.before_waiting is None:
            return super().recv(size, flags)
        silence = self.gettimeout()
        try:
            self.setblocking(False)
            return super().recv(size, flags)
        except BlockingIOError:
            if self.before_waiting is not None:
                self.before_waiting()
            self.settimeout(self._patience(silence))
            return super().recv(size, flags)
        finally:
            self.settimeout(silence)

    def _patience(self, silence: float | None) -> float | None:
        if self.deadline is None:
            return silence
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the time for this body is over")
        return remaining if silence is None else min(remaining, silence)

    def close_after_answer(self) -> None:
        """Announce and do so, instead of reading what the client may still send."""
        if self.request is not None:
            self.request.must_close = True

    def lacks_head(self) -> bool:
        """Whether more must arrive before a thread can read a request without waiting.

        When it does, the socket is readable only once more has come. Raises TimeoutError, LimitRequestHeaders.
        """
        self.setblocking(False)
        try:
            arrived = super().recv(_HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        if self._is_enough(arrived):
            found = _PATH.match(arrived)
            self.path = found[1].decode("latin-1") if found else ""
            self._begun, self._seen = None, 0
            self._wake_at(1)
            return False
        self._begun = self._begun or time.monotonic()
        if len(arrived) >= _HEAD_BYTES:
            raise errors.LimitRequestHeaders(f"the head of a request may have {_HEAD_BYTES} bytes")
        if time.monotonic() > self._begun + _HEAD_SECONDS:
            raise TimeoutError(f"the head of the request did not arrive within {_HEAD_SECONDS:.0f} seconds")
        self._seen = len(arrived)
        self._wake_at(self._seen + 1)
        return True

    def _is_enough(self, arrived: bytes) -> bool:
        """A whole head, a first line that is refused anyway, or all that there will be: the client has ended."""
        head = arrived.lstrip(b"\r\n")
        if _HEAD_END.search(head) or len(arrived) == self._seen:
            return True
        return b"\n" in head and _REQUEST_LINE.match(head) is None

    def _wake_at(self, count: int) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See above. Private names of gunicorn's are used; its version is pinned, and the tests go through all of them."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lingering: dict[TConn, int] = {}

    def enqueue_req(self, conn: TConn) -> None:
        if not self.cfg.is_ssl and not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket.of(conn.sock)
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """In a thread: one request, or the word that the poller must wait for it."""
        try:
            if isinstance(conn.sock, ClientSocket):
                if not _has_read_ahead(conn) and conn.sock.lacks_head():
                    return _DEFER
                conn.data_ready = True
                conn.sock.deadline = time.monotonic() + _HEAD_SECONDS
            elif not conn.initialized and not conn.wait_for_data(0):
                return _DEFER
        except (errors.ParseException, TimeoutError) as error:
            self.handle_error(None, conn.sock, conn.client, error)
            return False
        except OSError as error:
            self.log.debug("Connection lost before its request. %s", error)
            return False
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        client = conn.sock
        if not isinstance(client, ClientSocket):
            return super().handle_request(req, conn)
        client.deadline, client.request = None, req
        try:
            return super().handle_request(req, conn)
        finally:
            client.deadline, client.before_waiting, client.request = None, None, None

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what was refused without the application, or what broke in it before it answered."""
        status = next(
            (_STATUS[kind] for kind in type(exc).__mro__ if kind in _STATUS), HTTPStatus.INTERNAL_SERVER_ERROR
        )
        path: str = getattr(req, "path", None) or getattr(client, "path", None) or ""
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.exception("Error handling request %s", path)
            detail = "An error of the server; its log has more."
        else:
            detail = f"The request cannot be read: {str(exc)[:300]}."
            self.log.warning("Invalid request from ip=%s: %s", addr[0] if addr else "", str(exc)[:300])
        try:
            client.settimeout(_LINGER_SECONDS)
            client.sendall(_answer(status, detail, path))
        except OSError as error:
            self.log.debug("Nobody to answer. %s", error)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """In the loop. A connection that ends is not waited for here, which would hold up every other one."""
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
            return
        self._lingering[conn] = 0
        conn.timeout = time.monotonic() + _LINGER_SECONDS
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_lingering, conn))
        except (OSError, ValueError):
            self._end(conn)

    def _on_lingering(self, conn: TConn, _client: Any) -> None:
        """What still comes is dropped: were it left unread, the kernel would cut the answer off."""
        try:
            dropped = conn.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            dropped = b""
        self._lingering[conn] += len(dropped)
        if not dropped or self._lingering[conn] > _LINGER_BYTES:
            self._end(conn)

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn in self._lingering if conn.timeout <= now]:
            self._end(conn)

    def _end(self, conn: TConn) -> None:
        del self._lingering[conn]
        self.nr_conns -= 1
        try:
            self.poller.unregister(conn.sock)
        except (KeyError, ValueError):
            self.log.debug("A connection was gone before it could linger.")
        conn.close()


def _has_read_ahead(conn: TConn) -> bool:
    """Whether a part of this request was read together with the one before."""
    return conn.parser is not None and bool(conn.parser.unreader.buf.getvalue())


def _answer(status: HTTPStatus, detail: str, path: str) -> bytes:
    trace = secrets.token_hex(16)
    fields = {"body": [detail]} if status is HTTPStatus.BAD_REQUEST else None
    body = json.dumps(problem_body(status, detail, instance=path, trace=trace, field_errors=fields)).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        f"{HEADER}: {trace}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
    )
    return "\r\n".join((*head, "", "")).encode("latin-1") + body
