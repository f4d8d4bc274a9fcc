"""What people name in short: a deployment by the beginning of its id, a node by its host's name."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from app.cli.client import Client
from app.cli.errors import Gone, UsageProblem

_SHORTEST = 4
_MOST = 5000  # deployments looked through for a prefix
_HEX = re.compile(r"[0-9a-f-]+")


def is_id(text: str) -> bool:
    """Whether it is a whole UUID."""
    try:
        UUID(text)
    except ValueError:
        return False
    return len(text) == 36


def deployment_id(client: Client, given: str) -> str:
    """The id that starts with `given`. Raises Gone, UsageProblem (ambiguous, or no beginning of an id)."""
    wanted = given.strip().lower()
    if is_id(wanted):
        return wanted
    if len(wanted) < _SHORTEST or not _HEX.fullmatch(wanted):
        wanted_form = f"it is made of 0-9, a-f and -, and its first {_SHORTEST} characters are enough"
        raise UsageProblem(f"{given!r} is no deployment's id: {wanted_form}")
    found: list[str] = []
    for summary in client.pages("/deployments", most=_MOST):
        identity = str(summary.get("executionId", ""))
        if identity.startswith(wanted):
            found.append(identity)
        elif identity < wanted:
            break  # newest first, and ids of version 7 grow with time
    if not found:
        raise Gone(f"there is no deployment whose id starts with {wanted}")
    if len(found) > 1:
        few = ", ".join(found[:5])
        raise UsageProblem(f"{len(found)} deployments have ids that start with {wanted}, so give more of it: {few}")
    return found[0]


def node(client: Client, given: str) -> dict[str, Any]:
    """The node with this id or host name, as `GET /nodes` shows it. Raises Gone."""
    wanted = given.strip().lower()
    for candidate in client.pages("/nodes"):
        if wanted in (str(candidate.get("nodeId", "")).lower(), str(candidate.get("hostname", "")).lower()):
            return candidate
    raise Gone(f"there is no node {given}: `hotswap node list` shows them all")
