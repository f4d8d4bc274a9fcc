"""(b) Fan-out: 1 MB to 100 nodes, Direct, against plain concurrent HTTP uploads to the same number of listeners.

The yardstick does the least that counts as delivered: ten uploads at a time, each received, its SHA-256 compared,
written and fsynced by a listener of its own.
"""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.figures import Figure, Section, median
from tests.benchmarks.memory import MemoryUse, measure_memory
from tests.benchmarks.stack import stack

NODES = 100
WINDOW = 10
ROUNDS = 3
SHORTFALL = """
Why it falls short. A node operation costs about 34 ms of CPU over all processes on this machine, the yardstick's upload
2 ms: 14 in the agent (a download over mutual TLS, SHA-256 and signature, safe unpacking with fsync of file and folder,
four durable journal steps), 8 in the deploy worker (Celery's delivery and events, claim, call, outcome, validation),
4 in the agents' listener, the rest in PostgreSQL, Flower and Valkey. A hundred agents are a hundred processes that
share two cores here, which real nodes do not: with a machine each, the orchestrator's 20 ms an operation would remain.
What would help: fewer journal commits for modules without hooks, a listener that serves artifacts without Python.
""".strip()
MANIFEST = "name: fan-out\nversion: {version}\nkind: files\n"


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Takes a PUT, checks it, puts it on disk."""

    folder = Path()
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        good = hashlib.sha256(content).hexdigest() == self.headers["X-Digest"]
        target = self.folder / f"upload-{self.connection.getsockname()[1]}"
        with target.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.send_response(200 if good else 422)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: this is a yardstick."""


def listen(folder: str, count: str) -> None:
    """`count` listeners in one process, one thread each, ports printed one a line."""
    import threading

    _Receiver.folder = Path(folder)
    listeners = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) for _ in range(int(count))]
    for listener in listeners:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        print(listener.server_address[1], flush=True)
    sys.stdin.read()


def _upload(port: int, content: bytes, digest: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("PUT", "/", content, {"X-Digest": digest})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the yardstick answered {answer.status}")


def _yardstick(ports: list[int], content: bytes) -> float:
    digest = hashlib.sha256(content).hexdigest()
    begun = time.monotonic()
    with ThreadPoolExecutor(WINDOW) as pool:
        for _ in pool.map(lambda port: _upload(port, content, digest), ports):
            pass
    return time.monotonic() - begun


def _module(folder: Path, version: str) -> Path:
    module = folder / version
    module.mkdir()
    (module / "hotswap.yaml").write_text(MANIFEST.format(version=version))
    (module / "content").write_bytes(os.urandom(1024 * 1024))
    return module


def measure(folder: Path) -> tuple[Section, MemoryUse]:
    (folder / "uploads").mkdir()
    command = "import sys; from tests.benchmarks.fanout import listen; listen(*sys.argv[1:])"
    receivers = subprocess.Popen(
        [sys.executable, "-c", command, str(folder / "uploads"), str(NODES)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert receivers.stdout is not None
    ports = [int(receivers.stdout.readline()) for _ in range(NODES)]
    pairs = []
    try:
        with stack(folder / "fanout", f"development={NODES}") as running:
            for number in range(ROUNDS + 1):
                version = f"1.0.{number}"
                running.publish(_module(folder, version))
                content = os.urandom(1024 * 1024)
                bare = _yardstick(ports, content)
                begun = time.monotonic()
                shown = running.ended(running.submit("fan-out", version, "Development"))
                ours = time.monotonic() - begun
                if shown["status"] != "Succeeded":
                    raise RuntimeError(f"the deployment ended {shown['status']}: {shown['stages']}")
                if number:  # the first one warms both up
                    pairs.append((ours, bare))
            memory = measure_memory(running.folder, running.pid)
    finally:
        receivers.communicate("")
    ratio = median([ours / bare for ours, bare in pairs])
    return (
        Section(
            "(b) Fan-out",
            f"A release of 1 MB (kind files) to {NODES} nodes, Direct, window {WINDOW}: from submission to Succeeded,"
            " validation on every node included. Yardstick: plain concurrent HTTP uploads, window"
            f" {WINDOW}, with checksum and fsync, to {NODES} listeners of one process.",
            (
                Figure(
                    "time",
                    f"{median([ours for ours, _ in pairs]):.1f} s",
                    f"{median([bare for _, bare in pairs]):.1f} s",
                    ratio,
                    "1.5, not over 4",
                    ratio <= 4,
                ),
            ),
            shortfall=SHORTFALL,
        ),
        memory,
    )
