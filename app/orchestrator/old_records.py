"""Records that would only grow: what commands of stages printed long ago, and scan reports that nobody looks at.

*Logs* are kept for `stage_log_retention` after their deployment has ended. Ids are made in order of time (UUID version
7, RFC 9562), so that the oldest are found by the primary key; a day is added for clocks that differ.

Of the *reports* on an artifact the newest stays, which is what evidence is read from, until every release that has the
artifact is retired. Older ones, of earlier scanners, stay for a day: while two versions of HotSwap run side by side,
each finds its own. Reports are looked at shelf by shelf, as their artifacts are (`collecting.py`).

All of it in batches, safe to run twice and at once; what is more than a few batches waits for the next tick.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, LiteralString

from app.infrastructure.db.reading import read
from app.orchestrator.context import Orchestrator

log = logging.getLogger(__name__)

_LOGS: LiteralString = """
with oldest as (
    select (lpad(to_hex((extract(epoch from hotswap_now() - %(retention)s + interval '1 day') * 1000)::bigint), 12, '0')
            || repeat('0', 20))::uuid as id
), old as (
    select p.ctid from oldest, stage_log_pieces p join stages s on s.id = p.stage_id
      join deployments d on d.id = s.deployment_id
     where p.stage_id < oldest.id and d.ended_at < hotswap_now() - %(retention)s
     order by p.stage_id limit %(most)s for update of p skip locked
), gone as (
    delete from stage_log_pieces where ctid in (select ctid from old) returning 1
)
select count(*) from gone
"""
_REPORTS: LiteralString = """
with old as (
    select s.ctid from tenants t join scan_reports s on s.tenant_id = t.id
     where s.digest >= %(first)s and s.digest < %(behind)s and s.scanned_at < hotswap_now() - interval '1 day'
       and (exists (select from scan_reports later
                     where later.tenant_id = s.tenant_id and later.digest = s.digest
                       and later.scanned_at > s.scanned_at)
         or not exists (select from releases r
                         where r.tenant_id = s.tenant_id and r.retired_at is null
                           and (r.digest = s.digest
                             or r.id in (select b.release_id from built_artifacts b where b.digest = s.digest))))
     limit %(most)s for update of s skip locked
), gone as (
    delete from scan_reports where ctid in (select ctid from old) returning 1
)
select count(*) from gone
"""
_PIECES = 200
"""Of up to 64 KiB: so many that a batch is short."""
_REPORTS_AT_ONCE = 500
_MOST_BATCHES = 10


def forget(orchestrator: Orchestrator, shelf: int) -> int:
    """Logs that are too old, and reports on artifacts of one of 256 shelves. Returns how many rows went."""
    retention = timedelta(seconds=orchestrator.settings.stage_log_retention)
    logs = _batches(orchestrator, _LOGS, {"retention": retention, "most": _PIECES})
    # "g" comes behind every digit of a digest, in every order of letters.
    bounds = {"first": f"sha256:{shelf:02x}", "behind": f"sha256:{shelf:02x}g"}
    reports = _batches(orchestrator, _REPORTS, {**bounds, "most": _REPORTS_AT_ONCE})
    if logs or reports:
        log.info("%d pieces of logs and %d scan reports removed", logs, reports)
    return logs + reports


def _batches(orchestrator: Orchestrator, statement: LiteralString, values: dict[str, Any]) -> int:
    gone = 0
    for _ in range(_MOST_BATCHES):
        done = int(read(orchestrator.database, statement, values)[0][0])
        gone += done
        if done < values["most"]:
            break
    return gone
