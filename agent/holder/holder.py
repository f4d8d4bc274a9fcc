"""The holder: owns the listeners, is the parent of the modules, does what the agent asks. See docs/holder.md."""

from __future__ import annotations

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket

from agent.holder import identity, logs, marker, processes, recovery
from agent.holder.addresses import Addresses
from agent.holder.forwarders import Forwarder, Forwarders
from agent.holder.listeners import Listeners
from agent.holder.loop import Loop
from agent.holder.processes import Process, Processes
from agent.holder.protocol import (
    AddressUnavailable,
    Event,
    HolderState,
    HolderStopped,
    KeyState,
    ListenerRepaired,
    ProcessIdentity,
    ProcessSpec,
    Proof,
    Side,
    SideBusy,
    SidePhase,
    SideState,
    Spawned,
    StartFailed,
)
from agent.holder.reception import queue_of
from agent.holder.report import report
from agent.holder.retirement import Retirements
from agent.holder.snapshot import Snapshot
from agent.holder.sockdiag import waiting_on_port
from agent.holder.starts import Starts

LOG_NAME = "holder.log"
_LOG_SECONDS = 1.0


class Holder:
    """`announce` tells agents an event, `share` gives them an address's listeners after each change of them."""

    def __init__(
        self, loop: Loop, folder: Path, open_files: int,
        announce: Callable[[Event], None], share: Callable[[Listeners], None],
    ) -> None:  # fmt: skip
        self._folder = str(folder)
        self.identity = identity.current()
        self._announce = announce
        self._processes = Processes(loop, self._process_ended, open_files)
        self._forwarders = Forwarders(loop, self._forwarder_died)
        self.addresses = Addresses(loop, self.phase, self._arrived, self._listener_lost, announce, share)
        self._retirements = Retirements(loop, self._waiting, self._close_side, self._processes.terminate)
        self._starts = Starts(self._folder, self.addresses, self._processes, self._forwarders, self.phase)
        self._when_empty: Callable[[], None] | None = None
        loop.every(_LOG_SECONDS, self._cut_logs)

    def begin(self, told: Mapping[str, tuple[Snapshot, Sequence[socket]]]) -> None:
        """Takes over what an earlier holder of this folder left. Reports what cannot be got back, and goes on."""
        found = list(marker.find(self._folder))
        rebuilt = []
        for its in recovery.gather(told, found):
            try:
                rebuilt.append(recovery.rebuild(its))
            except (AddressUnavailable, OSError) as error:
                report(f"cannot take over {its.key}: {error}")
        adopted = [process for who, its in found if (process := self._processes.adopt(who, its)) is not None]
        for listeners in rebuilt:
            self.addresses.take_over(listeners)
        for process in adopted:
            self._adopt_forwarder(process)
        self._forwarders.end_strays(Path(self._folder, LOG_NAME))

    def _adopt_forwarder(self, process: Process) -> None:
        its = process.marker
        if process.forwarder is None or its.side is None or its.port is None:
            return
        if self._forwarders.adopt(process.forwarder, its.seats[0].key, its.side, its.port) is None:
            self._replace_forwarder(process, its.seats[0].key, its.side, its.port)

    def state(self) -> HolderState:
        keys = {listeners.key: self._key_state(listeners) for listeners in self.addresses.all()}
        known = tuple(process.state() for process in self._processes.all())
        return HolderState(self.identity, keys, known, self.addresses.forwarding)

    def _key_state(self, listeners: Listeners) -> KeyState:
        sides = {}
        for side in Side:
            process = self._processes.on(listeners.key, side)
            sides[side] = SideState(
                self.phase(listeners.key, side), process.identity if process else None, queue_of(listeners, side)
            )
        return KeyState(listeners.key, listeners.address, listeners.active, sides, listeners.probe_source)

    def phase(self, key: str, side: Side) -> SidePhase:
        process = self._processes.on(key, side)
        if process is None:
            return SidePhase.FREE
        if not process.running:
            return SidePhase.FREE if process.stopping else SidePhase.EXITED
        if process.stopping:
            return SidePhase.STOPPING
        return SidePhase.QUIETING if process.quieting else SidePhase.OCCUPIED

    # --- addresses

    def listen(self, key: str, host: str, port: int) -> tuple[str, int]:
        self._refuse_when_stopping()
        address = self.addresses.listen(key, host, port)
        return address.host, address.port

    def release(self, key: str) -> None:
        if all(listeners.key != key for listeners in self.addresses.all()):
            return
        if any(self.phase(key, side) not in (SidePhase.FREE, SidePhase.EXITED) for side in Side):
            raise SideBusy(f"a process still runs on {key}")
        for side in Side:
            its = self._forwarders.on(key, side)
            if its is not None:
                self._forwarders.end(its)
        self.addresses.close(self.addresses.get(key))

    def steer(self, key: str, side: Side) -> Proof:
        listeners = self.addresses.get(key)
        process = self._processes.on(key, side)
        if process is not None and process.running:
            if process.stopping and side is not listeners.active:
                raise SideBusy(f"the process on side {side} of {key} is being stopped")
            self._retirements.cancel(process)
        return self.addresses.steer(listeners, side)

    def _listener_lost(self, key: str, side: Side) -> None:
        process = self._processes.on(key, side)
        if process is not None and process.running and not process.stopping:
            reason = f"{process.marker.name} has shut down its listener"
            self._announce(ListenerRepaired(key, side, process.identity, True, reason))

    def _arrived(self, key: str, side: Side) -> None:
        process = self._processes.on(key, side)
        if process is not None:
            self._retirements.arrived(process)

    # --- processes

    def spawn(self, spec: ProcessSpec, done: Callable[[Spawned | StartFailed], None]) -> None:
        self._refuse_when_stopping()
        self._starts.spawn(spec, done)

    def process(self, who: ProcessIdentity) -> Process:
        """Raises UnknownProcess."""
        return self._processes.get(who)

    def signal(self, who: ProcessIdentity, signal: signals.Signals, group: bool) -> None:
        self._processes.signal(self.process(who), signal, group=group)

    def forget(self, who: ProcessIdentity) -> None:
        for process in self._processes.all():
            if process.identity == who:
                if process.running:
                    raise SideBusy(f"process {who} still runs")
                self._processes.forget(process)
                self._end_of_use(process)

    def retire(self, who: ProcessIdentity, quiet: float, drain_timeout: float) -> None:
        process = self.process(who)
        for key in self._keys(process):
            if self.addresses.get(key).active is process.marker.side:
                raise SideBusy(f"side {process.marker.side} of {key} is active")
        self._retirements.begin(process, quiet, drain_timeout)
        self._refresh(process)

    def stop(self, who: ProcessIdentity, drain_timeout: float) -> None:
        process = self.process(who)
        self._retirements.cancel(process)
        if process.running:
            self._processes.terminate(process, drain_timeout)
            self._refresh(process)
        else:
            process.stopping = True

    def shutdown(self, drain_timeout: float, done: Callable[[], None]) -> None:
        """Ends all processes, then closes all addresses and calls `done`."""
        self._when_empty = done
        for process in self._processes.all():
            self._retirements.cancel(process)
            self._processes.terminate(process, drain_timeout)
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if self._when_empty is None or any(process.running for process in self._processes.all()):
            return
        for its in self._forwarders.all():
            self._forwarders.kill(its)
        for listeners in self.addresses.all():
            self.addresses.close(listeners)
        self._when_empty()

    def _refuse_when_stopping(self) -> None:
        if self._when_empty is not None:
            raise HolderStopped("the holder is being shut down")

    def _process_ended(self, process: Process) -> None:
        self._retirements.cancel(process)
        self._announce(processes.exited(process))
        self._refresh(process)
        for key in self._keys(process):
            self.addresses.prove(self.addresses.get(key))
        self._end_of_use(process)
        self._end_if_empty()

    def _end_of_use(self, process: Process) -> None:
        """The forwarder of an ended module goes with it, unless it keeps users for the next start on an active side."""
        waits_for_next = not process.stopping and any(
            self.addresses.get(key).active is process.marker.side for key in self._keys(process)
        )
        its = self._forwarders.get(process.forwarder)
        if its is not None and not waits_for_next:
            self._forwarders.end(its)

    def _keys(self, process: Process) -> Sequence[str]:
        known = {listeners.key for listeners in self.addresses.all()}
        return [seat.key for seat in process.marker.seats if seat.key in known]

    def _refresh(self, process: Process) -> None:
        for key in self._keys(process):
            self.addresses.refresh(key)

    def _waiting(self, process: Process) -> int:
        side = process.marker.side
        if side is None:
            return 0
        queues = [queue_of(self.addresses.get(key), side) or 0 for key in self._keys(process)]
        port = process.marker.port
        return sum(queues) * (not process.stopping) + (waiting_on_port(port) if port is not None else 0)

    def _close_side(self, process: Process) -> bool:
        """From now on the holder accepts on the process's side. True when its forwarder has to finish first."""
        its = self._forwarders.get(process.forwarder)
        if its is not None:
            self._forwarders.stop_accepting(its)
        self._refresh(process)
        return its is not None

    def _forwarder_died(self, its: Forwarder) -> None:
        for process in self._processes.all():
            if process.forwarder == its.identity and process.running and not process.stopping:
                self._replace_forwarder(process, its.key, its.side, its.port)

    def _replace_forwarder(self, process: Process, key: str, side: Side, port: int) -> None:
        sock = self.addresses.get(key).member(side).sock
        if sock is not None:
            process.forwarder = self._forwarders.start(key, side, sock, port).identity

    def _cut_logs(self) -> None:
        for process in self._processes.all():
            if process.running:
                logs.cut(process.marker.log_file, process.marker.log_bytes)
