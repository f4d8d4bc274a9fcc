"""Reading the log of a stage: what its commands printed, attempt after attempt, also while they run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
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

LOOK_EVERY = 0.5
BEGINNING = (0, -1)


@dataclass(frozen=True, slots=True)
class StageLog:
    """`said` is what to show of a stage that ran no command: the end of what a hook said, or its message."""

    stage_id: UUID
    said: str


def find_log(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, name: str) -> StageLog:
    """`name` is the stage's, as shown or as its kind. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        stages = session.scalars(select(Stage).where(Stage.deployment_id == row.id)).all()
    for stage in stages:
        if name.lower() in (stage.kind.lower(), stage_name(row, stage.kind).lower()):
            return StageLog(stage.id, stage.output_tail or (f"{stage.message}\n" if stage.message else ""))
    raise NotFound(f"The deployment has no stage {name}.")


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

    A database that is away is asked again.
    """
    while True:
        try:
            with orchestrator.database.raw() as connection:
                # In this order: what an ended stage printed is all there by then.
                ended = _ended(
                    connection.execute("select status from stages where id = %s", (log.stage_id,)).fetchone()
                )
                found = pieces_after(connection, log.stage_id, *after)
        except (psycopg.Error, SQLAlchemyError):
            ended, found = False, []
        for piece in found:
            after = (piece.attempt, piece.seq)
            yield piece
        if ended and not found:
            return
        if not found:
            yield None
            time.sleep(LOOK_EVERY)


def _ended(row: object) -> bool:
    return not isinstance(row, tuple) or StageStatus(row[0]).ended
