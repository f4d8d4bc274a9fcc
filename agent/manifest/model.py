"""What a module says about itself in `hotswap.yaml`, as values that cannot change.

Times are seconds (float), sizes say their unit in their name. Fields left out of the file carry their default here,
so that a reader never asks whether something was given, except where `None` means "not at all". The fields are
described for authors of modules in docs/guides/writing-a-module.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.manifest.versions import VersionRange

Command = tuple[str, ...]


class Kind(StrEnum):
    """What the agent does with a release: run it, or put it in place."""

    PROCESS = "process"
    FILES = "files"


class Handover(StrEnum):
    """How a process takes over: it inherits the socket as fd 3, listens on a port behind a forwarder, or (none) starts
    when the one before it has ended, which without `listen` means that never two run at once."""

    SOCKET = "socket"
    PORT = "port"
    NONE = "none"


class HealthKind(StrEnum):
    """How it is found out that a process is well."""

    HTTP = "http"
    COMMAND = "command"
    ALIVE = "alive"


class HookEvent(StrEnum):
    """The points at which a module's own commands run, named as in AWS CodeDeploy's AppSpec."""

    BEFORE_INSTALL = "beforeInstall"
    AFTER_INSTALL = "afterInstall"
    APPLICATION_START = "applicationStart"
    VALIDATE_SERVICE = "validateService"
    APPLICATION_STOP = "applicationStop"


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on; `str()` gives `0.0.0.0:8080` or `[::]:80`. Port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket a process asks for; the order of listeners is the order of its descriptors from 3 on."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class Resources:
    """What a node must have; `None` is not checked and not limited. Memory and disk are in MiB.

    Checked once, when the release comes to a node (agent/resources.py): memory and processors against all that the node
    may use, disk against what is free. Memory is then enforced as well.
    """

    memory_mb: int | None = None
    cpu_cores: float | None = None
    disk_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """The archive is source: `command` makes the folder `output`, which replaces it."""

    command: Command
    output: str
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Test:
    """A command that must end with 0 before the release goes anywhere.

    `report` is where it writes JUnit XML, as a pattern of paths within the module; without it the usual places count.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    command: Command
    timeout: float = 600.0
    report: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """How a process is started. Without `listen` it gets no socket."""

    command: Command
    listen: tuple[Listener, ...] = ()
    handover: Handover = Handover.SOCKET
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """When a started process counts as well: exactly one of `path`, `command` and `alive_for` is set.

    `successes` checks in a row, `interval` apart, each answered within `timeout`, all of it within `start_timeout`.
    With `alive_for` the process must run that long; nothing is asked.
    """

    path: str | None = None
    command: Command | None = None
    alive_for: float | None = None
    timeout: float = 2.0
    interval: float = 0.5
    successes: int = 2
    start_timeout: float = 60.0

    @property
    def kind(self) -> HealthKind:
        """Which of the three it is."""
        if self.path is not None:
            return HealthKind.HTTP
        return HealthKind.COMMAND if self.command is not None else HealthKind.ALIVE


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where a process answers Prometheus text."""

    path: str


@dataclass(frozen=True, slots=True)
class Drain:
    """How long a process may take from SIGTERM to its end, before SIGKILL."""

    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Hook:
    """A command of the module, run at one point of an installation. It may run more than once after a crash."""

    command: Command
    timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Files:
    """Where a `files` module is put. `destination` None: only the link `current` in the module's own folder.

    `mode` is that of the release's folder; None leaves 0755.
    """

    destination: str | None = None
    owner: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One request of the Validation stage and of the node's own validation."""

    path: str
    status: int = 200
    max_latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A valid `hotswap.yaml`. Only `parse_manifest` and `from_json` make one of foreign input."""

    name: str
    version: str
    kind: Kind
    placement: Mapping[str, str] = field(default_factory=dict)
    requires: Mapping[str, VersionRange] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    build: Build | None = None
    test: Test | None = None
    run: Run | None = None
    health: Health | None = None
    metrics: Metrics | None = None
    drain: Drain = field(default_factory=Drain)
    hooks: Mapping[HookEvent, Hook] = field(default_factory=dict)
    files: Files | None = None
    shared: tuple[str, ...] = ()
    validate: tuple[Check, ...] = ()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The sockets asked for; empty for `files` and for a process without `listen`."""
        return self.run.listen if self.run is not None else ()
