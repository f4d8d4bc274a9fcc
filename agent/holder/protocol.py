"""What the agent and the holder say to each other: values, events and errors, and their form on the wire.

A message is one SOCK_SEQPACKET packet of JSON; descriptors ride along as SCM_RIGHTS (see `wire`). Requests carry an
`id`, their answer carries the same one; events carry none. Both ends are of one release or neighbours, so a field that
is missing gets its default and an unknown one is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

SOCKET_NAME = "holder.sock"
LOCK_NAME = "holder.lock"
DEFAULT_QUIET_SECONDS = 1.0
DEFAULT_LOG_BYTES = 8 * 1024 * 1024


class Side(StrEnum):
    """One of the two places of an address where a process can run; one is active, the other idle."""

    A = "A"
    B = "B"

    @property
    def other(self) -> Side:
        return Side.B if self is Side.A else Side.A


class Handover(StrEnum):
    """How a process gets its users."""

    SOCKET = "socket"  # it inherits the side's listeners as descriptors 3, 4, ...
    PORT = "port"  # it listens on PORT itself, a forwarder of ours holds the listener
    NONE = "none"  # it opens what it wants; also for processes without a socket


class SidePhase(StrEnum):
    """What the side of an address is doing."""

    FREE = "free"  # no process; the holder answers for it
    OCCUPIED = "occupied"  # a process accepts there
    QUIETING = "quieting"  # being retired: waiting until nothing has arrived for the quiet time
    STOPPING = "stopping"  # SIGTERM was sent; the holder accepts what still arrives
    EXITED = "exited"  # its process ended by itself; a start on this side takes the waiting users over


class LimitsBy(StrEnum):
    """What enforces the limits of a process."""

    CGROUP2 = "cgroup2"
    CGROUP1 = "cgroup1"
    RLIMIT = "rlimit"  # memory by RLIMIT_DATA per process, processes by RLIMIT_NPROC (counts the uid, not root)
    NOTHING = "nothing"  # no limits were asked for


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Which process, for ever: a recycled pid has another start time, a rebooted machine another boot id."""

    boot_id: str
    pid: int
    start_time: int  # clock ticks after boot, field 22 of /proc/PID/stat

    def __str__(self) -> str:
        return f"{self.boot_id}:{self.pid}:{self.start_time}"

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity:
        """The inverse of `str()`. Raises ValueError."""
        boot_id, pid, start_time = text.rsplit(":", 2)
        return cls(boot_id, int(pid), int(start_time))


@dataclass(frozen=True, slots=True)
class Address:
    """A bound address: host as numeric text (`127.0.0.1`, `0.0.0.0`, `::1`), port never 0."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ProbeSource:
    """From where to where a health check goes so that it reaches the idle side and nothing else.

    `source_port` 0 means any. Otherwise it is kept bound by the holder (an IPv6-only address has no second loopback
    address to come from), probes go strictly one at a time, and `agent.holder.probe.connect` sets what that needs.
    """

    source_host: str
    source_port: int
    target_host: str
    target_port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for a process and all it starts; None is no bound."""

    memory_bytes: int | None = None
    processes: int | None = None
    open_files: int | None = None  # RLIMIT_NOFILE, per process


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to start.

    `environment` is the whole environment apart from what the holder adds: LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID and
    NGINX with sockets, PORT with `handover: port`, and HOTSWAP_HOLDER, by which a later holder recognises it. The
    command is looked for along the PATH in it, relative paths below `cwd`. `keys` are addresses made with `listen`;
    they become descriptors 3, 4, ... in this order, named (LISTEN_FDNAMES) after the part behind the last slash.
    `tag` is for the caller: it comes back in `state()`, also after the death of agent and holder.
    """

    name: str
    command: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    log_file: Path  # stdout and stderr, appended to; cut in place when it grows over log_bytes
    keys: Sequence[str] = ()
    side: Side | None = None
    handover: Handover = Handover.SOCKET
    user: str | None = None  # needs root; groups are the user's own
    limits: Limits = field(default_factory=Limits)
    log_bytes: int = DEFAULT_LOG_BYTES
    tag: str = ""

    def to_wire(self) -> dict[str, Any]:
        return {
            "name": self.name, "command": list(self.command), "cwd": str(self.cwd),
            "environment": dict(self.environment), "logFile": str(self.log_file), "keys": list(self.keys),
            "side": self.side, "handover": self.handover, "user": self.user, "logBytes": self.log_bytes,
            "tag": self.tag,
            "limits": {"memory": self.limits.memory_bytes, "processes": self.limits.processes,
                       "openFiles": self.limits.open_files},
        }  # fmt: skip

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> ProcessSpec:
        limits = data.get("limits") or {}
        return cls(
            name=data["name"], command=tuple(data["command"]), cwd=Path(data["cwd"]),
            environment=dict(data["environment"]), log_file=Path(data["logFile"]), keys=tuple(data.get("keys", ())),
            side=Side(data["side"]) if data.get("side") else None, handover=Handover(data["handover"]),
            user=data.get("user"), log_bytes=data.get("logBytes", DEFAULT_LOG_BYTES), tag=data.get("tag", ""),
            limits=Limits(limits.get("memory"), limits.get("processes"), limits.get("openFiles")),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was started and has reached its exec."""

    identity: ProcessIdentity
    port: int | None  # the PORT it was given, with handover `port`
    forwarder: ProcessIdentity | None
    limits_by: LimitsBy


