"""What the agent keeps of an address so that a restarted holder gets it back: descriptors, and who is who of them."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.holder.listeners import Listeners
from agent.holder.protocol import Address, BadRequest, Side


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One address. `numbers` are the members whose descriptors come along, in this order."""

    key: str
    address: Address
    active: Side
    sides: Mapping[Side, int]
    guard: int
    order: tuple[int, ...]
    numbers: tuple[int, ...]

    def to_wire(self) -> dict[str, Any]:
        return {
            "key": self.key, "host": self.address.host, "port": self.address.port, "active": self.active,
            "sides": dict(self.sides), "guard": self.guard, "order": self.order, "numbers": self.numbers,
        }  # fmt: skip

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Snapshot:
        """Raises BadRequest."""
        try:
            return cls(
                str(data["key"]), Address(str(data["host"]), int(data["port"])), Side(data["active"]),
                {Side(side): int(number) for side, number in data["sides"].items()}, int(data["guard"]),
                tuple(int(n) for n in data["order"]), tuple(int(n) for n in data["numbers"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadRequest(f"no snapshot: {error!r}") from error


def take(listeners: Listeners) -> tuple[Snapshot, Sequence[int]]:
    """The snapshot and the descriptors for it."""
    held: dict[int, socket.socket] = {m.number: m.sock for m in listeners.members.values() if m.sock is not None}
    snapshot = Snapshot(
        listeners.key, listeners.address, listeners.active, dict(listeners.sides), listeners.guard,
        tuple(listeners.order.members), tuple(held),
    )  # fmt: skip
    return snapshot, [sock.fileno() for sock in held.values()]
