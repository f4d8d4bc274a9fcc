"""One running process of a service: started in a session of its own, watched by pidfd."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deploy.local import logs
from deploy.local.ledger import Ledger
from deploy.local.service import Service


class Child:
    """A started process. Its whole process group ends with it. `log_begin`: the size of its log when it began."""

    def __init__(
        self, service: Service, process: subprocess.Popen[bytes], ended: Callable[["Child"], None], log_begin: int
    ) -> None:
        self.service = service
        self.log_begin = log_begin
        self.started = time.monotonic()
        self.stopping = False
        self._process = process
        self._ended = ended
        self._over = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As of subprocess: None while it runs, negative for a signal."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """Signal it. Sent through the pidfd, so never to a stranger."""
        if self.exit_code is None:
            signal.pidfd_send_signal(self._pidfd, number)

    async def end(self) -> None:
        """Ask it to end, with harsher signals as time goes by; returns when it has."""
        self.stopping = True
        plan = self.service.stop
        steps = ((plan.first, plan.patience), (plan.second, plan.more_patience), (signal.SIGKILL, 3600.0))
        for number, patience in steps:
            self.send(number)
            try:
                await asyncio.wait_for(self._over.wait(), patience)
            except TimeoutError:
                continue
            return

    async def kill(self) -> None:
        """End it at once."""
        self.stopping = True
        self.send(signal.SIGKILL)
        await self._over.wait()

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        # Before the leader is reaped its number cannot be used again: now the group is surely ours.
        with suppress(ProcessLookupError, PermissionError):  # nobody may be left but the ended leader
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)
        self._over.set()
        self._ended(self)


def spawn(service: Service, ledger: Ledger, log: Path, ended: Callable[[Child], None]) -> Child:
    """Start a service; its output is appended to `log`. Raises OSError when it cannot be started."""
    if service.before is not None:
        service.before()
    name = service.name

    def enter() -> None:
        # Between fork and exec, in a process with one thread.
        ledger.enter(name)

    log_begin = logs.size(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            service.command,
            cwd=service.folder,
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=enter,
        )
    return Child(service, process, ended, log_begin)
