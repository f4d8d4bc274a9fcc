"""What the service answers, also through real HTTP over a pair of sockets (a sandbox may forbid to listen)."""

from __future__ import annotations

import socket
import tempfile
import unittest
from pathlib import Path

from service.answers import Service
from service.server import Handler


class Answers(unittest.TestCase):
    def setUp(self) -> None:
        self.service = Service("my-module", "1.2.3")

    def test_the_page_names_module_and_version(self) -> None:
        answer = self.service.answer("GET", "/")
        self.assertEqual((answer.status, answer.text), (200, "my-module 1.2.3\n"))

    def test_what_is_not_there_is_404_and_other_methods_are_405(self) -> None:
        self.assertEqual(self.service.answer("GET", "/nothing").status, 404)
        self.assertEqual(self.service.answer("POST", "/").status, 405)

    def test_users_requests_are_counted_and_health_checks_are_not(self) -> None:
        for path in ("/", "/", "/nothing", "/healthz", "/metrics"):
            self.service.answer("GET", path)
        lines = self.service.answer("GET", "/metrics").text.splitlines()
        self.assertIn('http_requests_total{code="200"} 2', lines)
        self.assertIn('http_requests_total{code="404"} 1', lines)
        self.assertIn("http_request_duration_seconds_count 3", lines)

    def test_it_is_not_well_without_its_data_folder(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.service.data = folder
            self.assertEqual(self.service.answer("GET", "/healthz").status, 200)
            self.service.data = str(Path(folder) / "gone")
            self.assertEqual(self.service.answer("GET", "/healthz").status, 503)


class Http(unittest.TestCase):
    def test_a_request_over_a_socket(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            ours.shutdown(socket.SHUT_WR)
            Handler(theirs, ("here", 0), self)  # type: ignore[arg-type]  # it asks its server for the service only
            theirs.close()
            with ours.makefile("rb") as file:
                head, _, body = file.read().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.0 200"))
        self.assertEqual(body, b"my-module 1.2.3\n")

    service = Service("my-module", "1.2.3")
