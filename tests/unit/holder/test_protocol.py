"""Values survive the wire, and what is no message of ours is refused."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.holder import wire
from agent.holder.marker import Marker, Seat
from agent.holder.protocol import (
    Address,
    BadRequest,
    Handover,
    KeyState,
    Limits,
    LimitsBy,
    ProbeSource,
    ProcessIdentity,
    ProcessSpec,
    ProcessState,
    Side,
    SidePhase,
    SideState,
)
from agent.holder.snapshot import Snapshot

WHO = ProcessIdentity("0892a059-6275-449c-a70b-f115a9aa8bb0", 123, 456789)
TEXT = st.text(max_size=20)


def over_the_wire(data: dict[str, object]) -> dict[str, object]:
    return dict(json.loads(json.dumps(data)))


@given(st.builds(
    ProcessSpec, name=TEXT, command=st.lists(TEXT, min_size=1).map(tuple), cwd=st.just(Path("/x")),
    environment=st.dictionaries(TEXT, TEXT), log_file=st.just(Path("/l")), keys=st.lists(TEXT).map(tuple),
    side=st.sampled_from([None, *Side]), handover=st.sampled_from(Handover), user=st.none() | TEXT,
    limits=st.builds(Limits, st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers()),
    log_bytes=st.integers(1), tag=TEXT,
))  # fmt: skip
def test_spec(spec: ProcessSpec) -> None:
    assert ProcessSpec.from_wire(over_the_wire(spec.to_wire())) == spec


def test_states() -> None:
    process = ProcessState(
        WHO, "n", "t", ("a/b/http",), Side.B, Handover.PORT, False, -9, 8080, WHO, LimitsBy.CGROUP1, Path("/l"), True
    )
    assert ProcessState.from_wire(over_the_wire(process.to_wire())) == process
    key = KeyState(
        "a/b/http", Address("::1", 80), Side.A,
        {Side.A: SideState(SidePhase.OCCUPIED, WHO, 3), Side.B: SideState(SidePhase.FREE, None, None)},
        ProbeSource("::1", 40_000, "::1", 80),
    )  # fmt: skip
    assert KeyState.from_wire(over_the_wire(key.to_wire())) == key
    assert ProcessIdentity.parse(str(WHO)) == WHO


def test_snapshot() -> None:
    snapshot = Snapshot("k", Address("0.0.0.0", 1), Side.B, {Side.A: 0, Side.B: 1}, 2, (1, 0, 2), (0, 1, 2))
    assert Snapshot.from_wire(over_the_wire(snapshot.to_wire())) == snapshot
    for broken in ({}, {**snapshot.to_wire(), "sides": 3}, {**snapshot.to_wire(), "active": "C"}):
        with pytest.raises(BadRequest):
            Snapshot.from_wire(broken)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "3", "[1,2,3]", '"x"', "[" * 5000])
def test_what_is_no_marker(text: str) -> None:
    with pytest.raises(ValueError, match="no marker"):
        Marker.parse(text)


def test_marker() -> None:
    marker = Marker(
        "/folder", "start", 0, "name", "tag", (Seat("k", Address("::", 1), 4),), Side.A, Handover.PORT, Path("/log"),
        100, LimitsBy.CGROUP2, (Path("/sys/fs/cgroup/x"),), 9000, WHO,
    )  # fmt: skip
    assert Marker.parse(marker.for_pid(7).text()) == marker.for_pid(7)


@pytest.mark.parametrize("data", [b"x", b"[]", b"\xff", b'"a"', b"[" * 3000, b"{" * 3000])
def test_a_packet_that_is_no_object(data: bytes) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        wire.send(left, data, [0])
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(BadRequest):
            wire.receive(right)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_descriptors_come_along_and_do_not_reach_children() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        wire.send(left, wire.encode({"a": 1}), [0, 1, 2])
        packet = wire.receive(right)
        assert packet is not None
        message, fds = packet
        assert (message, len(fds), [os.get_inheritable(fd) for fd in fds]) == ({"a": 1}, 3, [False] * 3)
        wire.close_all(fds)
        left.close()
        assert wire.receive(right) is None


def test_a_message_that_fits_no_packet() -> None:
    with pytest.raises(BadRequest, match="too large"):
        wire.encode({"environment": "x" * wire.LARGEST})
