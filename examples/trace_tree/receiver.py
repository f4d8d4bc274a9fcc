"""A small OTLP/HTTP receiver: takes `POST /v1/traces` in both encodings, and hands on what it got."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from google.protobuf.message import DecodeError

from examples.trace_tree.received import ReceivedSpan, of_json, of_protobuf

LARGEST = 16 * 1024 * 1024
Take = Callable[[Sequence[ReceivedSpan]], None]


class Receiver:
    """Listens on 127.0.0.1 while it is entered. `take` is called by one thread at a time."""

    def __init__(self, take: Take, port: int = 0) -> None:
        lock = threading.Lock()

        class Handler(_Handler):
            def received(self, spans: Sequence[ReceivedSpan]) -> None:
                with lock:
                    take(spans)

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="otlp", daemon=True)

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def received(self, spans: Sequence[ReceivedSpan]) -> None:
        raise NotImplementedError

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST:
            self._answer(413)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if self.path != "/v1/traces":
            self._answer(404)
            return
        try:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            machine = self.headers.get("Content-Type", "").startswith("application/x-protobuf")
            spans = of_protobuf(body) if machine else of_json(body)
        except (ValueError, KeyError, TypeError, DecodeError, OSError, EOFError):
            self._answer(400)
            return
        self.received(spans)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""
