"""The event stream format, however it is cut into pieces on its way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.server_sent_events import EventTooLong, ServerSentEvent, lines, parse

STREAM = (
    ": welcome\n\nretry: 1000\n\nid: 1\ndata: one\n\n"
    "id: 2\r\nevent: stage\r\ndata: two\r\ndata:  lines\r\n\r\n"
    "data: a\u2028b\x85c\x0bd\n\nid\ndata\n\ndata: \u00e9\U0001f600\r\rdata: cut off"
)
EVENTS = [
    ServerSentEvent("message", "one", "1"),
    ServerSentEvent("stage", "two\n lines", "2"),
    ServerSentEvent("message", "a\u2028b\x85c\x0bd", "2"),
    ServerSentEvent("message", "", ""),
    ServerSentEvent("message", "\u00e9\U0001f600", ""),
]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    content = STREAM.encode()
    edges = [0, *sorted(cuts), len(content)]
    chunks = [content[start:end] for start, end in pairwise(edges)]
    assert list(parse(lines(chunks))) == EVENTS


def test_byte_by_byte() -> None:
    assert list(parse(lines(bytes([byte]) for byte in STREAM.encode()))) == EVENTS


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_nothing_that_arrives_raises_anything_else(content: bytes) -> None:
    list(parse(lines([content])))


def test_what_never_ends_is_given_up() -> None:
    for endless in (b"data: " + b"x" * 65536, b"data: " + b"x" * 65529 + b"\n"):
        try:
            for _ in parse(lines(iter([endless] * 1000))):
                raise AssertionError("no event ever ended")
        except EventTooLong:
            continue
        raise AssertionError("it was read without a bound")
