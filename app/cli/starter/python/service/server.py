"""Connections: taken from the inherited socket, and brought to an orderly end at SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from service.answers import Service

_FIRST_INHERITED = 3  # sd_listen_fds(3)


def listener(environment: Mapping[str, str]) -> socket.socket:
    """The socket that HotSwap hands over (LISTEN_FDS, systemd's protocol); by hand one on 127.0.0.1 and PORT."""
    if "LISTEN_FDS" in environment:
        return socket.socket(fileno=_FIRST_INHERITED)
    return socket.create_server(("127.0.0.1", int(environment.get("PORT", "8080"))))


class Handler(BaseHTTPRequestHandler):
    """One request for each connection (HTTP/1.0), so that no idle connection outlives a swap."""

    timeout = 10  # seconds for a client to say what it wants

    def do_GET(self) -> None:
        """Every method comes here; the service tells them apart."""
        service: Service = self.server.service  # type: ignore[attr-defined]  # it is a Server
        answer = service.answer(self.command, self.path)
        body = answer.text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the standard library's names

    def log_message(self, format: str, *args: object) -> None:
        """No line for each request: they are counted."""


class Server(ThreadingHTTPServer):
    """Serves on a socket that somebody else made; at its end it waits for the requests that it has begun."""

    daemon_threads = False

    def __init__(self, taken: socket.socket, service: Service) -> None:
        super().__init__(taken.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = taken
        self.service = service

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end what was begun."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        print(f"{self.service.name} {self.service.version} serves, process {os.getpid()}", flush=True)
        self.serve_forever(poll_interval=0.1)
        self.server_close()
        print("ended", flush=True)

    def _stop(self, _number: int, _frame: object) -> None:
        threading.Thread(target=self.shutdown).start()  # it waits for serve_forever, which this interrupts

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away before its answer is nobody's fault."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)
