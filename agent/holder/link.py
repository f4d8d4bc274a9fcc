"""One connection of the client: calls and their answers, and what comes unasked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Any

from agent.holder import wire
from agent.holder.protocol import ERRORS, BadRequest, HolderError, HolderLost


class Link:
    """`received` gets what is no answer, with its descriptors; `lost` is called once when the holder has gone."""

    def __init__(
        self, received: Callable[[dict[str, Any], list[int]], None], lost: Callable[[Link], None]
    ) -> None:
        self._received = received
        self._lost = lost
        self._sock: socket | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._hello: asyncio.Future[dict[str, Any]] | None = None
        self._sending = asyncio.Lock()

    async def open(self, folder: Path, timeout: float) -> dict[str, Any]:
        """Connects and returns the holder's greeting. Raises OSError, TimeoutError, HolderLost."""
        loop = asyncio.get_running_loop()
        self._sock = wire.new_socket()
        wire.connect(self._sock, folder)
        self._hello = loop.create_future()
        loop.add_reader(self._sock, self._ready)
        return await asyncio.wait_for(self._hello, timeout)

    async def call(self, call: str, arguments: Mapping[str, Any], fds: Sequence[int] = ()) -> Any:
        """Raises the HolderError that the holder answers, HolderLost when it dies before."""
        number = next(self._numbers)
        data = wire.encode({"id": number, "call": call, **arguments})
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._send(data, fds)
            return await answer
        finally:
            self._answers.pop(number, None)

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        async with self._sending:
            while True:
                if self._sock is None:
                    raise HolderLost("the holder has gone")
                try:
                    wire.send(self._sock, data, fds)
                    return
                except BlockingIOError:
                    await self._writable()
                except OSError as error:
                    raise HolderLost(f"the holder has gone: {error}") from error

    async def _writable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(sock, ready.set)
        try:
            await ready.wait()
        finally:
            if self._sock is sock:
                loop.remove_writer(sock)

    @property
    def is_open(self) -> bool:
        return self._sock is not None

    def close(self) -> None:
        """Calls under way raise HolderLost, and `lost` is called."""
        if self._sock is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.remove_writer(self._sock)
        self._sock.close()
        self._sock = None
        for answer in (*self._answers.values(), *([self._hello] if self._hello else [])):
            if not answer.done():
                answer.set_exception(HolderLost("the holder has gone"))
                answer.exception()  # nobody may be waiting for it any more
        self._lost(self)

    def _ready(self) -> None:
        while self._sock is not None:
            try:
                packet = wire.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, BadRequest):
                packet = None
            if packet is None:
                self.close()
                return
            self._take(*packet)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if "hello" in message and self._hello is not None:
            wire.close_all(fds)
            if not self._hello.done():
                self._hello.set_result(message)
            return
        if "id" not in message:
            self._received(message, fds)
            return
        wire.close_all(fds)
        if "piece" in message:
            pieces = self._pieces.setdefault(message["id"], [])
            pieces.append(message["piece"])
            if not message["last"]:
                return
            message = wire.join(self._pieces.pop(message["id"]))
        answer = self._answers.get(message["id"])
        if answer is None or answer.done():
            return
        error = message.get("error")
        if error is None:
            answer.set_result(message.get("result"))
        else:
            answer.set_exception(ERRORS.get(error["code"], HolderError)(error["message"]))
