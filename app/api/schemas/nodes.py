"""Nodes, clusters, and what runs where."""

from __future__ import annotations

from marshmallow import fields, validate

from app.api.schemas.fields import Flag, Input, Label, Moment, Output, PageQuery, Several, Span, Text, Word
from app.orchestrator.nodes import NodeStatus


class NodesQuery(PageQuery):
    environment = Several(Text(100))
    status = Several(Word([status.value for status in NodeStatus]))
    label = Several(Label(metadata={"example": "role=web"}), commas=False, metadata={"description": "all of them"})


class NodeInput(Input):
    drained = Flag(required=True)


class LogQuery(Input):
    bytes = fields.Integer(load_default=65536, validate=validate.Range(min=1, max=1024 * 1024))


class StatusQuery(Input):
    module = Text(100, load_default=None)


class NodeReleaseOutput(Output):
    module_name = fields.String(required=True)
    version = fields.String(required=True, allow_none=True)
    digest = fields.String(required=True)
    status = fields.String(required=True)
    endpoint = fields.String(required=True, allow_none=True)


class StandbyOutput(Output):
    module_name = fields.String(required=True)
    version = fields.String(required=True, allow_none=True)
    digest = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, allow_none=True)


class NodeOutput(Output):
    node_id = fields.UUID(required=True)
    hostname = fields.String(required=True)
    environment = fields.String(required=True)
    status = fields.String(required=True)
    drained = fields.Boolean(required=True)
    last_heartbeat = fields.DateTime(required=True)
    enrolled_at = fields.DateTime(required=True)
    agent_version = fields.String(required=True)
    address = fields.String(required=True)
    labels = fields.Dict(required=True)
    resources = fields.Dict(required=True)
    metrics = fields.Dict(required=True)


class NodeDetailOutput(NodeOutput):
    releases = fields.List(fields.Nested(NodeReleaseOutput), required=True)
    standby = fields.List(fields.Nested(StandbyOutput), required=True)


class ClusterSummaryOutput(Output):
    environment = fields.String(required=True)
    total_nodes = fields.Integer(required=True)
    healthy_nodes = fields.Integer(required=True)
    is_healthy = fields.Boolean(required=True)


class ClusterMetricsOutput(Output):
    avg_cpu_usage = fields.Float(required=True, allow_none=True)
    avg_memory_usage = fields.Float(required=True, allow_none=True)
    avg_latency = fields.Float(required=True, allow_none=True)
    error_rate = fields.Float(required=True, allow_none=True)
    requests_per_second = fields.Float(required=True, allow_none=True)


class WeightOutput(Output):
    version = fields.String(required=True)
    percent = fields.Float(required=True)


class RouteOutput(Output):
    module_name = fields.String(required=True)
    url = fields.String(required=True)
    weights = fields.List(fields.Nested(WeightOutput), required=True)


class ClusterOutput(Output):
    environment = fields.String(required=True)
    total_nodes = fields.Integer(required=True)
    healthy_nodes = fields.Integer(required=True)
    unhealthy_nodes = fields.Integer(required=True)
    metrics = fields.Nested(ClusterMetricsOutput, required=True)
    nodes = fields.List(fields.Nested(NodeDetailOutput), required=True)
    routes = fields.List(fields.Nested(RouteOutput), required=True)


class HistoryQuery(Input):
    from_ = Moment(data_key="from", load_default=None, metadata={"description": "default: an hour before `to`"})
    to = Moment(load_default=None, metadata={"description": "default: now"})
    interval = Span(
        load_default=None,
        metadata={"description": "of one point; default: the finest of 1m, 5m, 15m, 1h, 6h, whole days that fits"},
    )


class PointOutput(Output):
    """What is null nobody has told: no node was heard from, or no request was served."""

    timestamp = fields.DateTime(required=True, metadata={"description": "where the interval begins"})
    cpu_usage = fields.Float(required=True, allow_none=True, metadata={"description": "mean of the nodes, 0 to 1"})
    memory_usage = fields.Float(required=True, allow_none=True, metadata={"description": "mean of the nodes, 0 to 1"})
    latency = fields.Float(required=True, allow_none=True, metadata={"description": "mean of requests, milliseconds"})
    error_rate = fields.Float(required=True, allow_none=True, metadata={"description": "share of requests, 0 to 1"})


class HistoryOutput(Output):
    environment = fields.String(required=True)
    interval = fields.String(required=True, metadata={"example": "00:01:00.000"})
    data_points = fields.List(fields.Nested(PointOutput), required=True)


class PlacementOutput(Output):
    module_name = fields.String(required=True)
    environment = fields.String(required=True)
    version = fields.String(required=True)
    versions = fields.List(fields.Dict(), required=True)
    since = fields.DateTime(required=True)
    deployed_by = fields.String(required=True, allow_none=True)
    execution_id = fields.UUID(required=True)
    previous_version = fields.String(required=True, allow_none=True)
    pending = fields.List(fields.Dict(), required=True)
    drift = fields.List(fields.Dict(), required=True)
