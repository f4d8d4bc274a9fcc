"""Nodes: list, show, drain, remove, and the logs of their modules."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from flask import Response
from flask.typing import ResponseReturnValue

from agent.module_names import is_module_name
from app.api import node_views
from app.api.dependencies import dependencies
from app.api.routing import Call, Routes, no_content, page_answer
from app.api.schemas.deployments import NothingInput
from app.api.schemas.nodes import LogQuery, NodeDetailOutput, NodeInput, NodeOutput, NodesQuery
from app.api.streaming import EVENT_STREAM, KEEP_ALIVE, frame, wants_stream
from app.domain.errors import NotFound
from app.orchestrator import nodes
from app.orchestrator.nodes import NodeFilters, NodeStatus
from app.orchestrator.roles import Role

routes = Routes("nodes")


@routes.get("/nodes", role=Role.VIEWER, query=NodesQuery, answers={200: [NodeOutput]})
def list_nodes(call: Call) -> ResponseReturnValue:
    """Nodes, by environment, status and labels: of several labels a node has them all."""
    asked = call.query
    filters = NodeFilters(asked["environment"], [NodeStatus(word) for word in asked["status"]], asked["label"])
    page = nodes.list_nodes(call.orchestrator, call.requester, filters, call.page)
    return page_answer(page.map(node_views.node))


@routes.get("/nodes/<uuid:node_id>", role=Role.VIEWER, answers={200: NodeDetailOutput}, problems=(404,))
def show(call: Call, node_id: UUID) -> ResponseReturnValue:
    """One node with what it runs."""
    view, releases = nodes.node_with_releases(call.orchestrator, call.requester, node_id)
    return node_views.node_with_releases(view, releases)


@routes.operation(
    "PATCH", "/nodes/<uuid:node_id>", role=Role.ADMIN, body=NodeInput, answers={200: NodeOutput}, problems=(404,)
)
def change(call: Call, node_id: UUID) -> ResponseReturnValue:
    """Drain a node, or take it back in."""
    drained = call.body["drained"]
    return node_views.node(nodes.set_drained(call.orchestrator, call.requester, node_id, drained=drained))


@routes.post(
    "/nodes/<uuid:node_id>/drain", role=Role.ADMIN, body=NothingInput, answers={200: NodeOutput}, problems=(404,)
)
def drain(call: Call, node_id: UUID) -> ResponseReturnValue:
    """Leave the node out of rollouts from now on; what runs there goes on."""
    return node_views.node(nodes.set_drained(call.orchestrator, call.requester, node_id, drained=True))


@routes.post(
    "/nodes/<uuid:node_id>/undrain", role=Role.ADMIN, body=NothingInput, answers={200: NodeOutput}, problems=(404,)
)
def undrain(call: Call, node_id: UUID) -> ResponseReturnValue:
    """Take a drained node back in."""
    return node_views.node(nodes.set_drained(call.orchestrator, call.requester, node_id, drained=False))


@routes.operation("DELETE", "/nodes/<uuid:node_id>", role=Role.ADMIN, answers={204: None}, problems=(404, 409))
def remove(call: Call, node_id: UUID) -> ResponseReturnValue:
    """Forget a node whose agent is stopped."""
    nodes.remove(call.orchestrator, call.requester, node_id)
    return no_content()


@routes.get(
    "/nodes/<uuid:node_id>/modules/<module_name>/log",
    role=Role.VIEWER,
    query=LogQuery,
    answers={200: {"text/plain": "text/plain", EVENT_STREAM: EVENT_STREAM}},
    problems=(404, 429),
)
def module_log(call: Call, node_id: UUID, module_name: str) -> ResponseReturnValue:
    """What a module wrote on this node, newest part; with `Accept: text/event-stream` it follows.

    Read, it is what was written on both sides and by hooks, so also by a release that failed or ran before: what was
    written last is at the end, each has an equal share of `bytes`, and where there are several a line before each says
    whose it is. Followed, it is that of the active side only.
    """
    if not is_module_name(module_name):
        raise NotFound(f"There is no module {module_name} on this node.")
    shared, size = dependencies(), call.query["bytes"]
    asked = (call.orchestrator, call.requester, shared.node_logs, node_id, module_name, size)
    if wants_stream():
        return shared.streams.answer(lambda: _frames(nodes.follow_module_log(*asked)))
    return Response(nodes.module_log(*asked), content_type="text/plain; charset=utf-8")


def _frames(pieces: Iterator[str]) -> Iterator[str]:
    for piece in pieces:
        # Nothing new: the comment makes a client that has left fail, which frees its place.
        yield frame({"text": piece}) if piece else KEEP_ALIVE
