"""Whether a candidate is well: asked on the idle side, while its exit and its listener are watched."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import logs
from agent.addresses import Endpoint, Program
from agent.config import AgentConfig
from agent.descriptors import held_by_session, listening_sockets
from agent.environment import module_environment
from agent.failures import FailureCode, OperationFailed
from agent.holder.protocol import (
    Event,
    HolderError,
    ListenerRepaired,
    ProbeSource,
    ProcessExited,
    ProcessState,
)
from agent.httpget import NoAnswer, get
from agent.manifest import Handover, Health, HealthKind
from agent.processes import Processes
from agent.running import run_command

DEFAULT_ALIVE = 1.0  # seconds that a process without a `health` section has to live
LISTENER_LOOK = 0.5  # seconds between two looks at who holds the listener
EXIT_GRACE = 0.5  # seconds in which a process that has closed everything may prove to be one that ended
NO_CHECK = "no check was answered"


class HealthGate:
    """Lets a candidate through once it is well."""

    def __init__(self, config: AgentConfig, processes: Processes) -> None:
        self._config = config
        self._processes = processes

    async def pass_through(
        self, program: Program, process: ProcessState, endpoints: Sequence[Endpoint], log_since: int, *, active: bool
    ) -> None:
        """Return when the candidate is well. `active`: it is on the side that has the traffic already.

        Raises `OperationFailed`: never_healthy, exited, not_listening, with what the process and its health check
        said last.
        """
        candidate = _Candidate(program, process, tuple(endpoints), process.log_file, log_since, active)
        checks = [self._ask(candidate), self._watch_exit(candidate)]
        if process.handover.value == Handover.SOCKET.value and process.keys:
            checks.append(self._watch_listener(candidate))
        await _first(checks)

    async def _ask(self, candidate: _Candidate) -> None:
        health = candidate.program.manifest.health or Health(alive_for=DEFAULT_ALIVE)
        if health.kind is HealthKind.ALIVE:
            await asyncio.sleep(health.alive_for or 0.0)
            return
        deadline = time.monotonic() + health.start_timeout
        in_a_row = 0
        while True:
            begun = time.monotonic()
            problem = await self._check(candidate, health)
            in_a_row = 0 if problem else in_a_row + 1
            if in_a_row >= health.successes:
                return
            if problem:
                candidate.last_problem = problem
            if time.monotonic() > deadline:
                raise await self._never_healthy(candidate, health)
            await asyncio.sleep(max(0.0, health.interval - (time.monotonic() - begun)))

    async def _check(self, candidate: _Candidate, health: Health) -> str | None:
        """One check; the problem in words, None if there is none."""
        if health.kind is HealthKind.COMMAND:
            return await self._run(candidate, health)
        where = await self._where(candidate)
        try:
            reply = await get(where, health.path or "/", health.timeout)
        except NoAnswer as error:
            return f"GET {health.path}: {error}"
        candidate.ever_answered = True
        if 200 <= reply.status < 400:
            return None
        said = reply.body[:500].decode("utf-8", "replace").strip()
        return f"GET {health.path}: {reply.status} {said}".rstrip()

    async def _run(self, candidate: _Candidate, health: Health) -> str | None:
        program = candidate.program
        environment = module_environment(self._config, program.manifest, program.release, program.folder)
        place = program.folder.release(program.release.version, program.release.digest)
        output = program.folder.log / "health.log"
        logs.cut(output, self._config.limits.log_bytes)
        outcome = await run_command(health.command or (), place, environment, health.timeout, output)
        if outcome.ok:
            return None
        return f"the health command {outcome.describe(health.timeout)}: {outcome.output_tail[-1000:]}".rstrip()

    async def _where(self, candidate: _Candidate) -> tuple[str, int] | ProbeSource:
        first = candidate.endpoints[0]
        if first.key is None or candidate.active:
            return first.connect_to
        key = first.key
        return await self._processes.holder.probe_source(key)

    async def _never_healthy(self, candidate: _Candidate, health: Health) -> OperationFailed:
        tail = candidate.tail()
        if health.kind is HealthKind.HTTP and not candidate.ever_answered and await self._queue_stands(candidate):
            return OperationFailed(FailureCode.NOT_LISTENING, _NEVER_ACCEPTED, tail)
        message = f"not healthy within {health.start_timeout:g} s; last: {candidate.last_problem}"
        return OperationFailed(FailureCode.NEVER_HEALTHY, message, tail)

    async def _queue_stands(self, candidate: _Candidate) -> bool:
        """Whether connections wait on the candidate's side that it never took."""
        process, key = candidate.process, candidate.endpoints[0].key
        if key is None or process.side is None or process.handover.value != Handover.SOCKET.value:
            return False
        side = process.side
        with contextlib.suppress(HolderError):
            return await self._processes.holder.accept_queue(key, side) > 0
        return False

    async def _watch_exit(self, candidate: _Candidate) -> None:
        ended = await self._processes.ended(candidate.process.identity)
        await asyncio.sleep(0.05)  # its last words may still be on their way into the file
        raise OperationFailed(FailureCode.EXITED, describe_exit(ended), candidate.tail())

    async def _watch_listener(self, candidate: _Candidate) -> None:
        """Fail at once when nothing of the candidate has the inherited socket open any more, or it was shut down."""
        lost = asyncio.Event()
        identity = candidate.process.identity

        def receive(event: Event) -> None:
            if isinstance(event, ListenerRepaired) and event.lost_listener and event.identity == identity:
                lost.set()

        unsubscribe = self._processes.holder.subscribe(receive)
        ports = {endpoint.address.port for endpoint in candidate.endpoints}
        try:
            while not lost.is_set():
                sockets = await asyncio.to_thread(listening_sockets, ports)
                if not await asyncio.to_thread(held_by_session, identity.pid, sockets):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(EXIT_GRACE):
                            # What ends has nothing open any more, too, some time before its end is told.
                            await self._watch_exit(candidate)
                    raise OperationFailed(FailureCode.NOT_LISTENING, _CLOSED_IT, candidate.tail())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTENER_LOOK):
                        await lost.wait()
        finally:
            unsubscribe()
        raise OperationFailed(FailureCode.NOT_LISTENING, _CLOSED_IT, candidate.tail())