@dataclass(frozen=True, slots=True)
class ProcessState:
    """A process the holder knows. An ended one is listed until `forget` or until its side gets the next process."""

    identity: ProcessIdentity
    name: str
    tag: str
    keys: tuple[str, ...]
    side: Side | None
    handover: Handover
    running: bool
    exit_code: int | None  # of an ended one; -N: signal N; None: ended, but the holder was not its parent
    port: int | None
    forwarder: ProcessIdentity | None
    limits_by: LimitsBy
    log_file: Path
    retiring: bool

    def to_wire(self) -> dict[str, Any]:
        return {
            "identity": str(self.identity), "name": self.name, "tag": self.tag, "keys": list(self.keys),
            "side": self.side, "handover": self.handover, "running": self.running, "exitCode": self.exit_code,
            "port": self.port, "forwarder": str(self.forwarder) if self.forwarder else None,
            "limitsBy": self.limits_by, "logFile": str(self.log_file), "retiring": self.retiring,
        }  # fmt: skip

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> ProcessState:
        return cls(
            identity=ProcessIdentity.parse(data["identity"]), name=data["name"], tag=data["tag"],
            keys=tuple(data["keys"]), side=Side(data["side"]) if data["side"] else None,
            handover=Handover(data["handover"]), running=data["running"], exit_code=data["exitCode"],
            port=data["port"], forwarder=ProcessIdentity.parse(data["forwarder"]) if data["forwarder"] else None,
            limits_by=LimitsBy(data["limitsBy"]), log_file=Path(data["logFile"]), retiring=data["retiring"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SideState:
    """One side of one address."""

    phase: SidePhase
    process: ProcessIdentity | None
    accept_queue: int | None  # connections waiting to be accepted; None: the listener could not be got back


@dataclass(frozen=True, slots=True)
class KeyState:
    """One address with its two sides."""

    key: str
    address: Address
    active: Side
    sides: Mapping[Side, SideState]
    probe: ProbeSource

    def to_wire(self) -> dict[str, Any]:
        return {
            "key": self.key, "host": self.address.host, "port": self.address.port, "active": self.active,
            "sides": {side: {"phase": s.phase, "process": str(s.process) if s.process else None,
                             "acceptQueue": s.accept_queue} for side, s in self.sides.items()},
            "probe": [self.probe.source_host, self.probe.source_port, self.probe.target_host, self.probe.target_port],
        }  # fmt: skip

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> KeyState:
        sides = {
            Side(name): SideState(
                SidePhase(s["phase"]), ProcessIdentity.parse(s["process"]) if s["process"] else None, s["acceptQueue"]
            )
            for name, s in data["sides"].items()
        }
        return cls(
            data["key"], Address(data["host"], data["port"]), Side(data["active"]), sides, ProbeSource(*data["probe"])
        )


@dataclass(frozen=True, slots=True)
class HolderState:
    """All the holder knows."""

    holder: ProcessIdentity
    keys: Mapping[str, KeyState]
    processes: tuple[ProcessState, ...]
    forwarding: int  # late users that the holder itself carries to an active side at the moment


@dataclass(frozen=True, slots=True)
class Proof:
    """Outcome of a mapping check, after whatever repair it needed."""

    proven: bool  # False: a path gave no answer (its accept queue is full), nothing contradicts the mapping
    repaired: bool  # the mapping or the program was wrong and has been put right
    detail: str


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """A process ended."""

    identity: ProcessIdentity
    exit_code: int | None  # -N: ended by signal N; None: not known, the holder was not its parent
    retired: bool  # asked for by `retire`, `stop` or `shutdown`


@dataclass(frozen=True, slots=True)
class ListenerRepaired:
    """A side's listener had been shut down, or the steering changed, by a module. `lost_listener`: its process can
    accept no more and has to be started again (a candidate has failed)."""

    key: str
    side: Side | None
    identity: ProcessIdentity | None
    lost_listener: bool
    reason: str


@dataclass(frozen=True, slots=True)
class HolderReplaced:
    """The holder had died; a new one is connected and has been given the listeners again. Retirements under way have
    to be asked for again; what exited meanwhile is in `state()`."""

    holder: ProcessIdentity


Event = ProcessExited | ListenerRepaired | HolderReplaced


class HolderError(Exception):
    """Base of what the client raises."""

    code = "internal"


class HolderLost(HolderError):
    """The holder died or does not answer; whether the call took effect is in the next `state()`."""

    code = "lost"


class HolderStopped(HolderError):
    """`shutdown` was called or the client closed."""

    code = "stopped"


class AddressUnavailable(HolderError):
    """The address cannot be bound: in use by somebody else, not ours, not permitted."""

    code = "address"


class UnknownKey(HolderError):
    """No address was made under this key."""

    code = "unknown_key"


class UnknownProcess(HolderError):
    """The holder does not know this process, or its pid belongs to another one by now."""

    code = "unknown_process"


class SideBusy(HolderError):
    """A process still runs on the side, or the call does not fit the side's phase."""

    code = "side_busy"


class StartFailed(HolderError):
    """The process could not be started; the message says at which step and why."""

    code = "start_failed"


class BadRequest(HolderError):
    """The request does not parse."""

    code = "bad_request"


ERRORS: Mapping[str, type[HolderError]] = {
    error.code: error
    for error in (HolderLost, HolderStopped, AddressUnavailable, UnknownKey, UnknownProcess, SideBusy, StartFailed,
                  BadRequest, HolderError)
}  # fmt: skip
