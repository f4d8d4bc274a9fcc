"""Memory of a running stack: the proportional set size (PSS) of each of its processes, by what they are."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """kind of process -> (how many, MB of all of them together)."""

    by_kind: dict[str, tuple[int, float]]

    @property
    def total(self) -> float:
        return sum(megabytes for _, megabytes in self.by_kind.values())

    def table(self) -> str:
        lines = ["| processes | count | PSS |", "|---|---|---|"]
        for kind, (count, megabytes) in sorted(self.by_kind.items(), key=lambda item: -item[1][1]):
            lines.append(f"| {kind} | {count} | {megabytes:.0f} MB |")
        return "\n".join([*lines, f"| **all** | | **{self.total:.0f} MB** |"])


def measure_memory(folder: Path, supervisor: int) -> MemoryUse:
    """All of the stack in `folder`: the supervisor's descendants, and what names the folder (holders, modules)."""
    found: dict[str, list[float]] = defaultdict(list)
    for process in processes(folder, supervisor):
        try:
            pss = _PSS.search((Path("/proc") / str(process) / "smaps_rollup").read_text())
            kind = kind_of(process)
        except OSError:
            continue  # it ended while we looked
        if pss:
            found[kind].append(int(pss[1]) / 1024)
    return MemoryUse({kind: (len(values), sum(values)) for kind, values in found.items()})


def processes(folder: Path, supervisor: int) -> list[int]:
    """The pids of the stack."""
    parents: dict[int, int] = {}
    named: set[int] = {supervisor}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            named.add(int(process.name))
    while grown := {pid for pid, parent in parents.items() if parent in named} - named:
        named |= grown
    return sorted(named & parents.keys())


_KINDS = (
    ("celery worker, pipeline", r"-Q pipeline"),
    ("celery worker, build", r"-Q build"),
    ("celery worker, scan", r"-Q scan"),
    ("celery worker, deploy", r"-Q deploy"),
    ("celery worker, urgent", r"-Q urgent"),
    ("celery worker, control", r"-Q control"),
    ("celery beat", r"celery.* beat"),
    ("flower", r"flower"),
    ("reconciler of pipeline", r"workers\.reconciler"),
    ("gunicorn, API", r"app\.api\.wsgi"),
    ("gunicorn, agents' listener", r"agent_wsgi"),
    ("agent holders", r"hotswap-holder|agent\.holder"),
    ("agents and their host", r"hotswap-agent|agent\.host"),
    ("valkey-server", r"valkey-server"),
    ("postgres", r"postgres"),
    ("supervisor", r"app\.cli\.main up|hotswap up"),
)


def kind_of(process: int) -> str:
    """What a process is, by its command line. OSError when it has ended."""
    command = (Path("/proc") / str(process) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return next((kind for kind, pattern in _KINDS if re.search(pattern, command)), "modules and others")
