"""Nodes: list, drain, remove, and what a module on one wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, cast, exists, func, or_, select
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.orm import Session

from app.domain.durations import parse_duration
from app.domain.errors import Conflict, NotFound, Unavailable
from app.infrastructure.db.models import Environment, Node, NodeOperation, NodeRelease
from app.infrastructure.nodes import NodeAddress, NodeRefused, NodeUnreachable
from app.orchestrator import environments
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, newest_of, only, page_of

_IN_FLIGHT = ("Dispatched", "Running", "Resolving")


class NodeLogs(Protocol):
    """The part of the agents' client that reads modules' logs. Both raise NodeUnreachable and NodeRefused."""

    def module_log(self, node: NodeAddress, *, tenant: UUID, module: str, size: int) -> str: ...

    def follow_module_log(
        self, node: NodeAddress, *, tenant: UUID, module: str, size: int
    ) -> AbstractContextManager[Iterator[str]]: ...


class NodeStatus(StrEnum):
    HEALTHY = "Healthy"
    UNAVAILABLE = "Unavailable"
    DRAINED = "Drained"


@dataclass(frozen=True, slots=True)
class NodeFilters:
    """Empty is no filter. A node is in one of the environments (in any case), has one of the statuses, all labels."""

    environments: Sequence[str] = ()
    statuses: Sequence[NodeStatus] = ()
    labels: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """`silent` is the time since the last heartbeat; `healthy` says whether that is within `unavailableAfter`."""

    row: Node
    environment: str
    silent: timedelta
    unavailable_after: timedelta

    @property
    def healthy(self) -> bool:
        return self.silent <= self.unavailable_after

    @property
    def status(self) -> NodeStatus:
        if not self.healthy:
            return NodeStatus.UNAVAILABLE
        return NodeStatus.DRAINED if self.row.drained else NodeStatus.HEALTHY


def _select(requester: Requester) -> Select[Any]:
    silent = func.greatest(func.hotswap_now() - Node.last_heartbeat, timedelta())
    return (
        select(Node, Environment, silent)
        .join(Environment, Environment.id == Node.environment_id)
        .where(Node.tenant_id == requester.tenant_id)
    )


def _view(row: Any) -> NodeView:
    node, environment, silent = row
    return NodeView(node, environment.name, silent, parse_duration(environment.policy["unavailableAfter"]))


def list_nodes(
    orchestrator: Orchestrator, requester: Requester, filters: NodeFilters, page: PageRequest
) -> Page[NodeView]:
    statement = _select(requester)
    if filters.statuses:
        statement = statement.where(or_(*(_IS[status] for status in filters.statuses)))
    for key, value in filters.labels:
        statement = statement.where(Node.labels.contains({key: value}))
    with orchestrator.database.session() as session:
        if filters.environments:
            ids = environments.ids_of(session, requester.tenant_id, filters.environments)
            if not ids:
                return Page([])
            legs = [only(statement, Node.environment_id, each) for each in ids]
            statement = legs[0] if len(legs) == 1 else statement.where(newest_of(session, legs, Node.id, page))
        found = page_of(session, statement, Node.id, page)
    return Page([_view(row) for row in found.items], found.next_cursor)


_SILENT = (func.hotswap_now() - Node.last_heartbeat) > cast(Environment.policy["unavailableAfter"].astext, INTERVAL)
_IS: dict[NodeStatus, ColumnElement[bool]] = {
    NodeStatus.UNAVAILABLE: _SILENT,
    NodeStatus.DRAINED: and_(~_SILENT, Node.drained),
    NodeStatus.HEALTHY: and_(~_SILENT, ~Node.drained),
}


def node(orchestrator: Orchestrator, requester: Requester, node_id: UUID) -> NodeView:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        return _found(session, requester, node_id)


def _found(session: Session, requester: Requester, node_id: UUID, *, lock: bool = False) -> NodeView:
    statement = _select(requester).where(Node.id == node_id)
    row = session.execute(statement.with_for_update(of=Node) if lock else statement).one_or_none()
    if row is None:
        raise NotFound(f"There is no node {node_id}.")
    return _view(row)


def releases_of(session: Session, node_ids: list[UUID]) -> dict[UUID, list[NodeRelease]]:
    """What each of these nodes runs, by module."""
    found: dict[UUID, list[NodeRelease]] = {node_id: [] for node_id in node_ids}
    rows = session.scalars(
        select(NodeRelease)
        .where(NodeRelease.node_id.in_(node_ids))
        .order_by(NodeRelease.node_id, NodeRelease.module_name)
    )
    for row in rows:
        found[row.node_id].append(row)
    return found


def node_with_releases(
    orchestrator: Orchestrator, requester: Requester, node_id: UUID
) -> tuple[NodeView, list[NodeRelease]]:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        view = _found(session, requester, node_id)
        return view, releases_of(session, [node_id])[node_id]


def set_drained(orchestrator: Orchestrator, requester: Requester, node_id: UUID, *, drained: bool) -> NodeView:
    """Whether rollouts leave the node out from now on. What runs there goes on. Raises NotFound."""
    with orchestrator.database.session() as session:
        view = _found(session, requester, node_id, lock=True)
        view.row.drained = drained
        return view


def remove(orchestrator: Orchestrator, requester: Requester, node_id: UUID) -> None:
    """Forget a node that is silent and has nothing under way. Raises NotFound, Conflict.

    One that still sends heartbeats would be back with the next of them.
    """
    with orchestrator.database.session() as session:
        view = _found(session, requester, node_id, lock=True)
        under_way = exists().where(NodeOperation.node_id == node_id, NodeOperation.status.in_(_IN_FLIGHT))
        if session.scalar(select(under_way)):
            raise Conflict(f"{view.row.hostname} has an operation under way; a node without one can be removed.")
        if view.healthy:
            raise Conflict(f"{view.row.hostname} is still heard from; a node whose agent is stopped can be removed.")
        session.delete(view.row)


def module_log(
    orchestrator: Orchestrator, requester: Requester, logs: NodeLogs, node_id: UUID, module: str, size: int
) -> str:
    """The newest `size` bytes of what a module wrote. Raises NotFound, Unavailable."""
    row = node(orchestrator, requester, node_id).row
    address = NodeAddress(node_id, row.address)
    try:
        return logs.module_log(address, tenant=requester.tenant_id, module=module, size=size)
    except NodeRefused as error:
        raise _refusal(error, module) from error
    except NodeUnreachable as error:
        raise Unavailable(f"The agent of {row.hostname} does not answer: {error}.") from error


def follow_module_log(
    orchestrator: Orchestrator, requester: Requester, logs: NodeLogs, node_id: UUID, module: str, size: int
) -> Iterator[str]:
    """The same, then what is added, until the agent or the reader ends it. Raises NotFound, Unavailable.

    The first piece is asked for before this returns, so that a refusal is one.
    """
    row = node(orchestrator, requester, node_id).row
    address = NodeAddress(node_id, row.address)
    pieces = _follow(logs, address, requester.tenant_id, module, size)
    try:
        first = next(pieces, "")
    except NodeRefused as error:
        raise _refusal(error, module) from error
    except NodeUnreachable as error:
        raise Unavailable(f"The agent of {row.hostname} does not answer: {error}.") from error
    return _after(first, pieces)


def _follow(logs: NodeLogs, address: NodeAddress, tenant: UUID, module: str, size: int) -> Iterator[str]:
    with logs.follow_module_log(address, tenant=tenant, module=module, size=size) as pieces:
        yield ""
        yield from pieces


def _after(first: str, pieces: Iterator[str]) -> Iterator[str]:
    yield first
    try:
        yield from pieces
    except NodeUnreachable:
        # The agent is gone in the middle: what it said so far stays said, and the stream ends.
        return


def _refusal(error: NodeRefused, module: str) -> NotFound | Unavailable:
    if error.status == 404:
        return NotFound(f"There is no module {module} on this node.")
    return Unavailable(f"The node's agent refused: {error}.")
