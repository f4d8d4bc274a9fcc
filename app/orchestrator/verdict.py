"""How the work of a stage ended, for its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.events import StageReported
from app.orchestrator import outcomes
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator

TAIL_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """`details` in wire form: what a person may want to see besides the one sentence."""

    succeeded: bool
    message: str
    output_tail: str | None = None
    details: Mapping[str, Any] | None = None


def report(orchestrator: Orchestrator, claimed: ClaimedStage, verdict: Verdict, *, built: str | None = None) -> str:
    """Report how a claimed stage ended; an older attempt's report changes nothing. Returns the message."""
    outcomes.apply(orchestrator, claimed.deployment_id, reported(claimed, verdict, built))
    return verdict.message


def reported(claimed: ClaimedStage, verdict: Verdict, built: str | None = None) -> StageReported:
    """The event of it. `built` is the digest that nodes are to run from here on."""
    tail = verdict.output_tail.replace("\x00", "")[-TAIL_CHARACTERS:] if verdict.output_tail else None
    return StageReported(
        claimed.stage_id, claimed.attempt, verdict.succeeded, verdict.message, tail, built, verdict.details
    )
