"""Packets between agent and holder: JSON in one SOCK_SEQPACKET message, descriptors beside it."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.holder.protocol import SOCKET_NAME, BadRequest

LARGEST = 400_000  # bytes; twice the usual net.core.wmem_max, which is what the kernel allows after doubling
_PIECE = 64_000  # characters; quoting makes them longer
MOST_DESCRIPTORS = 250  # SCM_MAX_FD is 253


def new_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST // 2)
    return sock


def bind(sock: socket.socket, folder: Path) -> None:
    """Binds the holder's address in `folder`, replacing a stale one; only the owner may connect. Raises OSError."""
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        with _Short(folder) as path:
            sock.bind(path)
    finally:
        os.umask(before)


def connect(sock: socket.socket, folder: Path) -> None:
    """Raises OSError: FileNotFoundError or ConnectionRefusedError where no holder answers."""
    with _Short(folder) as path:
        sock.connect(path)


class _Short:
    """The socket's path through a descriptor of the folder: a Unix address has room for 107 bytes only."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}/{SOCKET_NAME}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def encode(message: dict[str, Any]) -> bytes:
    """Raises BadRequest for a message that fits no packet."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > LARGEST // 2:
        raise BadRequest(f"a message of {len(data)} bytes is too large (at most {LARGEST // 2})")
    return data


def parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer of any size as messages that fit: itself, or pieces of its text that `join` puts together."""
    text = json.dumps(message, separators=(",", ":"))
    if len(text) <= _PIECE:
        return [message]
    pieces = [text[i : i + _PIECE] for i in range(0, len(text), _PIECE)]
    return [{"id": message["id"], "piece": piece, "last": piece is pieces[-1]} for piece in pieces]


def join(pieces: Sequence[str]) -> dict[str, Any]:
    """The inverse of `parts`."""
    message = json.loads("".join(pieces))
    assert isinstance(message, dict)
    return message


def send(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """One packet. Raises BlockingIOError when the peer does not read, OSError when it is gone."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One packet and the descriptors with it (ours to close), None at the end. Raises BlockingIOError, OSError, and
    BadRequest for what is no JSON object (its descriptors are closed)."""
    data, ancillary, flags, _ = sock.recvmsg(
        LARGEST, socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data:
        close_all(fds)
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise BadRequest("a packet was cut off")
        message = json.loads(data)
        if not isinstance(message, dict):
            raise BadRequest("a message has to be an object")
    except (ValueError, RecursionError) as error:
        close_all(fds)
        raise BadRequest(f"not JSON: {error}") from error
    except BadRequest:
        close_all(fds)
        raise
    return message, list(fds)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def peer(sock: socket.socket) -> tuple[int, int]:
    """(pid, uid) of the process at the other end when it connected or listened."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
