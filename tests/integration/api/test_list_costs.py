"""What a page costs in a database with 20,000 rows of each kind: PostgreSQL says how many it looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from app.infrastructure.db.engine import Database
from app.infrastructure.db.models import DEFAULT_TENANT, Base
from app.infrastructure.outbox import SilentPublisher
from app.orchestrator import approvals, deployment_lists, nodes, releases
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.deployment_lists import Filters
from app.orchestrator.nodes import NodeFilters, NodeStatus
from app.orchestrator.paging import PageRequest
from app.orchestrator.releases import ReleaseFilters
from config.settings import Settings

ROWS = 20_000
# A page of 50 takes 51 rows of each of its values; with joins, and what is left out on the way, a few times as many.
FEW = 1_000
# A node's status is what its last heartbeat makes it: no index has it, and those of one environment are looked at.
FILL = f"""
insert into environments (id, tenant_id, name, position, policy, updated_by)
select uuidv7(), '{DEFAULT_TENANT}', name, place, '{{"unavailableAfter": "10s"}}', 'test'
  from (values ('QA', 1), ('Staging', 2), ('Production', 3), ('Lab', 4)) as e (name, place);
insert into modules (id, tenant_id, name)
select uuidv7(), '{DEFAULT_TENANT}', 'module-' || n from generate_series(1, {ROWS}) as n;
insert into releases (id, tenant_id, module_id, module_name, version, digest, size_bytes, manifest, key_id, signature,
                      created_by)
select uuidv7(), tenant_id, id, name, '0.1.0', 'sha256:0', 1, '{{}}', 'k', 's', 'test' from modules;
insert into releases (id, tenant_id, module_id, module_name, version, digest, size_bytes, manifest, key_id, signature,
                      details, created_by)
select uuidv7(), m.tenant_id, m.id, m.name, '1.' || n || '.0', 'sha256:' || n, 1, '{{}}', 'k', 's',
       jsonb_build_object('commit', md5(n::text), 'branch', case n % 1000 when 0 then 'rare' else 'main' end), 'test'
  from generate_series(1, {ROWS}) as n, modules m where m.name = 'module-1';
insert into deployments (id, tenant_id, kind, status, module_id, module_name, version, digest, environment_id,
                         environment_name, strategy, policy, requested_by, trace_id, place, submitted_at, ended_at)
select uuidv7(), m.tenant_id, 'deploy', case when n % 997 = 0 then 'Running' when n % 499 = 0 then 'Failed'
       else 'Succeeded' end, m.id, m.name, '1.0.0', 'd', e.id, e.name, 'direct', '{{}}',
       case when n <= 12000 then 'former-' || n % 2 when n % 1500 = 0 then 'rare' else 'build' end, 't', 0,
       hotswap_now(), hotswap_now()
  from generate_series(1, {ROWS}) as n
  join modules m on m.name = 'module-' || case when n > 16000 then 9 + n % 2 when n % 100 = 0 then 1 + n % 7 else 8 end
  join environments e on e.position = case when n % 800 = 0 then 4 else 1 + n % 3 end
 order by n;
insert into stages (id, deployment_id, tenant_id, position, kind, status, waiting, approval)
select uuidv7(), id, tenant_id, 3, 'Approval', case when r % 300 = 0 then 'Waiting' else 'Skipped' end,
       case when r % 300 = 0 then 'approval' end,
       '{{"required": 1, "given": [], "roles": [], "until": "2026-01-01T00:00:00+00:00"}}'
  from (select d.*, row_number() over (order by d.id) as r from deployments d) as d;
insert into nodes (id, tenant_id, environment_id, hostname, address, agent_version, boot_id, sequence, labels)
select uuidv7(), e.tenant_id, e.id, 'node-' || n, 'a', '0', 'b', 1,
       jsonb_build_object('role', case n % 2000 when 0 then 'rare' else 'web' end)
  from generate_series(1, {ROWS}) as n
  join environments e on e.position = case n % 1000 when 0 then 4 else 1 + n % 3 end;
