"""Policies that were stored by rules which hold no longer are made readable.

The first version of the product kept the sections `scan` and `build` checked for shape only, and an approval could
name no roles. Both would now be refused whenever they are read: nothing could be submitted there, and a deployment
under way could neither be reported, cancelled nor expired. What is not understood gets its default, and never less
safe than that: an exception that is not understood goes, no roles become Approver. What was changed of an environment
or of a module stands in its history. The rules are written out here, as they were at this revision.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import sqlalchemy as sa
from alembic import op
from uuid6 import uuid7

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BY = "upgrade"
_WORDS = {
    ("scan", "stopAt"): (("low", "medium", "high", "critical", "never"), "high"),
    ("scan", "osvData"): (("optional", "required"), "optional"),
    ("build", "network"): (("none", "allowed"), "none"),
}
_KEYS = {"name", "rule", "file", "reason", "until"}
_MOST_EXCEPTIONS = 500
_LONGEST = 1000
_ROLES = ["Approver"]
_WHY = "not understood since this version, set back to what is usual: {}"

_MEND = sa.text(
    "update deployments set policy = cast(:after as jsonb) where policy = cast(:before as jsonb)"
)
_CHANGED = sa.text(
    "update environments set policy = cast(:after as jsonb), version = version + 1, updated_at = hotswap_now(),"
    " updated_by = :by where id = :id returning version"
)
_TOLD = sa.text(
    "insert into environment_changes (id, tenant_id, environment_id, version, before, after, reason, changed_by)"
    " values (:change, :tenant, :id, :version, cast(:before as jsonb), cast(:after as jsonb), :reason, :by)"
)
_WITHOUT_ROLES = sa.text(
    "update module_policies p set overrides = p.overrides #- '{approvals,roles}', version = p.version + 1,"
    " updated_at = hotswap_now(), updated_by = 'upgrade'"
    " from module_policies was where was.module_id = p.module_id and was.environment_id = p.environment_id"
    " and p.overrides #> '{approvals,roles}' = '[]'"
    " returning p.tenant_id, p.module_id, p.environment_id, p.version, was.overrides, p.overrides"
)
_MODULE_TOLD = sa.text(
    "insert into module_policy_changes"
    " (id, tenant_id, module_id, environment_id, version, before, after, reason, changed_by) values"
    " (:id, :tenant, :module, :environment, :version, cast(:before as jsonb), cast(:after as jsonb), :reason, :by)"
)


def upgrade() -> None:
    connection = op.get_bind()
    _environments(connection)
    _deployments(connection)
    _modules(connection)
    connection.execute(
        sa.text(
            "update stages set approval = jsonb_set(approval, '{roles}', cast(:roles as jsonb))"
            " where waiting = 'approval' and approval -> 'roles' = '[]'"
        ),
        {"roles": json.dumps(_ROLES)},
    )


def downgrade() -> None:
    """What was made readable is so for the version before, too."""


def _environments(connection: sa.Connection) -> None:
    rows = connection.execute(sa.text("select id, tenant_id, name, position, policy from environments for update"))
    for id_, tenant, name, position, policy in rows.all():
        after, changed = mended(policy)
        if not changed:
            continue
        values = {"id": id_, "tenant": tenant, "by": _BY, "change": uuid7()}
        version = connection.execute(_CHANGED, values | {"after": json.dumps(after)}).scalar_one()
        told = {"name": name, "order": position}
        values |= {
            "version": version,
            "before": json.dumps(told | policy),
            "after": json.dumps(told | after),
            "reason": _WHY.format(", ".join(changed)),
        }
        connection.execute(_TOLD, values)


def _deployments(connection: sa.Connection) -> None:
    """Ended ones, too: they can be tried again. Many deployments have one and the same policy."""
    for (policy,) in connection.execute(sa.text("select distinct policy from deployments")).all():
        after, changed = mended(policy)
        if changed:
            connection.execute(_MEND, {"before": json.dumps(policy), "after": json.dumps(after)})


def _modules(connection: sa.Connection) -> None:
    """Only roles can be wrong: who names none has those of its environment. The first version had no such rows."""
    rows = connection.execute(_WITHOUT_ROLES)
    for tenant, module, environment, version, before, after in rows.all():
        values = {
            "id": uuid7(),
            "tenant": tenant,
            "module": module,
            "environment": environment,
            "version": version,
            "before": json.dumps(before),
            "after": json.dumps(after),
            "reason": _WHY.format("approvals.roles"),
            "by": _BY,
        }
        connection.execute(_MODULE_TOLD, values)


def mended(policy: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The policy as it can be read, and the names of the fields that are others in it."""
    after: dict[str, Any] = json.loads(json.dumps(policy))
    changed = []
    for (section, key), (words, default) in _WORDS.items():
        fields = after.get(section) or {}
        value = fields.get(key)
        if value is not None and not (isinstance(value, str) and value.lower() in words):
            fields[key] = default
            changed.append(f"{section}.{key}")
    scan = after.get("scan") or {}
    given = scan.get("exceptions")
    if given is not None:
        scan["exceptions"] = list(_understood(given if isinstance(given, list) else []))
        if scan["exceptions"] != given:
            changed.append("scan.exceptions")
    approvals = after.get("approvals") or {}
    if approvals.get("roles") == []:
        approvals["roles"] = list(_ROLES)
        changed.append("approvals.roles")
    return after, changed


def _understood(exceptions: list[Any]) -> Iterator[dict[str, Any]]:
    names: set[str] = set()
    for each in exceptions:
        if len(names) < _MOST_EXCEPTIONS and _is_exception(each) and each["name"] not in names:
            names.add(each["name"])
            yield each


def _is_exception(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() <= _KEYS:
        return False
    if not all(_is_text(value.get(key)) for key in ("name", "rule", "reason")):
        return False
    if value.get("file") is not None and not _is_text(value["file"]):
        return False
    until = value.get("until")
    if isinstance(until, str):
        with suppress(ValueError):
            date.fromisoformat(until)
            return True
    return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _LONGEST
