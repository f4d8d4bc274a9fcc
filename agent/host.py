"""Many agents on one machine: imports done once, one fork per configuration, and a fork again for one that dies.

    python -m agent.host --configs FOLDER          # one agent for each *.toml in it

The host runs no threads and no event loop, so that its forks are clean. Agents die with it; holders, which it forks
on the agents' request, and modules do not.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.config import AgentConfig, ConfigInvalid, load_config
from agent.heap import use_one_heap
from agent.holder.identity import name_this_process
from agent.holder.main import run as run_holder
from agent.main import USAGE, run_agent
from agent.telemetry import log_lines
from agent.telemetry.redaction import Redactor

log = logging.getLogger("agent.host")

PR_SET_PDEATHSIG = 1
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.05, 1.0  # seconds before an agent that died is forked again
SETTLED = 5.0  # seconds after which an agent counts as having come up
LONGEST_STOP = 18.0  # seconds for all agents to end


@dataclass(slots=True)
class Child:
    """One agent of this host."""

    config: AgentConfig
    pid: int | None = None
    started: float = 0.0
    back_off: float = FIRST_BACK_OFF
    due: float = 0.0  # monotonic; when it is to be forked


class Host:
    """Forks agents, and holders for them."""

    def __init__(self, configs: Sequence[AgentConfig]) -> None:
        self._children = [Child(config) for config in configs]
        self._folders = {str(config.data_dir): config for config in configs}
        self._requests, self._ask = os.pipe()
        self._wake, wakes = os.pipe()
        for descriptor in (self._requests, self._wake, wakes):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._stop: signal.Signals | None = None
        self._holders: set[int] = set()
        self._pid = os.getpid()

    def run(self) -> None:
        """Until SIGTERM (ends the agents) or SIGINT (ends their modules, too)."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stopping)
        while self._stop is None:
            for child in self._children:
                if child.pid is None and time.monotonic() >= child.due:
                    self._fork_agent(child)
            self._wait(self._next_due())
            self._reap()
        self._end(self._stop)

    def _stopping(self, number: int, _: object) -> None:
        self._stop = signal.Signals(number)

    def _next_due(self) -> float | None:
        due = [child.due for child in self._children if child.pid is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _wait(self, seconds: float | None) -> None:
        ready, _, _ = select.select([self._wake, self._requests], [], [], seconds)
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        if self._requests in ready:
            with contextlib.suppress(BlockingIOError):
                for line in os.read(self._requests, 65536).decode().splitlines():
                    if line in self._folders:
                        self._fork_holder(Path(line))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._holders.discard(pid)
                for child in self._children:
                    if child.pid == pid:
                        self._died(child, status)

    def _died(self, child: Child, status: int) -> None:
        if self._stop is None:
            code = os.waitstatus_to_exitcode(status)
            log.warning("agent %s ended (%s) and is started again", child.config.node_id, code, extra={
                "node": child.config.hostname, "node_id": child.config.node_id})  # fmt: skip
        now = time.monotonic()
        child.back_off = FIRST_BACK_OFF if now - child.started > SETTLED else min(2 * child.back_off, LONGEST_BACK_OFF)
        child.pid, child.due = None, now + child.back_off

    # -- forks ------------------------------------------------------------------------------------------------

    def _fork_agent(self, child: Child) -> None:
        child.started = time.monotonic()
        pid = os.fork()
        if pid:
            child.pid = pid
            return
        code = 1
        try:
            self._leave_host()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() == self._pid:  # else it died between fork and here
                name_this_process(f"hotswap-agent {child.config.node_id}")
                code = run_agent(child.config, self._request_holder)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _fork_holder(self, folder: Path) -> None:
        pid = os.fork()
        if pid:
            self._holders.add(pid)
            return
        code = 1
        try:
            self._leave_host()
            code = run_holder(folder)
        finally:
            os._exit(code)

    @staticmethod
    def _leave_host() -> None:
        """A fork handles signals its own way."""
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)

    async def _request_holder(self, folder: Path) -> None:
        """In an agent: let the host fork its holder; the agent itself has an event loop and threads by now."""
        os.write(self._ask, f"{folder}\n".encode())

    # -- end --------------------------------------------------------------------------------------------------

    def _end(self, how: signal.Signals) -> None:
        for child in self._children:
            if child.pid is not None:
                os.kill(child.pid, how)
        deadline = time.monotonic() + LONGEST_STOP
        while any(child.pid is not None for child in self._children) and time.monotonic() < deadline:
            self._wait(0.2)
            self._reap()
        for child in self._children:
            if child.pid is not None:
                os.kill(child.pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 stopped, 2 wrong usage or configuration."""
    parser = argparse.ArgumentParser(prog="python -m agent.host", description="Many agents on one machine.")
    parser.add_argument("--configs", type=Path, required=True, metavar="FOLDER", help="one agent per *.toml in it")
    asked = parser.parse_args(arguments)
    try:
        configs = [load_config(file) for file in sorted(asked.configs.glob("*.toml"))]
    except ConfigInvalid as error:
        sys.stderr.write(f"agent.host: {error}\n")
        return USAGE
    if not configs:
        sys.stderr.write(f"agent.host: there is no *.toml in {asked.configs}\n")
        return USAGE
    told = configs[0].telemetry
    log_lines.configure(told.log_level, told.log_format, Redactor(told.otlp_headers.values()), service="agents")
    use_one_heap()
    gc.collect()
    gc.freeze()  # the collector of a fork would copy every page that it shares with the host
    Host(configs).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
