"""The environment variable by which a later holder recognises the processes of this one.

What has to survive the death of both agent and holder is kept where it cannot disagree with the process: in the process
itself (/proc/PID/environ). So there is no file that could be stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.holder import identity
from agent.holder.protocol import Address, Handover, LimitsBy, ProcessIdentity, Side

VARIABLE = "HOTSWAP_HOLDER"


@dataclass(frozen=True, slots=True)
class Seat:
    """A key of a process, and the listener it got for it."""

    key: str
    address: Address
    member: int  # the listener's number in its group


@dataclass(frozen=True, slots=True)
class Marker:
    """What is known of a process besides what the kernel tells."""

    folder: str
    start: str  # unique for each start; its descendants inherit it
    pid: int  # of the started process itself; 0 before the fork
    name: str
    tag: str
    seats: tuple[Seat, ...]
    side: Side | None
    handover: Handover
    log_file: Path
    log_bytes: int
    limits_by: LimitsBy
    limit_folders: tuple[Path, ...]
    port: int | None
    forwarder: ProcessIdentity | None

    def for_pid(self, pid: int) -> Marker:
        return replace(self, pid=pid)

    def text(self) -> str:
        return json.dumps([
            self.folder, self.start, self.pid, self.name, self.tag,
            [[seat.key, seat.address.host, seat.address.port, seat.member] for seat in self.seats],
            self.side, self.handover, str(self.log_file), self.log_bytes, self.limits_by,
            [str(folder) for folder in self.limit_folders], self.port,
            str(self.forwarder) if self.forwarder else None,
        ], separators=(",", ":"))  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> Marker:
        """Raises ValueError for what is no marker of ours."""
        try:
            (folder, start, pid, name, tag, seats, side, handover, log, size, by, folders, port,
             forwarder) = json.loads(text)  # fmt: skip
            return cls(
                folder, start, int(pid), name, tag,
                tuple(Seat(key, Address(host, number), member) for key, host, number, member in seats),
                Side(side) if side else None, Handover(handover), Path(log), int(size), LimitsBy(by),
                tuple(Path(path) for path in folders), port,
                ProcessIdentity.parse(forwarder) if forwarder else None,
            )  # fmt: skip
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"no marker: {error}") from error


def _of(pid: int) -> Marker | None:
    text = identity.environment_entry(pid, VARIABLE)
    if text is None:
        return None
    try:
        return Marker.parse(text)
    except ValueError:
        return None


def find(folder: str) -> Iterator[tuple[ProcessIdentity, Marker]]:
    """Every process started by a holder of `folder` that still runs (not what it started in turn)."""
    for pid in identity.all_pids():
        who = identity.identity_of(pid)
        marker = _of(pid)
        if who and marker and marker.folder == folder and marker.pid == pid and who == identity.identity_of(pid):
            yield who, marker


def descendants(start: str, leader: ProcessIdentity, *, by_session: bool) -> Sequence[ProcessIdentity]:
    """What belongs to a start besides its leader: by marker, or `by_session` (an exec may have dropped the marker),
    which must not be asked for when the leader's pid may have been given to somebody else."""
    found = []
    for pid in identity.all_pids():
        who = identity.identity_of(pid)
        if who is None or who == leader or who.start_time < leader.start_time:
            continue
        marker = _of(pid)
        if marker.start == start if marker else by_session and identity.session_of(pid) == leader.pid:
            found.append(who)
    return found
