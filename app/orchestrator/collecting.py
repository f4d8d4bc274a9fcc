"""What the artifact store need not keep: bytes that no row names, and releases that are neither in use nor needed. With
the same tick go records that are old (`old_records.py`).

A *file* is garbage when no release, built artifact or built tree names its digest: what lost the race of two builds,
trees whose tests have passed, archives and trees of retired releases. Bytes are stored before their row is committed,
so only files that are older than an hour count; publishing the same bytes again makes a file young again.

A *release* is retired when the setting `releases_kept` newer ones of its module exist, and nobody runs it, is to run
it, is being brought to it, or would go back to it. The mark is made under the lock on its row that a submission takes
too (`deployments.draft_of`, `succession.rollback`): either the submission sees the mark and is refused, or this sees
the submission. Publishing it again takes the mark away (`releases.publish`), and it then stays for a day at least.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.db.engine import Raw
from app.orchestrator import old_records
from app.orchestrator.context import Orchestrator

log = logging.getLogger(__name__)

YOUNG = 3600.0
"""Seconds for which a file is not looked at."""
SHELVES = 256
"""The store has so many folders; one is looked at with every tick."""
_MOST_RETIRED = 50

_NAMED = """
select found from unnest(%(digests)s::text[]) as found
 where exists (select from releases where digest = found and retired_at is null)
    or exists (select from built_artifacts b join releases r on r.id = b.release_id
                where b.digest = found and r.retired_at is null)
    or exists (select from built_artifacts b join releases r on r.id = b.release_id
                where b.tree_digest = found and r.retired_at is null)
"""
# Of modules that something was published for lately: only then does one become superfluous. By chance, since those that
# are in use are among them: in any order the same ones could come first for ever.
_SUPERFLUOUS = """
with busy as (
    select distinct module_id from releases where created_at > hotswap_now() - interval '1 day'
)
select older.id from busy cross join lateral (
    select r.id, r.retired_at from releases r where r.module_id = busy.module_id order by r.id desc offset %(kept)s
) older
 where older.retired_at is null order by random() limit %(most)s
"""
_LOCK = "select module_id, module_name, version from releases where id = %(id)s for update skip locked"
_RETIRE = """
update releases r set retired_at = hotswap_now()
 where r.id = %(id)s and r.retired_at is null
   and coalesce(r.renewed_at < hotswap_now() - interval '1 day', true)
   and not exists (select from desired_releases w where w.module_id = r.module_id and w.version = r.version)
   and not exists (select from node_releases n
                    where n.module_name = r.module_name and (n.version = r.version
                      or n.standby @> jsonb_build_array(jsonb_build_object('version', r.version))))
   and not exists (select from deployments d left join node_operations o on o.deployment_id = d.id
                    where d.module_id = r.module_id and d.ended_at is null
                      and (d.release_id = r.id or o.before_version = r.version or o.target_version = r.version
                        or jsonb_path_exists(d.targets, '$.*.version ? (@ == $version)',
                                             jsonb_build_object('version', r.version))))
   and not exists (select from desired_releases w join node_operations o on o.deployment_id = w.deployment_id
                    where w.module_id = r.module_id and o.before_version = r.version)
"""


def collect(orchestrator: Orchestrator) -> int:
    """One tick: retire a few releases, forget old records, clear one shelf of the store and what was left half done.
    Returns how many files went."""
    shelf = int(time.time() // 60) % SHELVES
    retire(orchestrator)
    old_records.forget(orchestrator, shelf)
    return ArtifactStore(orchestrator.settings.artifacts_dir).tidy() + clear_shelf(orchestrator, shelf)


def retire(orchestrator: Orchestrator) -> int:
    """Returns how many releases were retired."""
    kept = orchestrator.settings.releases_kept
    if not kept:
        return 0
    with orchestrator.database.raw() as connection:
        found: list[Any] = connection.execute(_SUPERFLUOUS, {"kept": kept, "most": _MOST_RETIRED}).fetchall()
    return sum(_retired(orchestrator, {"id": row[0]}) for row in found)


def _retired(orchestrator: Orchestrator, release: dict[str, Any]) -> bool:
    with orchestrator.database.raw() as connection:
        # Alone, so that the next statement sees what was committed while it waited.
        row: Any = connection.execute(_LOCK, release).fetchone()
        if row is None or not connection.execute(_RETIRE, release).rowcount:
            return False
    log.info("release retired", extra={"module": row[1], "version": row[2]})
    return True


def clear_shelf(orchestrator: Orchestrator, number: int) -> int:
    """Take away what no row names on one of the store's shelves. Returns how many files that were."""
    store = ArtifactStore(orchestrator.settings.artifacts_dir)
    old = store.older_than(number, YOUNG)
    if not old:
        return 0
    with orchestrator.database.raw() as connection:
        garbage = set(old) - _named(connection, old)
        gone = [digest for digest in sorted(garbage) if store.discard(digest, YOUNG)]
    for digest in gone:
        log.info("artifact removed: nothing names it", extra={"digest": digest})
    return len(gone)


def _named(connection: Raw, digests: list[str]) -> set[str]:
    rows: list[Any] = connection.execute(_NAMED, {"digests": digests}).fetchall()
    return {row[0] for row in rows}
