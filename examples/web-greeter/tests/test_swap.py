"""The process as an agent runs it: socket on descriptor 3, SIGTERM under load, no request lost."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

MODULE = Path(__file__).parent.parent


def start(listener: socket.socket, version: str, **environment: str) -> subprocess.Popen[str]:
    """A process of the module, with the listener as descriptor 3 and LISTEN_PID set to its own pid."""
    shim = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.set_inheritable(3, True)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'greeter'])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", shim, str(listener.fileno())],
        cwd=MODULE,
        pass_fds=[listener.fileno()],
        env={"PATH": os.environ.get("PATH", ""), "LISTEN_FDS": "1", "HOTSWAP_VERSION": version, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Client(threading.Thread):
    """Asks again and again, on one connection as long as the server keeps it, or on a new one each time."""

    def __init__(self, port: int, keep: bool, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []
        self._port, self._keep, self._stop_asking = port, keep, stop

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop_asking.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
                connection.request("GET", "/", headers={} if self._keep else {"Connection": "close"})
                response = connection.getresponse()
                body = response.read().decode()
                version = response.headers["X-Module-Version"]
                if response.status != 200 or f"(version {version})" not in body:
                    self.failures.append(f"{response.status} {body}")
                self.answers[version] = self.answers.get(version, 0) + 1
                if not self._keep or response.headers.get("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection = None
        if connection is not None:
            connection.close()


class Swapped(unittest.TestCase):
    def setUp(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listener.getsockname()[1]
        self.processes: list[subprocess.Popen[str]] = []

    def tearDown(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.listener.close()

    def start(self, version: str, **environment: str) -> subprocess.Popen[str]:
        process = start(self.listener, version, **environment)
        self.processes.append(process)
        assert process.stdout is not None
        self.assertIn(f"{version} serves", process.stdout.readline())
        return process

    def ended(self, process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, output)
        return output

    def test_sixteen_clients_lose_nothing_when_processes_take_over(self) -> None:
        stop = threading.Event()
        old = self.start("1.0.0")
        clients = [Client(self.port, keep=number % 2 == 0, stop=stop) for number in range(16)]
        for client in clients:
            client.start()
        for number in range(1, 4):
            before = sum(sum(client.answers.values()) for client in clients)
            self.wait_for(lambda count=before: sum(sum(c.answers.values()) for c in clients) > count + 100)
            new = self.start(f"1.{number}.0")
            old.send_signal(signal.SIGTERM)
            self.assertIn("0 connections cut", self.ended(old))
            old = new
        stop.set()
        for client in clients:
            client.join(60)
        self.assertEqual([client.failures for client in clients if client.failures], [])
        self.assertEqual({v for c in clients for v in c.answers}, {"1.0.0", "1.1.0", "1.2.0", "1.3.0"})

    def test_an_idle_connection_gets_one_more_answer_after_sigterm(self) -> None:
        process = self.start("1.0.0")
        idle = self.connect()
        idle.request("GET", "/")
        self.assertIsNone(self.read(idle).headers.get("Connection"))
        process.send_signal(signal.SIGTERM)
        self.wait_for_line(process, "SIGTERM: 1 connections to end")
        idle.request("GET", "/")
        self.assertEqual(self.read(idle).headers["Connection"], "close")
        self.ended(process)

    def test_an_idle_connection_that_stays_idle_is_closed_after_the_grace_time(self) -> None:
        process = self.start("1.0.0", IDLE_GRACE_SECONDS="0.2")
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as idle:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(idle.recv(1), b"")
        self.assertIn("0 connections cut", self.ended(process))

    def test_a_request_that_arrives_in_parts_is_answered_after_sigterm(self) -> None:
        process = self.start("1.0.0")
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.sendall(b'POST /greet HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"name"')
            process.send_signal(signal.SIGTERM)
            self.wait_for_line(process, "SIGTERM: 1 connections to end")
            client.sendall(b': "Ada"}')
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertIn(b"Hello, Ada! (version 1.0.0)", answer)
        self.ended(process)

    def test_metrics_and_health_over_the_wire(self) -> None:
        self.start("1.0.0")
        connection = self.connect()
        for path in ("/", "/nowhere", "/healthz", "/metrics"):
            connection.request("GET", path)
            text = self.read(connection).body
        self.assertRegex(text, r'http_requests_total\{method="GET",route="/",code="200"\} 1\n')
        self.assertNotIn("healthz", text)
        started = re.search(r"process_start_time_seconds ([0-9.e+]+)", text)
        assert started is not None
        self.assertLess(abs(float(started[1]) - time.time()), 600)

    def test_what_http_does_not_allow(self) -> None:
        self.start("1.0.0")
        for request, status in (
            (b"nonsense\r\n\r\n", b"400"),
            (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
            (b"POST /greet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
            (b"POST /greet HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
            (b"POST /greet HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        ):
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
                client.sendall(request)
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            self.assertIn(status, answer.split(b"\r\n")[0], request)
            self.assertIn(b"(version 1.0.0)", answer, request)

    def test_it_serves_and_is_not_healthy_without_its_greetings(self) -> None:
        self.start("1.2.0", GREETINGS_FILE="greetings-2.json")
        connection = self.connect()
        connection.request("GET", "/healthz")
        answer = self.read(connection)
        self.assertEqual(answer.status, 503)
        self.assertIn("greetings-2.json", answer.body)

    def test_a_socket_for_somebody_else_is_refused(self) -> None:
        process = subprocess.run(
            [sys.executable, "-m", "greeter"],
            cwd=MODULE,
            env={"LISTEN_FDS": "1", "LISTEN_PID": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual(process.returncode, 2)
        self.assertIn("start without a shell", process.stderr)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.addCleanup(connection.close)
        return connection

    def read(self, connection: http.client.HTTPConnection) -> _Read:
        response = connection.getresponse()
        return _Read(response.status, response.headers, response.read().decode())

    def wait_for(self, condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline, "waited for in vain")
            time.sleep(0.01)

    def wait_for_line(self, process: subprocess.Popen[str], text: str) -> None:
        assert process.stdout is not None
        self.assertIn(text, process.stdout.readline())


class _Read:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: str) -> None:
        self.status, self.headers, self.body = status, headers, body


if __name__ == "__main__":
    unittest.main()
