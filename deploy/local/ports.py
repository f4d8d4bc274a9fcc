"""Ports on the loopback interface, kept over restarts so that what was configured with one goes on working."""

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


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Whether a server could listen there now (connections of an ended one that linger do not hinder it)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


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
