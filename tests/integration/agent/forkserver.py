"""Starts agents for tests without paying for their imports each time: one process that forks on request.

What a fork runs is `agent.main.run_agent`, the whole of `hotswap-agent run` behind the parsing of its arguments.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.config import load_config
from agent.crashpoints import VARIABLE
from agent.main import run_agent

ROOT = Path(__file__).parents[3]


def serve() -> None:
    """One request a line: `{"config", "log", "crashAt"}`; the answer is the agent's pid. Ends with its input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them; tests watch pidfds
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setsid()
                log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                nothing = os.open(os.devnull, os.O_RDONLY)
                for number, descriptor in enumerate((nothing, log, log)):
                    os.dup2(descriptor, number)
                os.environ[VARIABLE] = request["crashAt"]
                code = run_agent(load_config(Path(request["config"])))
            finally:
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


@functools.cache
def _server() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.agent.forkserver"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(10)


def fork_agent(config: Path, log: Path, crash_at: str) -> int:
    """Start an agent; its pid."""
    process = _server()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"config": str(config), "log": str(log), "crashAt": crash_at}) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


if __name__ == "__main__":
    serve()
