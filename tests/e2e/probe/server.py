"""The module that the tests deploy: answers its version, and misbehaves as `behaviour.json` beside it says.

Each start is a line in HOTSWAP_DATA_DIR/starts: version and process id. A gated release is unwell until there is a file
HOTSWAP_DATA_DIR/open-VERSION, a slow one for SLOWNESS seconds.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from pathlib import Path

SLOWNESS = 0.7
IDLE_GRACE = 10.0  # seconds in which an idle connection may still send a request after SIGTERM

behaviour = json.loads(Path("behaviour.json").read_text())
manner = behaviour["manner"]
version = os.environ["HOTSWAP_VERSION"]
data = Path(os.environ["HOTSWAP_DATA_DIR"])
started = time.monotonic()
stopping = threading.Event()


def main() -> int:
    with (data / "starts").open("a") as starts:
        starts.write(f"{version} {os.getpid()}\n")
    print(f"{version} starts as {manner}", flush=True)
    if manner == "exits":
        print("the licence file is missing", flush=True)
        return 3
    listener = listening_socket()
    if behaviour["deferAccept"]:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    serve(listener)
    return 0


def listening_socket() -> socket.socket:
    """What was handed over, or with `handover: port` one of our own."""
    if "LISTEN_FDS" in os.environ:
        return socket.socket(fileno=3)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ["PORT"])))
    listener.listen(512)
    return listener


def serve(listener: socket.socket) -> None:
    """Until SIGTERM; then what is connected is answered once more."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGTERM, lambda *_: None if manner == "stubborn" else stopping.set())
    listener.setblocking(False)
    threads = []
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while not stopping.is_set():
            for key, _ in selector.select():
                if key.fd == woken:
                    os.read(woken, 64)
                    continue
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    continue
                threads.append(threading.Thread(target=converse, args=(connection,), daemon=True))
                threads[-1].start()
    listener.close()
    deadline = time.monotonic() + IDLE_GRACE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    print(f"{version} ends", flush=True)


def converse(connection: socket.socket) -> None:
    """One connection, request by request."""
    connection.settimeout(120)
    buffer = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in buffer:
                try:
                    more = connection.recv(4096)
                except OSError:
                    return
                if not more:
                    return
                buffer += more
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            status, body = answer(head.split()[1].decode())
            last = stopping.is_set() or b"onnection: close" in head
            close = "Connection: close\r\n" if last else ""
            try:
                connection.sendall(f"HTTP/1.1 {status}\r\n{close}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            except OSError:
                return
            if last:
                return


def answer(path: str) -> tuple[str, bytes]:
    """Status and body. Unwell releases say so at every path, so that one answer of them to a user would be seen."""
    if unwell():
        if path == "/healthz":
            print("unhealthy: the orders database does not answer", flush=True)
        return "503 Unwell", version.encode()
    return "200 OK", version.encode()


def unwell() -> bool:
    if manner == "gated":
        return not (data / f"open-{version}").exists()
    if manner == "slow":
        return time.monotonic() - started < SLOWNESS
    return bool(manner == "unwell")


if __name__ == "__main__":
    sys.exit(main())
