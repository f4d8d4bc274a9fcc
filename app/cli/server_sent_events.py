"""The event stream format of the HTML standard, section 9.2.6 ("Interpreting an event stream")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LONGEST_EVENT = 1 << 20


class EventTooLong(ValueError):
    """An event of more than a megabyte: not from a server of ours."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """`id` is the last one seen in the stream, as the standard has it."""

    type: str
    data: str
    id: str | None


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines of a body that comes in pieces: they end with CR LF, LF or CR and nothing else that Unicode has for it."""
    rest, skip_feed = bytearray(), False
    for chunk in chunks:
        if skip_feed and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        skip_feed = chunk.endswith(b"\r") or (skip_feed and not chunk)
        rest += chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if len(rest) > _LONGEST_EVENT * 4:
            raise EventTooLong("a line of more than four megabytes")
        if b"\n" not in rest[-len(chunk) :]:
            continue
        *whole, last = rest.split(b"\n")
        rest = last
        yield from (line.decode("utf-8", "replace") for line in whole)


def parse(lines: Iterable[str]) -> Iterator[ServerSentEvent]:
    """Events of a stream's lines (without their ends); what is cut off by the stream's end is dropped.

    Raises EventTooLong.
    """
    kind, data, last_id, size = "", list[str](), None, 0
    for line in lines:
        if not line:
            if data:
                yield ServerSentEvent(kind or "message", "\n".join(data), last_id)
            kind, data, size = "", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            size += len(value)
            if size > _LONGEST_EVENT:
                raise EventTooLong(f"an event of more than {_LONGEST_EVENT} characters")
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
