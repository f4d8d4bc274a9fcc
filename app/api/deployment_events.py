"""What happened in a deployment: a JSON page, or live server-sent events that can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from app.api import deployment_views
from app.api.dependencies import dependencies
from app.api.routing import Call, Routes
from app.api.schemas.deployments import EventHeaders, EventOutput, EventsQuery
from app.api.streaming import EVENT_STREAM, KEEP_ALIVE, KEEP_ALIVE_SECONDS, frame, wants_stream
from app.domain.errors import Invalid
from app.orchestrator import deployment_events
from app.orchestrator.deployment_events import EventPage, EventWatch
from app.orchestrator.roles import Role

routes = Routes("events")
_BATCH = 200


@routes.get(
    "/deployments/<uuid:execution_id>/events",
    role=Role.VIEWER,
    query=EventsQuery,
    headers=EventHeaders,
    answers={200: {"application/json": [EventOutput], EVENT_STREAM: EVENT_STREAM}, 204: None},
    problems=(404, 429),
)
def events(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """Events, newest first, or in order after a number; with `Accept: text/event-stream` live, until it has ended.

    The stream resumes after `Last-Event-ID` without a gap or a repeat. One that is resumed after the last event of an
    ended deployment is 204, on which browsers stop asking.
    """
    if wants_stream():
        return _live(call, execution_id)
    limit, after = call.query["limit"], call.query["after"]
    if after is not None:
        page = deployment_events.after(call.orchestrator, call.requester, execution_id, _number(after), limit)
        return _in_order(page, limit)
    before = call.query["cursor"]
    older = deployment_events.newest(
        call.orchestrator, call.requester, execution_id, None if before is None else _number(before), limit
    )
    more = older[-1].seq if older and older[-1].seq > 1 and len(older) == limit else None
    return _page([deployment_views.event(row) for row in older], {"cursor": more} if more else None)


def _in_order(page: EventPage, limit: int) -> ResponseReturnValue:
    shown = [deployment_views.event(row) for row in page.events]
    return _page(shown, {"after": page.events[-1].seq} if len(shown) == limit else None)


def _page(shown: list[dict[str, Any]], following: dict[str, int] | None) -> ResponseReturnValue:
    if following is None:
        return shown
    link = f'<{request.path}?{urlencode({**request.args.to_dict(), **following})}>; rel="next"'
    return shown, 200, {"Link": link}


def _live(call: Call, execution_id: UUID) -> ResponseReturnValue:
    given = request.headers.get("Last-Event-ID", "").strip() or "0"
    if not (given.isascii() and given.isdigit()):
        raise Invalid({"Last-Event-ID": ["is not the id of an event"]})
    last = _number(int(given) if len(given) < 12 else 2**31)
    # Asked before the answer begins, so that a deployment that does not exist is a 404.
    first = deployment_events.after(call.orchestrator, call.requester, execution_id, last, _BATCH)
    if first.complete and not first.events:
        return Response(status=204)
    shared = dependencies()
    return shared.streams.answer(lambda: _frames(call, shared.events, execution_id, last, first))


def _frames(call: Call, watch: EventWatch, execution_id: UUID, last: int, page: EventPage) -> Iterator[str]:
    yield "retry: 1000\n\n"
    while True:
        for row in page.events:
            last = row.seq
            yield frame(deployment_views.event(row), event_id=row.seq)
        if page.complete:
            return
        if not page.events:
            watch.wait(execution_id, last, KEEP_ALIVE_SECONDS)
        try:
            page = deployment_events.after(call.orchestrator, call.requester, execution_id, last, _BATCH)
        except SQLAlchemyError:
            # The stream outlives a restart of the database: nothing is lost, the next look goes on from `last`.
            page = EventPage((), complete=False)
        if not page.events and not page.complete:
            yield KEEP_ALIVE


def _number(given: int) -> int:
    """An event's number as PostgreSQL's integer has room for it."""
    return max(0, min(given, 2**31 - 1))
