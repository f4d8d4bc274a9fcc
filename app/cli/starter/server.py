"""A small web service that HotSwap can swap without a failed request.

It answers on the socket that is handed over as file descriptor 3, and on SIGTERM ends what it has begun and exits.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODULE = os.environ.get("HOTSWAP_MODULE", "development")
VERSION = os.environ.get("HOTSWAP_VERSION", "development")
STARTED = time.time()


class Counter:
    """Answers by status code, for /metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[int, int] = {}

    def count(self, code: int) -> None:
        with self._lock:
            self._answers[code] = self._answers.get(code, 0) + 1

    def text(self) -> str:
        with self._lock:
            answers = sorted(self._answers.items())
        resident = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{code="{code}"}} {count}' for code, count in answers]
        lines += ["# TYPE process_cpu_seconds_total counter", f"process_cpu_seconds_total {time.process_time()}"]
        lines += ["# TYPE process_resident_memory_bytes gauge", f"process_resident_memory_bytes {resident}"]
        lines += ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {STARTED}", ""]
        return "\n".join(lines)


answers = Counter()


class Handler(BaseHTTPRequestHandler):
    """One request for each connection (HTTP/1.0), so that no idle connection outlives a swap."""

    timeout = 10  # seconds for a client to say what it wants

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, f"{MODULE} {VERSION}\n")
        elif self.path == "/healthz":
            self._answer(200, "ok\n")
        elif self.path == "/metrics":
            self._answer(200, answers.text())
        else:
            self._answer(404, "there is nothing here\n")

    def _answer(self, code: int, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        answers.count(code)

    def log_message(self, format: str, *args: object) -> None:
        """No line for each request."""


class Server(ThreadingHTTPServer):
    """Serves on a socket that somebody else made; at its end it waits for the requests that it has begun."""

    daemon_threads = False

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away before its answer is nobody's fault."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve until SIGTERM."""
    if "LISTEN_FDS" in os.environ:
        listener = socket.socket(fileno=3)
    else:
        listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8080"))))
    server = Server(listener)

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for serve_forever, which this interrupts

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"{MODULE} {VERSION} serves", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
