"""Reading the log of a stage: what its commands printed, attempt after attempt, also while they run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.domain.deployment import StageStatus
from app.domain.errors import NotFound
from app.infrastructure.db.models import Stage
from app.infrastructure.stage_logs import Piece, all_pieces, pieces_after
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.deployment_queries import find, stage_name
from app.orchestrator.scan_findings import listed

LOOK_EVERY = 0.5
BEGINNING = (0, -1)
_STANDING = "select status, output_tail, message, details from stages where id = %s"


@dataclass(frozen=True, slots=True)
class StageLog:
    """`said` is what to show of a stage that printed nothing: the end of what a hook said, or its message, and what a
    scan found, whether or not it stops anything."""

    stage_id: UUID
    said: str


def find_log(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, name: str) -> StageLog:
    """`name` is the stage's, as shown or as its kind. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        stages = session.scalars(select(Stage).where(Stage.deployment_id == row.id)).all()
    for stage in stages:
        if name.lower() in (stage.kind.lower(), stage_name(row, stage.kind).lower()):
            return StageLog(stage.id, _said(stage.output_tail, stage.message, stage.details))
    raise NotFound(f"The deployment has no stage {name}.")


def _said(output_tail: str | None, message: str | None, details: Mapping[str, Any] | None) -> str:
    if output_tail:
        return output_tail
    lines = (*((message,) if message else ()), *listed(details or {}))
    return "".join(f"{line}\n" for line in lines)


def whole(orchestrator: Orchestrator, log: StageLog) -> str:
    """All that was printed so far, with a line before each further attempt."""
    parts: list[str] = []
    attempt = 0
    with orchestrator.database.raw() as connection:
        for piece in all_pieces(connection, log.stage_id):
            if attempt not in (0, piece.attempt):
                parts.append(f"\n--- attempt {piece.attempt} ---\n")
            attempt = piece.attempt
            parts.append(piece.content)
    return "".join(parts) or log.said


def follow(orchestrator: Orchestrator, log: StageLog, after: tuple[int, int]) -> Iterator[Piece | None]:
    """Pieces as they come, None now and then when there is nothing new; ends when the stage has.

    Of a stage that ended and printed nothing, what it says is the one piece, of attempt 0. A database that is away is
    asked again.
    """
    while True:
        try:
            with orchestrator.database.raw() as connection:
                # In this order: what an ended stage printed is all there by then.
                standing: Any = connection.execute(_STANDING, (log.stage_id,)).fetchone()
                found = pieces_after(connection, log.stage_id, *after)
        except (psycopg.Error, SQLAlchemyError):
            yield None
            time.sleep(LOOK_EVERY)
            continue
        for piece in found:
            after = (piece.attempt, piece.seq)
            yield piece
        if found:
            continue
        if standing is None:
            return
        status, output_tail, message, details = standing
        if StageStatus(status).ended:
            said = _said(output_tail, message, details)
            if after == BEGINNING and said:
                yield Piece(0, 0, said)
            return
        yield None
        time.sleep(LOOK_EVERY)
