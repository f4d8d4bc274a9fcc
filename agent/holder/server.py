"""The holder's Unix socket: calls come in, answers, events and listeners go out."""

from __future__ import annotations

import os
import select
import signal as signals
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from socket import socket
from typing import Any

from agent.holder import events, snapshot, wire
from agent.holder.holder import Holder
from agent.holder.listeners import Listeners
from agent.holder.loop import Loop, Watch
from agent.holder.protocol import (
    BadRequest,
    Event,
    HolderError,
    ProcessIdentity,
    ProcessSpec,
    Proof,
    Side,
    Spawned,
    StartFailed,
)
from agent.holder.report import report
from agent.holder.snapshot import Snapshot

_MOST_QUEUED = 128  # packets for an agent that does not read; then it is cut off, and asks for the state again
_AT_ONCE = 32


class Connection:
    """One agent."""

    def __init__(
        self, loop: Loop, sock: socket, receive: Callable[[Connection, dict[str, Any], list[int]], None]
    ) -> None:
        self._sock = sock
        self._receive = receive
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self.open = True
        self.told: dict[str, tuple[Snapshot, Sequence[socket]]] = {}
        self._watch: Watch = loop.watch(sock.fileno(), select.EPOLLIN, self._ready)

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Never blocks and never raises; a dead or deaf peer is dropped."""
        if not self.open:
            return
        try:
            data = wire.encode(message)
            if not self._queue:
                wire.send(self._sock, data, fds)
                return
        except BlockingIOError:
            pass
        except (OSError, BadRequest):
            self.close()
            return
        self._queue.append((data, [os.dup(fd) for fd in fds]))
        if len(self._queue) > _MOST_QUEUED:
            self.close()
        else:
            self._watch.change(select.EPOLLIN | select.EPOLLOUT)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._watch.end()
            self._sock.close()
            for _, fds in self._queue:
                wire.close_all(fds)
            self._queue.clear()

    def _ready(self, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                self._flush()
            if mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read()
        except BlockingIOError:
            pass
        except (OSError, BadRequest):
            self.close()

    def _flush(self) -> None:
        while self._queue:
            data, fds = self._queue[0]
            wire.send(self._sock, data, fds)
            wire.close_all(fds)
            self._queue.popleft()
        self._watch.change(select.EPOLLIN)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if not self.open:
                return
            packet = wire.receive(self._sock)
            if packet is None:
                self.close()
                return
            self._receive(self, *packet)


class Server:
    """Accepts agents of the same user and runs their calls, one after the other."""

    def __init__(self, loop: Loop, folder: Path, listener: socket, open_files: int) -> None:
        self._loop = loop
        self._listener = listener
        self._connections: list[Connection] = []
        self._begun = False
        self.holder = Holder(loop, folder, open_files, self._announce, self._share)
        loop.watch(listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, _: int) -> None:
        for _turn in range(_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            self._greet(sock)

    def _greet(self, sock: socket) -> None:
        if wire.peer(sock)[1] not in (0, os.geteuid()):
            sock.close()
            return
        sock.setblocking(False)
        self._connections = [connection for connection in self._connections if connection.open]
        connection = Connection(self._loop, sock, self._received)
        self._connections.append(connection)
        connection.send({"hello": str(self.holder.identity), "begun": self._begun})
        if self._begun:
            for listeners in self.holder.addresses.all():
                self._share_with(connection, listeners)

    def _announce(self, event: Event) -> None:
        message = events.to_wire(event)
        for connection in self._connections:
            connection.send(message)

    def _share(self, listeners: Listeners) -> None:
        for connection in self._connections:
            self._share_with(connection, listeners)

    @staticmethod
    def _share_with(connection: Connection, listeners: Listeners) -> None:
        its, fds = snapshot.take(listeners)
        connection.send({"listeners": its.to_wire()}, fds)

    def _received(self, connection: Connection, message: dict[str, Any], fds: list[int]) -> None:
        number = message.get("id")

        def answer(result: Any) -> None:
            if isinstance(result, HolderError):
                connection.send({"id": number, "error": {"code": result.code, "message": str(result)}})
            else:
                for part in wire.parts({"id": number, "result": result}):
                    connection.send(part)

        try:
            self._call(connection, str(message.get("call")), message, fds, answer)
        except HolderError as error:
            answer(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            answer(BadRequest(f"{message.get('call')}: {error!r}"))
        except Exception as error:  # a defect of ours: the agent hears of it, the holder goes on
            report(f"{message.get('call')} failed", error)
            answer(HolderError(f"{message.get('call')}: {error!r}"))

    def _call(
        self, connection: Connection, call: str, message: dict[str, Any], fds: list[int], answer: Callable[[Any], None]
    ) -> None:
        if call == "restore":
            its, given = _restored(message, fds)
            connection.told[its.key] = (its, given)
            answer(None)
            return
        wire.close_all(fds)
        if call == "begin":
            self._begin(connection)
            answer(None)
        elif not self._begun:
            raise BadRequest("first: begin")
        elif call == "spawn":
            self.holder.spawn(ProcessSpec.from_wire(message["spec"]), lambda done: answer(_spawned(done)))
        elif call == "shutdown":
            for other in self._connections:
                other.send({"stopping": True})
            self.holder.shutdown(float(message["drainTimeout"]), lambda: self._end(answer))
        else:
            answer(_SIMPLE[call](self.holder, message))
            if call == "release":
                for other in self._connections:
                    other.send({"released": message["key"]})

    def _begin(self, connection: Connection) -> None:
        told, connection.told = connection.told, {}
        if not self._begun:
            self._begun = True
            self.holder.begin(told)
            return
        for _, given in told.values():  # this holder has them already
            for sock in given:
                sock.close()

    def _end(self, answer: Callable[[Any], None]) -> None:
        answer(None)
        self._loop.stop()


def _restored(message: Mapping[str, Any], fds: list[int]) -> tuple[Snapshot, list[socket]]:
    """Takes the descriptors over, or closes them. Raises BadRequest and what a malformed snapshot raises."""
    given: list[socket] = []
    try:
        its = Snapshot.from_wire(message["snapshot"])
        if len(fds) != len(its.numbers):
            raise BadRequest("numbers and descriptors differ")
        while fds:
            given.append(_socket_of(fds[-1]))
            fds.pop()
    except BaseException:
        wire.close_all(fds)
        for sock in given:
            sock.close()
        raise
    return its, given[::-1]


def _socket_of(fd: int) -> socket:
    try:
        return socket(fileno=fd)
    except OSError as error:
        raise BadRequest(f"a descriptor is no socket: {error}") from error


def _spawned(result: Spawned | StartFailed) -> Any:
    if isinstance(result, StartFailed):
        return result
    return {
        "identity": str(result.identity), "port": result.port,
        "forwarder": str(result.forwarder) if result.forwarder else None, "limitsBy": result.limits_by,
    }  # fmt: skip


def _state(holder: Holder, _: Mapping[str, Any]) -> Any:
    state = holder.state()
    return {
        "holder": str(state.holder), "keys": [key.to_wire() for key in state.keys.values()],
        "processes": [process.to_wire() for process in state.processes], "forwarding": state.forwarding,
    }  # fmt: skip


def _proof(proof: Proof) -> Any:
    return asdict(proof)


def _who(message: Mapping[str, Any]) -> ProcessIdentity:
    return ProcessIdentity.parse(message["identity"])


_SIMPLE: Mapping[str, Callable[[Holder, Mapping[str, Any]], Any]] = {
    "state": _state,
    "listen": lambda holder, m: holder.listen(m["key"], m["host"], int(m["port"])),
    "release": lambda holder, m: holder.release(m["key"]),
    "prove": lambda holder, m: _proof(holder.addresses.prove(holder.addresses.get(m["key"]))),
    "steer": lambda holder, m: _proof(holder.steer(m["key"], Side(m["side"]))),
    "signal": lambda holder, m: holder.signal(_who(m), signals.Signals(m["signal"]), bool(m["group"])),
    "forget": lambda holder, m: holder.forget(_who(m)),
    "retire": lambda holder, m: holder.retire(_who(m), float(m["quiet"]), float(m["drainTimeout"])),
    "stop": lambda holder, m: holder.stop(_who(m), float(m["drainTimeout"])),
}