_NEVER_ACCEPTED = (
    "it does not listen on the inherited socket: connections wait on descriptor 3 and none was ever accepted; "
    "take the socket from fd 3 (LISTEN_FDS), or use handover: port"
)
_CLOSED_IT = (
    "it does not listen on the inherited socket: it closed or shut down descriptor 3; "
    "take the socket from there (LISTEN_FDS), or use handover: port"
)


@dataclass(slots=True)
class _Candidate:
    program: Program
    process: ProcessState
    endpoints: tuple[Endpoint, ...]
    log_file: Path
    log_since: int
    active: bool
    last_problem: str = NO_CHECK
    ever_answered: bool = False

    def tail(self) -> str:
        """What the process said last, and the health check after it."""
        said = logs.tail(self.log_file, self.log_since)
        if self.last_problem == NO_CHECK:
            return said
        return logs.as_tail(f"{said.rstrip()}\n[health check] {self.last_problem}\n".lstrip())


def describe_exit(ended: ProcessExited) -> str:
    """How a process ended, as a sentence."""
    match ended.exit_code:
        case None:
            return "it ended by itself (its exit code is not known)"
        case code if code < 0:
            return f"it was ended by signal {-code}"
        case code:
            return f"it ended by itself with code {code}"


async def _first(checks: Sequence[Coroutine[None, None, None]]) -> None:
    """The first of them that ends decides; the others are cancelled."""
    tasks = [asyncio.ensure_future(check) for check in checks]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in (task for task in tasks if task in done):
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
