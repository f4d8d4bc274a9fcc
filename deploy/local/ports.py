"""Ports on the loopback interface, kept over restarts so that what was configured with one goes on working."""

import errno
import json
import socket
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on now. Somebody else may take one before it is bound."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen there now (connections of an ended one that linger do not hinder it)."""
    return _refusal(port) is None


def why_unusable(port: int) -> str | None:
    """One line that says why nobody can listen on the public port and what to do, None where a server could."""
    match _refusal(port):
        case None:
            return None
        case PermissionError():
            return f"port {port} is not for ordinary users: choose one from 1024 on with --port"
        case OSError(errno=errno.EADDRINUSE):
            return f"port {port} on {LOOPBACK} is in use: stop what listens there, or choose another with --port"
        case error:
            return f"port {port} on {LOOPBACK} cannot be used ({error.strerror}): choose another with --port"


def _refusal(port: int) -> OSError | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def kept_ports(file: Path, names: list[str]) -> dict[str, int]:
    """A port for each name: the one of last time where it is still free, else a free one, kept in `file`."""
    try:
        known = {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        known = {}
    chosen: dict[str, int] = {}
    for name, fresh in zip(names, free_ports(len(names)), strict=True):
        port = known.get(name, 0)
        chosen[name] = port if 0 < port < 65536 and port not in chosen.values() and is_free(port) else fresh
    new = file.with_suffix(".new")
    new.write_text(json.dumps(chosen))
    new.rename(file)
    return chosen
