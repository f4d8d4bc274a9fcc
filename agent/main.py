"""The command `hotswap-agent`: `run --config FILE`, and `stop --config FILE [--modules]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.config import AgentConfig, ConfigInvalid, load_config
from agent.control import ask_to_stop
from agent.heap import use_one_heap
from agent.holder.client import HolderStarter
from agent.holder.protocol import HolderError
from agent.service import AlreadyRunning, Service, redactor_of
from agent.telemetry import log_lines

USAGE = 2
LONGEST_STOP = 60.0  # seconds

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 2 wrong usage or configuration."""
    parser = argparse.ArgumentParser(prog="hotswap-agent", description="The HotSwap node agent.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the agent in the foreground")
    stop = commands.add_parser("stop", help="stop the agent of this configuration and wait for its end")
    for command in (run, stop):
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
    stop.add_argument("--modules", action="store_true", help="end its modules, too")
    asked = parser.parse_args(arguments)
    try:
        config = load_config(asked.config)
    except ConfigInvalid as error:
        return _complain(str(error), USAGE)
    if asked.command == "run":
        use_one_heap()
        return run_agent(config)
    try:
        found = asyncio.run(ask_to_stop(config.control_socket, LONGEST_STOP, modules=asked.modules))
    except TimeoutError:
        return _complain(f"the agent did not end within {LONGEST_STOP:g} s", 1)
    return 0 if found else _complain("no agent of this configuration is running", 1)


def run_agent(config: AgentConfig, start_holder: HolderStarter | None = None) -> int:
    """Run one agent in this process until it is stopped; the exit code."""
    told = config.telemetry
    log_lines.configure(
        told.log_level, told.log_format, redactor_of(config), service="agent", node=config.hostname,
        node_id=config.node_id, environment=config.environment,
    )  # fmt: skip
    try:
        asyncio.run(_run(config, start_holder))
    except AlreadyRunning as error:
        log.error("the agent cannot start: %s", error)
        return USAGE
    except (OSError, HolderError, sqlite3.Error) as error:
        log.error("the agent ends: %s", error, extra={"error": type(error).__name__})
        return 1
    return 0


async def _run(config: AgentConfig, start_holder: HolderStarter | None) -> None:
    await Service(config, start_holder).run()


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"hotswap-agent: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
