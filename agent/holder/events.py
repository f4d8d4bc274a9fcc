"""Events in their form on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.holder.protocol import Event, ListenerRepaired, ProcessExited, ProcessIdentity, Side


def to_wire(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": type(event).__name__}
    for name in event.__dataclass_fields__:
        value = getattr(event, name)
        fields[name] = str(value) if isinstance(value, ProcessIdentity) else value
    return fields


def from_wire(message: Mapping[str, Any]) -> Event | None:
    """None for a kind that this release does not know."""
    who = ProcessIdentity.parse(message["identity"]) if message.get("identity") else None
    if message["event"] == "ProcessExited" and who is not None:
        return ProcessExited(who, message["exit_code"], message["retired"])
    if message["event"] == "ListenerRepaired":
        side = Side(message["side"]) if message["side"] else None
        return ListenerRepaired(message["key"], side, who, message["lost_listener"], message["reason"])
    return None
