"""The module that tests deploy: answers its version on the inherited socket, or misbehaves as its argument says."""

import os
import signal
import socket
import sys
import threading
import time

behaviour = sys.argv[1]
version = os.environ["HOTSWAP_VERSION"]
stopping = threading.Event()
print(f"{version} starts as {behaviour}, pid {os.getpid()}", flush=True)

if behaviour == "exits":
    print("no licence found", flush=True)
    sys.exit(3)
if behaviour == "forks" and os.fork():
    os._exit(0)  # a daemon of old: the child goes on with the socket
if behaviour == "shuts":
    socket.socket(fileno=3).shutdown(socket.SHUT_RDWR)
    time.sleep(3600)
if behaviour == "deaf":
    time.sleep(3600)
if behaviour == "closes":
    os.close(3)
    time.sleep(3600)


def terminate(*_: object) -> None:
    stopping.set()


signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stubborn" else terminate)
if "LISTEN_FDS" in os.environ:
    listener = socket.socket(fileno=3)
else:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ["PORT"])))
    listener.listen(512)
listener.settimeout(0.1)
requests = 0


def answer(connection: socket.socket) -> None:
    global requests
    connection.settimeout(30)
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
            path = head.split()[1].decode()
            status = "503 Unwell" if behaviour == "unwell" else "200 OK"
            requests += 1
            body = version.encode()
            if path == "/metrics":
                body = f'http_requests_total{{status="200"}} {requests}\n'.encode()
            elif path == "/environment":
                body = "\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())).encode()
            elif path == "/deafen":
                listener.shutdown(socket.SHUT_RDWR)
            elif path == "/crash":
                os._exit(9)
            last = stopping.is_set() or b"onnection: close" in head
            close = "Connection: close\r\n" if last else ""
            connection.sendall(f"HTTP/1.1 {status}\r\n{close}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            if last:
                return


threads = []
while not stopping.is_set():
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        continue
    except OSError:  # it was shut down
        time.sleep(0.1)
        continue
    thread = threading.Thread(target=answer, args=(connection,))
    thread.start()
    threads.append(thread)
listener.close()
for thread in threads:
    thread.join()
print(f"{version} ends", flush=True)
