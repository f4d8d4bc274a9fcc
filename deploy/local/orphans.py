"""What a killed supervisor left running, and its end.

Found by the ledger (boot id, pid, start time) and by session, never by name. Holders and modules live in sessions of
their own and are in no ledger: they go on serving, and the agents of this start adopt them.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable

from deploy.local.ledger import MARKER, Ledger, Record
from deploy.local.processes import ProcessKey, has_variable, session_members
from deploy.local.service import STOP_ORDER, Phase

# A server that lost its supervisor still has its data to write: it gets more time, and is asked in its own way.
_SERVERS_PATIENCE = 15.0  # seconds
_PATIENCE = 4.0
_AFTER_SIGKILL = 5.0
_POSTGRES_FAST = signal.SIGINT


def end_orphans(ledger: Ledger, stack_id: str, phase_of: Callable[[str], Phase], say: Callable[[str], None]) -> int:
    """End every process of an earlier start; how many services were found running.

    In the order of a stop, servers last. Agents get SIGTERM, on which modules stay.
    """
    records = ledger.records()
    found = 0
    for phases in STOP_ORDER:
        mine = [record for record in records if phase_of(record.name) in phases]
        living = [record for record in mine if _living(record, stack_id)]
        if living:
            say(f"ending what an earlier start left: {', '.join(record.name for record in living)}")
            _end(living, stack_id, _SERVERS_PATIENCE if Phase.SERVERS in phases else _PATIENCE)
        found += len(living)
        for record in mine:
            ledger.strike(record.name)
    return found


def _end(records: Iterable[Record], stack_id: str, patience: float) -> None:
    mine = {key for record in records for key in _living(record, stack_id)}
    for record in records:
        if record.key.is_alive():
            _send(record.key, _POSTGRES_FAST if record.name == "postgres" else signal.SIGTERM)
            _send(record.key, signal.SIGCONT)  # one that was stopped has to hear it
    _wait(mine, patience)
    for record in records:
        mine.update(_living(record, stack_id))
    for key in mine:
        _send(key, signal.SIGKILL)
    _wait(mine, _AFTER_SIGKILL)


def _wait(processes: Iterable[ProcessKey], patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(key.is_alive() for key in processes):
        time.sleep(0.02)


def _living(record: Record, stack_id: str) -> list[ProcessKey]:
    """The recorded process and what it left in its session.

    When it has ended itself, another session may carry its number by now: then only what bears our mark counts.
    """
    members = list(session_members(record.key))
    if record.key in members:
        return members
    return [each for each in members if has_variable(each.pid, MARKER, stack_id)]


def _send(key: ProcessKey, number: signal.Signals) -> None:
    """Signal that very process: the pidfd is opened first and the start time compared after it."""
    try:
        descriptor = os.pidfd_open(key.pid)
    except OSError:
        return
    try:
        if key.is_alive():
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass  # it has ended meanwhile, which is what was wanted
    finally:
        os.close(descriptor)
