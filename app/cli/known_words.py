"""Words of the API for completion: the server need not be asked for these. A test compares them with its own."""

from __future__ import annotations

DEPLOYMENT_STATUSES = (
    "Queued", "Scheduled", "Running", "PendingApproval", "Soaking", "Paused", "Cancelling", "RollingBack", "Succeeded",
    "Failed", "RolledBack", "Rejected", "Expired", "Cancelled", "Superseded",
)  # fmt: skip
NODE_STATUSES = ("Healthy", "Unavailable", "Drained")
# Not "Security Scan", which has to be quoted; it runs no command of the module.
STAGES = ("Build", "Test", "Approval", "Deploy", "Validation")


def deployment_statuses(incomplete: str) -> list[str]:
    return _listed(DEPLOYMENT_STATUSES, incomplete)


def node_statuses(incomplete: str) -> list[str]:
    return _listed(NODE_STATUSES, incomplete)


def stages(incomplete: str) -> list[str]:
    return [word for word in STAGES if word.startswith(incomplete)]


def _listed(words: tuple[str, ...], incomplete: str) -> list[str]:
    """For an option that takes several, separated by commas: the last one goes on, and none stands twice."""
    before, comma, last = incomplete.rpartition(",")
    left = [word for word in words if word not in before.split(",")]
    return [f"{before}{comma}{word}" for word in left if word.startswith(last)]
