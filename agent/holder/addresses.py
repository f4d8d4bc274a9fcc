"""The addresses of this holder, kept as they should be: steering proven, listeners watched, agents up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.holder.listeners import Listeners
from agent.holder.loop import Loop
from agent.holder.protocol import (
    Address,
    AddressUnavailable,
    Event,
    ListenerRepaired,
    Proof,
    Side,
    SidePhase,
    UnknownKey,
)
from agent.holder.reception import Reception
from agent.holder.report import report

_GUARD_SECONDS = 0.25  # how often the program is attached again while a candidate could have changed it
_LOOKS_BETWEEN_ALL = 8  # every so many of these for addresses without a candidate


class Addresses:
    """`phase` tells what a side is doing, `arrived` and `lost` are the reception's; `announce` tells agents an event,
    `share` gives them an address's listeners after each change of them."""

    def __init__(
        self, loop: Loop, phase: Callable[[str, Side], SidePhase], arrived: Callable[[str, Side], None],
        lost: Callable[[str, Side], None], announce: Callable[[Event], None], share: Callable[[Listeners], None],
    ) -> None:  # fmt: skip
        self._phase = phase
        self._lost = lost
        self._announce = announce
        self._share = share
        self._table: dict[str, Listeners] = {}
        self._reception = Reception(loop, phase, arrived, self._listener_lost)
        self._looks = 0
        loop.every(_GUARD_SECONDS, self._guard_steering)

    def get(self, key: str) -> Listeners:
        """Raises UnknownKey."""
        try:
            return self._table[key]
        except KeyError:
            raise UnknownKey(f"no address was made for {key!r}") from None

    def all(self) -> Sequence[Listeners]:
        return list(self._table.values())

    @property
    def forwarding(self) -> int:
        return self._reception.forwarding

    def listen(self, key: str, host: str, port: int) -> Address:
        """Idempotent. Raises AddressUnavailable."""
        known = self._table.get(key)
        if known is not None:
            if known.address.host != host or port not in (0, known.address.port):
                raise AddressUnavailable(f"{key} already is {known.address.host} port {known.address.port}")
            return known.address
        listeners = Listeners.create(key, Address(host, port))
        self.take_over(listeners)
        return listeners.address

    def take_over(self, listeners: Listeners) -> None:
        """Adds an address."""
        self._table[listeners.key] = listeners
        self.changed(listeners)
        self.prove(listeners)

    def close(self, listeners: Listeners) -> None:
        self._reception.forget(listeners)
        del self._table[listeners.key]
        listeners.close()

    def steer(self, listeners: Listeners, side: Side) -> Proof:
        """Proven before and after."""
        before = self.prove(listeners)
        listeners.steer(side)
        self.changed(listeners)
        return before if before.repaired else self.prove(listeners)

    def prove(self, listeners: Listeners) -> Proof:
        proof = listeners.prove(served=self._phase(listeners.key, listeners.active) is SidePhase.OCCUPIED)
        if proof.repaired:
            report(f"{listeners.key}: {proof.detail}")
            self.changed(listeners)
            self._announce(ListenerRepaired(listeners.key, None, None, False, proof.detail))
        return proof

    def refresh(self, key: str) -> None:
        """After a change of what a side's process does."""
        if key in self._table:
            self._reception.refresh(self._table[key])

    def changed(self, listeners: Listeners) -> None:
        """After a change of who is where."""
        self._reception.refresh(listeners)
        self._share(listeners)

    def _listener_lost(self, listeners: Listeners, side: Side | None) -> None:
        self._share(listeners)
        if side is not None:
            self._lost(listeners.key, side)

    def _guard_steering(self) -> None:
        """A module can detach or replace its group's program, and nothing tells when."""
        self._looks += 1
        everything = self._looks % _LOOKS_BETWEEN_ALL == 0
        for listeners in self.all():
            if not listeners.is_complete:
                listeners.complete()
                self.changed(listeners)
            if everything or self._phase(listeners.key, listeners.active.other) is SidePhase.OCCUPIED:
                listeners.attach()
