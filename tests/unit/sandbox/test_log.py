"""The bounded log: head and tail are kept to the byte, whatever comes and in whatever pieces."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.infrastructure.sandbox.log import BoundedLog, size_text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(pieces=st.lists(st.binary(max_size=40), max_size=30), head=st.integers(0, 60), tail=st.integers(0, 60))
def test_head_and_tail_are_kept(tmp_path: Path, pieces: list[bytes], head: int, tail: int) -> None:
    with BoundedLog(tmp_path / "log", head, tail) as log:
        for piece in pieces:
            log.write(piece)
    whole = b"".join(pieces)
    kept = (tmp_path / "log").read_bytes()
    assert log.total == len(whole)
    if len(whole) <= head + tail:
        assert (kept, log.left_out) == (whole, 0)
        return
    note = f"\n... {size_text(log.left_out)} left out ...\n".encode()
    assert log.left_out == len(whole) - head - tail
    assert kept == whole[:head] + note + whole[len(whole) - tail :]


def test_it_can_be_followed_and_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    seen = b""
    with BoundedLog(path, 100, 50) as log:
        for number in range(5000):
            log.write(b"%04d\n" % number * 200)
            now = path.read_bytes()
            assert now.startswith(seen)
            seen = now
        assert b"left out so far" in seen
        assert len(seen) < 1000
    assert path.read_bytes().startswith(seen)
    assert path.read_bytes().endswith(b"4999\n")


def test_memory_does_not_grow_with_what_is_written(tmp_path: Path) -> None:
    piece = os.urandom(65536)
    with BoundedLog(tmp_path / "log", 65536, 65536) as log:
        tracemalloc.start()
        for _ in range(500):
            log.write(piece)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("ours")
    (tmp_path / "log").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        BoundedLog(tmp_path / "log", 10, 10)
    assert target.read_text() == "ours"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (812 * 10**6, "812 MB"), (5 * 10**12, "5000 GB")],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