"""


@pytest.fixture(scope="module")
def full(settings: Settings, postgres: Any, migrated_template: str) -> Iterator[Orchestrator]:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(f"create database test_lists template {migrated_template}".encode())
    url = postgres.url("test_lists")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(FILL.encode())
        connection.execute("vacuum analyze")
    database = Database(settings.model_copy(update={"database_url": url}))
    yield Orchestrator(database, settings, SilentPublisher())
    database.close()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute("drop database test_lists with (force)")


ME = Requester("viewer", frozenset({"Viewer"}))
DEPLOYMENTS = {
    "all": Filters(),
    "common status": Filters(statuses=["Succeeded"]),
    "rare status": Filters(statuses=["Running"]),
    "no such": Filters(statuses=["Expired"]),
    "several statuses": Filters(statuses=["Succeeded", "Failed", "Running"]),
    "rare statuses": Filters(statuses=["Failed", "Cancelled", "Expired"]),
    "module": Filters(modules=["module-9"]),
    "rare module": Filters(modules=["module-3"]),
    "modules": Filters(modules=["module-8", "module-3", "module-2"]),
    "environments": Filters(environments=["qa", "lab", "production"]),
    "rare environment": Filters(environments=["Lab"]),
    "requester": Filters(requesters=["rare"]),
    "requesters": Filters(requesters=["rare", "build"]),
    # Most of the rows, all of them old: neither sorted, nor found by walking through all that is newer.
    "former requesters": Filters(requesters=["former-0", "former-1"]),
    "module that rests": Filters(modules=["module-8"]),
    "what runs of one": Filters(statuses=["Running", "Paused"], modules=["module-8"], environments=["QA"]),
    "module and environments": Filters(modules=["module-8"], environments=["QA", "Staging"]),
}
RELEASES = {
    "all": ReleaseFilters(),
    "version": ReleaseFilters(version="1.19999."),
    "versions": ReleaseFilters(version="1."),
    "branch": ReleaseFilters(branch="main"),
    "rare branch": ReleaseFilters(branch="rare"),
    "commit": ReleaseFilters(commit="c4ca4238"),
}
NODES = {
    "all": NodeFilters(),
    "environment": NodeFilters(environments=["QA"]),
    "environments": NodeFilters(environments=["QA", "Lab"]),
    "rare environment": NodeFilters(environments=["lab"], statuses=[NodeStatus.UNAVAILABLE]),
    "label": NodeFilters(labels=[("role", "web")]),
    "rare label": NodeFilters(labels=[("role", "rare")]),
    "no such label": NodeFilters(labels=[("role", "none")]),
}
Look = Callable[[Orchestrator, PageRequest], Any]


def of_deployments(filters: Filters) -> Look:
    return lambda orchestrator, page: deployment_lists.list_deployments(orchestrator, ME, filters, page).rows


def of_releases(filters: ReleaseFilters) -> Look:
    return lambda orchestrator, page: releases.releases(orchestrator, ME, "module-1", filters, page)


def of_nodes(filters: NodeFilters) -> Look:
    return lambda orchestrator, page: nodes.list_nodes(orchestrator, ME, filters, page)


def of_modules(beginning: str | None) -> Look:
    return lambda orchestrator, page: releases.modules(orchestrator, ME, beginning, page)


def of_approvals(*environments: str) -> Look:
    return lambda orchestrator, page: approvals.pending(orchestrator, ME, environments, page)


LOOKS = {
    **{f"deployments: {name}": of_deployments(filters) for name, filters in DEPLOYMENTS.items()},
    **{f"releases: {name}": of_releases(filters) for name, filters in RELEASES.items()},
    **{f"nodes: {name}": of_nodes(filters) for name, filters in NODES.items()},
    "modules": of_modules(None),
    "modules: common beginning": of_modules("module-1"),
    "modules: rare beginning": of_modules("module-1999"),
    "modules: no such beginning": of_modules("zebra"),
    "approvals": of_approvals(),
    "approvals: environment": of_approvals("QA"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_page_looks_at_few_rows(full: Orchestrator, name: str) -> None:
    """The first page and one far behind it, where there is one; counted over every statement that it takes."""
    look = LOOKS[name]
    first = _costs(full, lambda: look(full, PageRequest()))
    assert sum(first.values()) <= FEW, first
    with full.database.raw() as connection:
        middle: Any = connection.execute(
            "select (select id from deployments order by id offset 60 limit 1),"
            " (select id from releases order by id offset 60 limit 1),"
            " (select id from nodes order by id offset 60 limit 1),"
            " (select id from modules order by id offset 60 limit 1)"
        ).fetchone()
    behind = dict(zip(("deployments", "releases", "nodes", "modules"), middle, strict=True))
    last = _costs(full, lambda: look(full, PageRequest(before=behind.get(name.partition(":")[0]))))
    assert sum(last.values()) <= FEW, last


def _costs(orchestrator: Orchestrator, look: Callable[[], Any]) -> dict[str, int]:
    """Rows that each statement of `look` touched, by its text: what its scans gave and what they threw away."""
    said: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    event.listen(orchestrator.database.engine, "before_cursor_execute", keep)
    try:
        look()
    finally:
        event.remove(orchestrator.database.engine, "before_cursor_execute", keep)
    costs: dict[str, int] = {}
    with orchestrator.database.raw() as connection:
        for statement, parameters in said:
            query = f"explain (analyze, timing off, format json) {statement}"
            row: Any = connection.execute(query.encode(), parameters).fetchone()
            costs[statement] = _touched(row[0][0]["Plan"])
    return costs


def _touched(plan: dict[str, Any]) -> int:
    rows = plan["Actual Rows"] + sum(plan.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
    own = round(rows * plan["Actual Loops"]) if "Scan" in plan["Node Type"] else 0
    return own + sum(_touched(part) for part in plan.get("Plans", ()))


def test_the_models_say_what_the_migrations_make(full: Orchestrator) -> None:
    with full.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differing = {getattr(each[1], "name", each[1]) for each in compare_metadata(context, Base.metadata)}
        # Alembic compares expressions as texts, and PostgreSQL writes these another way.
        assert differing <= {"ix_modules_name", "ix_releases_version", "ix_releases_branch", "ix_releases_commit"}
