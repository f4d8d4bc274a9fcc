"""The Range header, as RFC 9110 reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.byte_ranges import MOST_RANGES, ByteRange, Unsatisfiable, selected

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=0-499", [(0, 499)]),
        ("bytes=500-", [(500, 999)]),
        ("bytes=-300", [(700, 999)]),
        ("bytes=-5000", [(0, 999)]),
        ("bytes=990-100000", [(990, 999)]),
        ("bytes=990-" + "9" * 5000, [(990, 999)]),
        ("BYTES = 0-1", [(0, 1)]),
        ("bytes=0-1, 5-6 ,\t-2", [(0, 1), (5, 6), (998, 999)]),
        ("bytes=,0-1,,5-6,", [(0, 1), (5, 6)]),
        ("bytes=5-6,0-1", [(5, 6), (0, 1)]),
        ("bytes=0-1,2000-3000", [(0, 1)]),
        ("bytes=-0,0-1", [(0, 1)]),
    ],
)
def test_what_is_selected(header: str, ranges: list[tuple[int, int]]) -> None:
    assert selected(header, SIZE) == tuple(ByteRange(*each) for each in ranges)


@pytest.mark.parametrize(
    "header",
    [
        None, "", "bytes", "bytes=", "bytes=,", "lines=0-1", "bytes=1-0", "bytes=a-b", "bytes=0-1,5-4", "bytes=--1",
        "bytes=+1-2", "bytes=0 -1", "bytes=1", "bytes=0-1;2-3", "bytes=-", "bytes=0-99\u0661", "bytes 0-1", "0-1",
        # Cheaper to send once.
        "bytes=0-,0-", "bytes=" + ",".join(["0-0"] * (MOST_RANGES + 1)),
    ],
)  # fmt: skip
def test_what_is_sent_whole(header: str | None) -> None:
    assert selected(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=-0", "bytes=5000-6000,1000-", "bytes=" + "9" * 5000 + "-"])
def test_what_lies_beyond_the_end(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        selected(header, SIZE)


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=60), st.integers(1, 2000))
def test_whatever_comes_no_byte_is_outside(text: str, size: int) -> None:
    try:
        found = selected("bytes=" + text, size)
    except Unsatisfiable:
        return
    for each in found or ():
        assert 0 <= each.first <= each.last < size
    assert len(found or ()) <= 1 or sum(each.length for each in found or ()) <= size
