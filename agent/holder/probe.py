"""The agent's way to the idle side: a connection from the source that the steering program sends there."""

from __future__ import annotations

import socket
import struct

from agent.holder.protocol import ProbeSource


def open_socket(source: ProbeSource) -> socket.socket:
    """A non-blocking socket bound to the probe's source, not yet connected (`loop.sock_connect` to `target(source)`).

    A fixed source port is bound with SO_REUSEADDR beside the holder's own, and closing sends RST: a TIME_WAIT would
    bar the next probe, which has the same four-tuple. So read the answer to its end before closing. Raises OSError.
    """
    family = socket.AF_INET6 if ":" in source.target_host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source.source_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.bind((source.source_host, source.source_port))
    except OSError:
        sock.close()
        raise
    return sock


def target(source: ProbeSource) -> tuple[str, int]:
    """Where `open_socket(source)` has to connect to."""
    return source.target_host, source.target_port
