"""A module to swap: a threaded HTTP server on descriptor 3 (or PORT), which does to its listener what it is asked to.

    service.py VERSION [bad] [defer]

GET / answers the version (503 when bad); GET /do/NAME misbehaves as NAME says and answers afterwards.
"""

import array
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

VERSION, FLAGS = sys.argv[1], sys.argv[2:]
STOPPING = threading.Event()


def listener() -> socket.socket:
    if "PORT" in os.environ:
        return socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=1024)
    assert os.environ["LISTEN_PID"] == str(os.getpid())
    return socket.socket(fileno=3)


def shut_down() -> None:
    LISTENER.shutdown(socket.SHUT_RDWR)


def close() -> None:
    os.close(3)


def detach() -> None:
    LISTENER.setsockopt(socket.SOL_SOCKET, 68, 0)  # SO_DETACH_REUSEPORT_BPF


def replace() -> None:
    """Everything to this process's own place, if it sits on the second one."""
    code = array.array("B", struct.pack("HBBI", 0x06, 0, 0, 1) + struct.pack("HBBI", 0x06, 0, 0, 2))
    LISTENER.setsockopt(socket.SOL_SOCKET, 51, struct.pack("HxxxxxxP", 2, code.buffer_info()[0]))


def nonblocking() -> None:
    os.set_blocking(3, False)


def fork_away() -> None:
    """The parent ends, the child goes on accepting in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        serve()
    os._exit(0)


def bind_alike() -> None:
    """Joins the group itself."""
    rogue = socket.socket()
    rogue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    rogue.bind(LISTENER.getsockname())
    rogue.listen(16)
    ROGUES.append(rogue)


def timeouts() -> None:
    LISTENER.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000))
    LISTENER.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    LISTENER.listen(1)


ROGUES: list[socket.socket] = []
ALL = (shut_down, close, detach, replace, nonblocking, fork_away, bind_alike, timeouts)
DEEDS = {deed.__name__: deed for deed in ALL}


def answer(connection: socket.socket, request: bytes) -> bool:
    """One request; False when the connection is to be closed."""
    path = request.split(b" ")[1].decode()
    status, body = ("503 Bad", VERSION) if "bad" in FLAGS else ("200 OK", VERSION)
    deed = path.removeprefix("/do/") if path.startswith("/do/") else ""
    if path.startswith("/slow"):
        time.sleep(0.5)
    last = STOPPING.is_set()
    close_header = "Connection: close\r\n" if last else ""
    text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{close_header}\r\n{body}"
    if deed and deed != "fork_away":
        DEEDS[deed]()
    connection.sendall(text.encode())
    if deed == "fork_away":
        connection.close()
        fork_away()
    return not last


def converse(connection: socket.socket) -> None:
    with connection:
        waiting = b""
        connection.settimeout(0.1)
        while True:
            try:
                data = connection.recv(65536)
            except TimeoutError:
                if STOPPING.is_set() and time.monotonic() > LINGER_UNTIL[0]:
                    return
                continue
            except OSError:
                return
            if not data:
                return
            waiting += data
            while b"\r\n\r\n" in waiting:
                request, waiting = waiting.split(b"\r\n\r\n", 1)
                try:
                    if not answer(connection, request):
                        return
                except OSError:
                    return


def serve() -> None:
    """Accepts nothing more once it has been told to stop: who waits then is somebody else's."""
    LISTENER.setblocking(False)
    while True:
        ready, _, _ = select.select([LISTENER.fileno(), WAKE[0]], [], [])
        if STOPPING.is_set():
            return
        if not ready:
            continue
        try:
            connection, _ = LISTENER.accept()
        except BlockingIOError:
            continue
        except OSError:
            STOPPING.wait()
            return
        connection.setblocking(True)
        threading.Thread(target=converse, args=(connection,), daemon=False).start()


def stop(*_: object) -> None:
    """Idle keep-alive connections get a while in which the next request is answered with `Connection: close`."""
    LINGER_UNTIL[0] = time.monotonic() + 8.0
    STOPPING.set()
    os.write(WAKE[1], b".")


LINGER_UNTIL = [0.0]
WAKE = os.pipe()
LISTENER = listener()
if "defer" in FLAGS:
    LISTENER.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
if "deaf" in FLAGS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
signal.signal(signal.SIGTERM, stop)
print("up", VERSION, flush=True)
serve()
