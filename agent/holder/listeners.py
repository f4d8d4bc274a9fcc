"""The listeners of one address: both sides, the guard behind them, and those that served before.

Members of the group are numbered (`marks`). Beside the two sides there is always a **guard**, which the program never
selects and no process has: joined last, it takes the index of a side whose process calls shutdown(2), so that its users
come to the holder and not to the other side's candidate.

The sides are the first two members. That matters when agent and holder both die: every listener that no process holds
is closed then, and of a group of which only two are left the program still finds the active one by index 0 or 1, while
an index beyond would send users to both. Only where a handshake that was open when users were led away is still open
at the next start there (it would end at a candidate that may be bad), or something the last process left behind still
holds the listener, the start gets another one: the guard, and a new guard joins. The other one stays in the group as
**retired**, and the holder answers on it. After RETENTION it is as good as new. None is ever closed, for that would
shift indexes and reset handshakes; their number is bounded by reusing the oldest.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from agent.holder import marks, sockdiag, sockets, steering
from agent.holder.protocol import Address, AddressUnavailable, ProbeSource, Proof, Side
from agent.holder.steering import Order, PortRoute

RETENTION = 70.0  # seconds; a handshake's SYN-ACK is repeated for 63 s (net.ipv4.tcp_synack_retries = 5)
MOST_MEMBERS = 24
_FIRST = 2
_STRANGERS = 3  # members of the group that are not ours and that we could still cope with
_NOBODY = -1
_ATTEMPTS = 3


@dataclass(slots=True)
class Member:
    """A listener of the group. `sock` is None for one that only a module still holds (it could not be got back)."""

    number: int
    sock: socket.socket | None
    used_until: float | None = None  # monotonic; None: never reachable for users, never given to a process
    pending: frozenset[bytes] = frozenset()  # peers whose handshake was open when users were led away from it


class Listeners:
    """See the module. `on_join` and `on_leave` tell the reception what to watch."""

    def __init__(self, key: str, address: Address) -> None:
        self.key = key
        self.address = address
        self.active = Side.A
        self.members: dict[int, Member] = {}
        self.sides: dict[Side, int] = {}
        self.guard = -1
        self.order = Order()
        self._kept: list[socket.socket] = []
        self._route: PortRoute | None = None

    @classmethod
    def create(cls, key: str, address: Address) -> Listeners:
        """A new address. Raises AddressUnavailable."""
        sockets.check_unused(address)
        listeners = cls(key, address)
        try:
            listeners._keep_ports()
            listeners.complete()
        except (AddressUnavailable, OSError) as error:
            listeners.close()
            raise error if isinstance(error, AddressUnavailable) else AddressUnavailable(str(error)) from error
        return listeners

    def _keep_ports(self) -> None:
        """One source port for the agent's probes, one for our own proofs; IPv6-only addresses need them."""
        if sockets.is_ipv6_only(self.address.host):
            self._kept = [sockets.keep_port(self.address.host) for _ in range(2)]
            ports = tuple(sock.getsockname()[1] for sock in self._kept)
            self._route = PortRoute(self.address.host, ports)

    def complete(self) -> None:
        """Joins what is missing of sides and guard, and steers. Raises AddressUnavailable."""
        for side in Side:
            if side not in self.sides:
                self.sides[side] = self._join().number
        if not self._is_guarded:
            self.guard = self._join().number
        self.attach()

    @property
    def _is_guarded(self) -> bool:
        return self.guard in self.members and self.order.members[-1] == self.guard

    @property
    def is_complete(self) -> bool:
        """False after a listener was lost and no descriptor was left to replace it."""
        return len(self.sides) == len(Side) and self._is_guarded

    def readopt(self) -> None:
        """After sides, members and the likely order have been set from what is left of an earlier holder: finds the
        real order before anything joins (a join could give users' index to somebody else), then completes. Raises
        AddressUnavailable."""
        self._keep_ports()
        if any(member.sock is not None for member in self.members.values()):
            self.discover()
            self.complete()
        else:
            self.complete()
            self.discover()
        pending = sockdiag.half_open(self.address.port)  # with whom cannot be known any more
        for member in self.members.values():
            member.pending = pending

    def _join(self) -> Member:
        number = next(n for n in range(marks.COUNT) if n not in self.members)
        sock = sockets.open_listener(self.address, number)
        self.address = sockets.bound_address(sock)
        member = self.members[number] = Member(number, sock)
        self.order.join(number)
        return member

    def close(self) -> None:
        for member in self.members.values():
            if member.sock is not None:
                member.sock.close()
        for sock in self._kept:
            sock.close()
        self.members.clear()

    # --- who is where

    def member(self, side: Side) -> Member:
        return self.members[self.sides[side]]

    def side_of(self, number: int) -> Side | None:
        return next((side for side, its in self.sides.items() if its == number), None)

    @property
    def target(self) -> tuple[str, int]:
        return sockets.local_target(self.address.host), self.address.port

    @property
    def probe_source(self) -> ProbeSource:
        """The agent's."""
        host, port = self.target
        if self._route is None:
            return ProbeSource(steering.PROBE_HOST, 0, host, port)
        return ProbeSource(self._route.host, self._route.ports[0], host, port)

    def is_probe(self, host: str, port: int) -> bool:
        """Whether a connection's peer is one of ours and no user."""
        if self._route is not None:
            return host == self._route.host and port in self._route.ports
        return host.removeprefix("::ffff:").startswith("127.83.")

    # --- steering

    def attach(self) -> None:
        """Attaches the program for what is active now; also undoes what a module attached or detached."""
        self._attach(self._index(self.active), self._index(self.active.other))

    def _index(self, side: Side) -> int:
        """One that is missing (while the remains of an earlier holder are put together) has the next index to come."""
        number = self.sides.get(side, -1)
        return self.order.index(number) if number in self.order.members else len(self.order.members)

    def _attach(self, active: int, idle: int) -> None:
        via = next(m.sock for m in self._by_trust() if m.sock is not None)
        steering.attach(via, steering.program(active, idle, self._route))

    def _by_trust(self) -> Iterable[Member]:
        """The guard first: no process ever had it, so nobody can have locked its filter."""
        return sorted(self.members.values(), key=lambda m: m.number != self.guard)

    def steer(self, side: Side) -> None:
        """Users go to `side` from the next SYN on."""
        if side is not self.active:
            self.active = side
            self.attach()
            self._led_away(self.member(side.other))
        else:
            self.attach()

    def _led_away(self, member: Member) -> None:
        member.used_until = time.monotonic()
        member.pending = sockdiag.half_open(self.address.port)

    def ask_probe_path(self) -> int | None:
        source = (self._route.host, self._route.ports[1]) if self._route else (steering.PROBE_HOST, 0)
        return sockets.ask(source, self.target)

    def ask_user_path(self) -> int | None:
        return sockets.ask(None if self._route else (steering.USER_HOST, 0), self.target)

    def prove(self, *, served: bool) -> Proof:
        """Asks both paths who answers and puts right what differs. The users' path only where the active side is
        `served`: our connection would stay in its queue."""
        repaired = ""
        for _ in range(_ATTEMPTS):
            idle, active = self.ask_probe_path(), self.ask_user_path() if served else self.sides[self.active]
            right_idle, right_active = self.sides[self.active.other], self.sides[self.active]
            if idle in (None, right_idle) and active in (None, right_active):
                silent = [name for name, number in (("idle", idle), ("active", active)) if number is None]
                silence = f"no answer from the {' and the '.join(silent)} side" if silent else ""
                return Proof(not silent, bool(repaired), repaired or silence)
            repaired = f"users came to listener {active}, not {right_active}; probes to {idle}, not {right_idle}"
            self.attach()
            if self.ask_probe_path() != right_idle or (served and self.ask_user_path() != right_active):
                self.discover()
                self.complete()
        return Proof(False, True, repaired + "; still wrong")

    def discover(self) -> None:
        """Finds the real order: sends the probe path to one index after the other and asks who answers there. Users
        stay where they are believed to be. Drops members that only a process held and that are gone with it."""
        active = self._index(self.active)
        found: list[int | None] = []
        for index in range(len(self.members) + _STRANGERS):
            self._attach(active, index)
            first, second = self.ask_probe_path(), self.ask_probe_path()
            # Beyond the group the hash decides: answers differ, or name one that has been found.
            found.append(None if first is None else first if first == second and first not in found else _NOBODY)
            if set(self.members) <= set(found):
                break
        self._take_order(found)
        self.attach()

    def _take_order(self, found: list[int | None]) -> None:
        """None: no answer at that index, so one whose accept queue is full."""
        missing = [number for number in self.order.members if number in self.members and number not in found]
        silent = iter([number for number in missing if self.members[number].sock is not None])
        order = [next(silent, _NOBODY) if number is None else number for number in found]
        while order and order[-1] == _NOBODY:
            order.pop()
        self.order = Order([*order, *silent])
        for number in missing:
            if number not in self.order.members:
                side = self.side_of(number)
                del self.members[number]
                if side is not None:
                    del self.sides[side]

    # --- changes of members

    def for_start(self, side: Side, *, shared: bool) -> Member:
        """Gives the idle `side` a listener on which no user can turn up and returns it, restored and steered to.
        `shared`: somebody else may still accept on the one it has. Raises AddressUnavailable (out of descriptors), and
        then nothing has changed."""
        self.complete()
        now = time.monotonic()
        member = self._clean_first(side, shared) or self._spare(now)
        if member is None:
            new_guard = self._join()
            member, self.guard = self.members[self.guard], new_guard.number
        old = self.member(side)
        if old.used_until is not None and old is not member:
            old.used_until = now
        self.sides[side] = member.number
        member.used_until = now
        assert member.sock is not None
        sockets.restore(member.sock, member.number)
        self.attach()
        return member

    def _clean_first(self, side: Side, shared: bool) -> Member | None:
        """The one of the first two members that the active side does not have, if nobody can come there any more."""
        for number in self.order.members[:_FIRST]:
            member = self.members.get(number)
            if member is None or member.sock is None or number in (self.guard, self.sides[side.other]):
                continue
            if shared and number == self.sides[side]:
                continue
            if member.pending:
                member.pending &= sockdiag.half_open(self.address.port)
            if not member.pending and sockets.accept_queue(member.sock) == 0:
                return member
        return None

    def _spare(self, now: float) -> Member | None:
        """The longest unused of the retired ones, if it is old enough or we have too many."""
        in_use = {*self.sides.values(), self.guard}
        spare = [m for m in self.members.values() if m.number not in in_use and m.sock is not None]
        if not spare:
            return None
        oldest = min(spare, key=lambda m: m.used_until or 0.0)
        old_enough = oldest.used_until is None or now - oldest.used_until > RETENTION
        if not old_enough and len(self.members) < MOST_MEMBERS:
            return None
        return oldest if oldest.sock and sockets.accept_queue(oldest.sock) == 0 else None

    def lost(self, number: int) -> Side | None:
        """A member has left the group: its process has shut it down. The guard has its index now and becomes the side's
        listener, with the users that came meanwhile. Returns the side. Raises AddressUnavailable."""
        member = self.members.pop(number)
        if member.sock is not None:
            member.sock.close()
        self.order.leave(number)
        side = self.side_of(number)
        if side is not None:
            del self.sides[side]
            if self.guard in self.members:
                self.sides[side], self.guard = self.guard, -1
                self.member(side).used_until = time.monotonic()
        self.complete()
        return side
