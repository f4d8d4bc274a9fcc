"""Reports of tests, from the worker's side: a program in the sandbox finds and reads them, its answer is a stranger's
word. Whatever keeps it from its end is a complaint; nothing of it says that tests failed or passed.
"""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

from app.infrastructure.junit.answer import LONGEST, Answer, AnswerInvalid, parse_answer
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.own_program import READABLE, own_program
from app.infrastructure.sandbox.runner import run
from app.infrastructure.sandbox.spec import MIB, Claim, Limits, SandboxBroken, SandboxRefused, SandboxSpec

USUAL_PLACES = (
    "junit.xml",
    "report.xml",
    "reports/*.xml",
    "test-results/**/*.xml",
    "target/surefire-reports/*.xml",
    "build/test-results/**/*.xml",
)
REPORT_LIMITS = Limits(
    wall_seconds=120.0,
    cpu_seconds=60.0,
    memory_bytes=512 * MIB,
    processes=32,
    file_bytes=MIB,
    disk_bytes=16 * MIB,
    files=1000,
    scratch_bytes=16 * MIB,
    log_head_bytes=LONGEST,
    log_tail_bytes=0,
)
# Of the processor time; the rest is for starting, finding, and one more piece of a file.
_SHARE = 0.5
_PROGRAM = "app.infrastructure.junit.program"


class Reports:
    """Those of one run of tests, which works in `tree`. Both methods block, and end early once `cancelled` is set.

    `tree` is the sandbox's workspace, with what holds for that; `log` is a file of the caller's, written anew.
    `require` names claims of the sandbox besides the one that there is no network.
    """

    def __init__(
        self,
        tree: Path,
        pattern: str | None,
        log: Path,
        limits: Limits = REPORT_LIMITS,
        *,
        require: frozenset[Claim] = frozenset(),
        capabilities: Capabilities | None = None,
    ) -> None:
        """`pattern` is that of the manifest; without one the usual places count."""
        self._tree = tree
        self._patterns = json.dumps([pattern] if pattern else USUAL_PLACES)
        self._log = log
        self._limits = limits
        self._require = require | {Claim.NETWORK}
        self._capabilities = capabilities
        self._old_ones: tuple[str, ...] = ()

    def clear(self, cancelled: Event | None = None) -> None:
        """Take away those that are there already. What cannot be taken away makes `read` read none."""
        self._old_ones = self._answer("clear", cancelled).complaints

    def read(self, cancelled: Event | None = None) -> Answer:
        """What they say together, and what of them could not be read."""
        if self._old_ones:
            return Answer(
                None, (f"none is read: those from before the tests could not be removed: {self._old_ones[0]}",)
            )
        return self._answer("read", cancelled)

    def _answer(self, mode: str, cancelled: Event | None) -> Answer:
        seconds = f"{self._limits.cpu_seconds * _SHARE:.1f}"
        spec = SandboxSpec(
            command=own_program(_PROGRAM, (mode, self._patterns, seconds)),
            workspace=self._tree,
            readable=READABLE,
            limits=self._limits,
            require=self._require,
        )
        try:
            outcome = run(spec, self._log, cancelled, capabilities=self._capabilities)
            if not outcome.succeeded:
                return _none(f"their reader {outcome.sentence()}")
            with self._log.open("rb") as log:
                return parse_answer(log.read(LONGEST + 1))
        except (SandboxRefused, SandboxBroken, AnswerInvalid) as error:
            return _none(f"the answer of their reader: {error}" if isinstance(error, AnswerInvalid) else str(error))
        except OSError as error:
            return _none(error.strerror or type(error).__name__)


def _none(why: str) -> Answer:
    return Answer(None, (f"no report could be looked at: {why}",))
