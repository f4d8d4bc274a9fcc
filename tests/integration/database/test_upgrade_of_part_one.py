"""Data of the first version goes on in this one: also policies that it took and this one does not understand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import ApprovalExpired
from app.domain.policy import parse_policy
from app.infrastructure.db import migrate
from app.infrastructure.db.engine import Database
from app.orchestrator import deployments, succession
from app.orchestrator.context import Orchestrator
from tests.integration.database.test_migrations import sqlalchemy_url
from tests.integration.engine.conftest import Collected, Lab, settings_of

FIRST_VERSION = "0001"
READABLE = "app.infrastructure.db.migrations.versions.0008_readable_policies"
COVER = {"name": "known", "rule": "bandit.*", "reason": "it is bounded", "until": "2030-01-01"}
# As the first version took them: any text or number, any list.
ODD = {
    "scan": {"stopAt": "severe", "osvData": 7, "exceptions": ["CVE-1", COVER, {"rule": "x"}, COVER]},
    "build": {"network": "full"},
    "approvals": {"required": 0, "roles": [], "fourEyes": False, "timeout": "24h"},
}
CHANGED = ["scan.stopAt", "scan.osvData", "build.network", "scan.exceptions", "approvals.roles"]


def configuration(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrate.HERE / "migrations"))
    config.attributes["url"] = url
    return config


@pytest.fixture
def lab(empty_database_url: str, tmp_path: Path) -> Iterator[Lab]:
    migrate.upgrade(sqlalchemy_url(empty_database_url))
    settings = settings_of(empty_database_url, tmp_path)
    database = Database(settings)
    published = Collected()
    made = Lab(Orchestrator(database, settings, published), published)
    made.listen(since=3600)
    yield made
    database.close()


def upgrade_from_the_first_version(lab: Lab, url: str, odd: dict[str, Any]) -> None:
    """Back to the tables of the first version, with its rows; what it took; and up again."""
    lab.orchestrator.database.engine.dispose()
    command.downgrade(configuration(sqlalchemy_url(url)), FIRST_VERSION)
    for table in ("environments", "deployments"):
        lab.sql(f"update {table} set policy = policy || %s::jsonb", json.dumps(odd))
    lab.orchestrator.database.engine.dispose()
    migrate.upgrade(sqlalchemy_url(url))


def test_what_it_kept_goes_on(lab: Lab, empty_database_url: str) -> None:
    lab.nodes(lab.environment(approvals={"roles": ["Deployer"]}), 2)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        lab.release(version)
    lab.roll_out("1.0.0")
    ended = lab.roll_out("1.1.0")
    waiting, rolling = lab.submit("1.2.0"), lab.submit("1.2.0")
    lab.enter(waiting)
    before = lab.sql("select version, policy from environments")[0]
    upgrade_from_the_first_version(lab, empty_database_url, ODD)

    after = lab.sql("select version, policy, updated_by from environments")[0]
    assert (after[0], after[2]) == (before[0] + 1, "upgrade")
    policy = parse_policy(after[1])
    assert after[1]["scan"] == {"stopAt": "high", "osvData": "optional", "exceptions": [COVER]}
    assert (after[1]["build"], policy.approvals.roles) == ({"network": "none"}, ("Approver",))
    assert {key: after[1][key] for key in after[1].keys() - ODD.keys()} == {
        key: before[1][key] for key in before[1].keys() - ODD.keys()
    }
    (change,) = lab.sql("select version, before, after, reason, changed_by from environment_changes")
    assert change[0] == after[0] and change[4] == "upgrade"
    assert change[1] == {"name": "QA", "order": 1, **before[1], **ODD}
    assert change[2] == {"name": "QA", "order": 1, **after[1]}
    assert change[3].endswith(": " + ", ".join(CHANGED))

    # What was under way is reported, cancelled, expired; what has ended is rolled back and tried again.
    lab.finish(waiting)
    assert lab.status(waiting) is DeploymentStatus.SUCCEEDED
    lab.happen(rolling, ApprovalExpired())
    deployments.cancel(lab.orchestrator, lab.requester, rolling, rollback=True)
    assert lab.status(rolling) is DeploymentStatus.CANCELLED
    lab.roll_out("1.0.0")
    back = succession.rollback(lab.orchestrator, lab.requester, ended, preempt=False, trace_id="t").rollback_id
    deployments.cancel(lab.orchestrator, lab.requester, back, rollback=True)
    succession.retry(lab.orchestrator, lab.requester, back, trace_id="t")


def test_what_it_understood_is_as_it_was(lab: Lab, empty_database_url: str) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    fine = {
        "scan": {"stopAt": "Critical", "osvData": "required", "exceptions": [COVER]},
        "build": {"network": "allowed"},
    }
    before = lab.sql("select version, policy || %s::jsonb from environments", json.dumps(fine))
    upgrade_from_the_first_version(lab, empty_database_url, fine)
    assert lab.sql("select version, policy from environments") == before
    assert lab.sql("select count(*) from environment_changes") == [(0,)]
    lab.roll_out("1.0.0", force=True)


@pytest.mark.parametrize("odd", [{"scan": {}, "build": {}}, {"scan": {"exceptions": {}}}, {"scan": {"stopAt": 1}}])
def test_what_is_left_can_be_read(odd: dict[str, Any]) -> None:
    mended = import_module(READABLE).mended
    policy, _changed = mended(odd)
    parse_policy(policy)
    assert mended(policy) == (policy, [])


def test_an_approval_that_nobody_could_refuse_is_the_approvers(lab: Lab, empty_database_url: str) -> None:
    """Not of the first version, but of what stood between it and this one."""
    environment = lab.environment()
    lab.nodes(environment, 1)
    lab.release("1.0.0")
    asking = lab.submit("1.0.0", require_approval=True)
    lab.pass_stage(asking, StageKind.SCAN)
    lab.orchestrator.database.engine.dispose()
    command.downgrade(configuration(sqlalchemy_url(empty_database_url)), "0007")
    lab.sql("update stages set approval = jsonb_set(approval, '{roles}', '[]') where approval is not null")
    lab.sql("update deployments set policy = jsonb_set(policy, '{approvals,roles}', '[]')")
    overrides = {"approvals": {"roles": [], "required": 1}}
    lab.sql(
        "insert into module_policies (module_id, environment_id, tenant_id, overrides, version, updated_by)"
        " select m.id, %s, m.tenant_id, %s::jsonb, 1, 'test' from modules m",
        environment,
        json.dumps(overrides),
    )
    lab.orchestrator.database.engine.dispose()
    migrate.upgrade(sqlalchemy_url(empty_database_url))
    assert lab.sql("select approval -> 'roles' from stages where waiting = 'approval'") == [(["Approver"],)]
    assert lab.sql("select overrides, version from module_policies") == [({"approvals": {"required": 1}}, 2)]
    assert lab.sql("select version, before, after, changed_by from module_policy_changes") == [
        (2, overrides, {"approvals": {"required": 1}}, "upgrade")
    ]
    lab.submit("1.0.0")
