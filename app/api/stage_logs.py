"""What the commands of a stage printed: as text, or as server-sent events that follow it and can be resumed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue

from app.api.dependencies import dependencies
from app.api.routing import Call, Routes
from app.api.schemas.deployments import EventHeaders
from app.api.streaming import EVENT_STREAM, KEEP_ALIVE, frame, wants_stream
from app.domain.errors import Invalid
from app.orchestrator import stage_logs
from app.orchestrator.roles import Role
from app.orchestrator.stage_logs import BEGINNING, StageLog

routes = Routes("stage logs")
_ID = re.compile(r"(\d{1,9})-(\d{1,9})")
_LOOKS_BETWEEN_COMMENTS = 10


@routes.get(
    "/deployments/<uuid:execution_id>/stages/<stage>/log",
    role=Role.VIEWER,
    headers=EventHeaders,
    answers={200: {"text/plain": "text/plain", EVENT_STREAM: EVENT_STREAM}},
    problems=(404, 429),
)
def stage_log(call: Call, execution_id: UUID, stage: str) -> ResponseReturnValue:
    """What a stage's commands printed; with `Accept: text/event-stream` it follows until the stage has ended.

    Long logs keep head and tail. Of a stage that printed nothing it is the message. `Last-Event-ID` resumes the stream.
    """
    log = stage_logs.find_log(call.orchestrator, call.requester, execution_id, stage)
    if wants_stream():
        after = _after()
        return dependencies().streams.answer(lambda: _frames(call, log, after))
    return Response(stage_logs.whole(call.orchestrator, log), content_type="text/plain; charset=utf-8")


def _after() -> tuple[int, int]:
    given = request.headers.get("Last-Event-ID", "").strip()
    if not given:
        return BEGINNING
    found = _ID.fullmatch(given)
    if found is None:
        raise Invalid({"Last-Event-ID": ["is not the id of an event"]})
    return int(found[1]), int(found[2])


def _frames(call: Call, log: StageLog, after: tuple[int, int]) -> Iterator[str]:
    yield "retry: 1000\n\n"
    silent = 0
    for piece in stage_logs.follow(call.orchestrator, log, after):
        if piece is not None:
            silent = 0
            yield frame({"text": piece.content, "attempt": piece.attempt}, event_id=f"{piece.attempt}-{piece.seq}")
            continue
        silent += 1
        # The comment makes a client that has left fail, which frees its place.
        if silent % _LOOKS_BETWEEN_COMMENTS == 0:
            yield KEEP_ALIVE
