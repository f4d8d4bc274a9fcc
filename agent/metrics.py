"""The agent's own counters, in Prometheus' text format. Small enough not to need a library in every agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Counts that only grow, since the agent's start."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Labels]] = Counter()

    def stale(self, where: str, reason: str) -> None:
        """A command that came too late; no node's failure."""
        self._counts["hotswap_stale_commands_total", (("where", where), ("reason", reason))] += 1

    def operation(self, action: str, state: str) -> None:
        """An operation ended."""
        self._counts["hotswap_agent_operations_total", (("action", action), ("state", state))] += 1

    def restart(self, module: str) -> None:
        """A module that had crashed was started again."""
        self._counts["hotswap_agent_module_restarts_total", (("module", module),)] += 1

    def heartbeat(self, outcome: str) -> None:
        """A heartbeat was answered or failed."""
        self._counts["hotswap_agent_heartbeats_total", (("outcome", outcome),)] += 1

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
                lines.append(f"# TYPE {name} counter")
                last = name
            said = ",".join(f'{label}="{_escape(value)}"' for label, value in labels)
            lines.append(f"{name}{{{said}}} {count}")
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
