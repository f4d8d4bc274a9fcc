"""The agent's own counters, in Prometheus' text format. Small enough not to need a library in every agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Described:
    """A metric of the agent, for the reference in docs/guides/observing.md."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


DESCRIBED = (
    Described("hotswap_stale_commands_total", "counter", ("where", "reason"), "Commands that came too late."),
    Described("hotswap_agent_operations_total", "counter", ("action", "outcome"), "Operations that ended."),
    Described("hotswap_agent_module_restarts_total", "counter", ("module",), "Crashed modules, started again."),
    Described("hotswap_agent_heartbeats_total", "counter", ("outcome",), "Heartbeats: answered, failed."),
    Described("hotswap_agent_spans_total", "counter", ("outcome",), "Spans for the collector: sent, failed, dropped."),
    Described("hotswap_agent_operations_running", "gauge", (), "Operations under way."),
    Described("hotswap_agent_ready", "gauge", (), "1 while a heartbeat was answered lately, and commands are taken."),
)
_HELP = {each.name: each.help for each in DESCRIBED}


class Counters:
    """Counts that only grow, since the agent's start."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Labels]] = Counter()

    def stale(self, where: str, reason: str) -> None:
        """A command that came too late; no node's failure."""
        self._counts["hotswap_stale_commands_total", (("where", where), ("reason", reason))] += 1

    def operation(self, action: str, outcome: str) -> None:
        """An operation ended."""
        self._counts["hotswap_agent_operations_total", (("action", action), ("outcome", outcome))] += 1

    def restart(self, module: str) -> None:
        """A module that had crashed was started again."""
        self._counts["hotswap_agent_module_restarts_total", (("module", module),)] += 1

    def heartbeat(self, outcome: str) -> None:
        """A heartbeat was answered or failed."""
        self._counts["hotswap_agent_heartbeats_total", (("outcome", outcome),)] += 1

    def spans(self, outcome: str, count: int) -> None:
        """Spans were sent, could not be sent, or found no room."""
        self._counts["hotswap_agent_spans_total", (("outcome", outcome),)] += count

    def value(self, name: str, **labels: str) -> int:
        """One count; 0 if nothing was counted."""
        wanted = set(labels.items())
        return sum(count for (known, found), count in self._counts.items() if known == name and wanted <= set(found))

    def text(self, gauges: Mapping[str, float]) -> str:
        """Everything as an exposition, with gauges of the moment."""
        lines: list[str] = []
        last = ""
        for (name, labels), count in sorted(self._counts.items()):
            if name != last:
                lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} counter"]
                last = name
            said = ",".join(f'{label}="{_escape(value)}"' for label, value in labels)
            lines.append(f"{name}{{{said}}} {count}")
        for name, value in gauges.items():
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
