"""What is wrong with an environment as it is given: each function finds what it can, and all of it is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import Invalid
from app.domain.later_sections import SECTIONS, contradictions
from app.domain.policy import parse_policy
from app.infrastructure.db.models import Environment
from app.orchestrator.context import Requester

LONGEST_REASON = 1000
_LAST_POSITION = 10_000
_MOST_PREDECESSORS = 1000  # more are no policy


def unknown_predecessors(session: Session, requester: Requester, given: object) -> dict[str, list[str]]:
    """Complaints about those that name no environment; `given` may be malformed, which others complain about."""
    items = given if isinstance(given, list) else []
    named = {
        number: item["environment"].lower()
        for number, item in enumerate(items[:_MOST_PREDECESSORS])
        if isinstance(item, dict) and isinstance(item.get("environment"), str)
    }
    # PostgreSQL takes no NUL and no lone surrogate, and no environment is called so.
    asked = {name for name in named.values() if name.isprintable()}
    if not named:
        return {}
    known = set(
        session.scalars(
            select(func.lower(Environment.name)).where(
                Environment.tenant_id == requester.tenant_id, func.lower(Environment.name).in_(asked)
            )
        )
    )
    return {
        f"predecessors.{number}.environment": ["there is no such environment"]
        for number, name in named.items()
        if name not in known
    }


def checked_policy(policy: Mapping[str, Any], name: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The whole policy, and every complaint about it.

    So that one bad field does not hide that others contradict themselves, the sections that can be read are then read
    alone.
    """
    errors: dict[str, list[str]] = {}
    try:
        checked = parse_policy(policy).to_json()
    except Invalid as invalid:
        errors.update(invalid.errors)
        bad = {field.partition(".")[0] for field in errors}
        readable = [section for section in SECTIONS if section in policy and section not in bad]
        checked = parse_policy({section: policy[section] for section in readable}).to_json()
    return checked, errors | contradictions(checked, name)


def complaints_about(order: object, reason: object) -> dict[str, list[str]]:
    """About its place and the reason of the change."""
    errors: dict[str, list[str]] = {}
    if order is not None and (
        isinstance(order, bool) or not isinstance(order, int) or not 0 <= order <= _LAST_POSITION
    ):
        errors["order"] = [f"must be a whole number from 0 to {_LAST_POSITION}"]
    if reason is not None and (not isinstance(reason, str) or len(reason) > LONGEST_REASON):
        errors["reason"] = [f"must be a text of at most {LONGEST_REASON} characters"]
    return errors
