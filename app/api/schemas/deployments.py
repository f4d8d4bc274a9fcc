"""Deployments: what is asked for, and what is shown."""

from __future__ import annotations

from typing import Any

from flask import g
from marshmallow import ValidationError, fields, validates

from app.api.dependencies import dependencies
from app.api.schemas.fields import (
    Flag,
    Input,
    Metadata,
    ModuleName,
    Moment,
    Output,
    PageQuery,
    Several,
    Text,
    Version,
    status,
    strategy,
)
from app.domain.policy import StrategyKind
from app.orchestrator import environments
from app.orchestrator.deployments import lacking_strategy


class SubmissionInput(Input):
    module_name = ModuleName(required=True)
    version = Version(required=True)
    target_environment = Text(100, required=True)
    requester_email = fields.Email(load_default=None, allow_none=True)
    require_approval = Flag(load_default=False)
    description = Text(1000, empty=True, load_default=None, allow_none=True)
    metadata = Metadata(load_default=dict)
    strategy = strategy(load_default=None, allow_none=True)
    not_before = Moment(load_default=None, allow_none=True)
    force = Flag(load_default=False)

    @validates("requester_email")
    def _email_length(self, value: str | None, data_key: str, **_: Any) -> None:
        if value is not None and len(value) > 254:
            raise ValidationError("must have at most 254 characters")

    @validates("strategy")
    def _strategy_is_built(self, value: str | None, data_key: str, **_: Any) -> None:
        """The use case says it, too; here it is named among the other bad fields."""
        lacking = lacking_strategy(StrategyKind(value)) if value is not None else None
        if lacking:
            raise ValidationError(lacking)

    @validates("target_environment")
    def _environment_exists(self, value: str, data_key: str, **_: Any) -> None:
        """Asked here, so that an unknown environment is named among the other bad fields."""
        if not environments.exists(dependencies().orchestrator, value, g.tenant_id):
            raise ValidationError(f"{value!r} is not an environment")


class SubmissionQuery(Input):
    dry_run = Flag(load_default=False, metadata={"word": True})


class SubmissionHeaders(Input):
    idempotency_key = Text(255, data_key="Idempotency-Key")

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """A header keeps its name."""


class EventHeaders(Input):
    last_event_id = fields.String(data_key="Last-Event-ID")

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """A header keeps its name."""


class DeploymentsQuery(PageQuery):
    status = Several(status())
    environment = Several(Text(100))
    module = Several(Text(100))
    requester = Several(Text(200), commas=False)


class EventsQuery(Input):
    limit = PageQuery._declared_fields["limit"]
    cursor = fields.Integer(load_default=None, metadata={"description": "events before (older than) this number"})
    after = fields.Integer(load_default=None, metadata={"description": "events after this number, in their order"})


class CancelInput(Input):
    rollback = Flag(load_default=True)


class RollbackInput(Input):
    preempt = Flag(load_default=False)


class NothingInput(Input):
    """A body that may be empty and has no field."""


class LinksOutput(Output):
    self = fields.String(required=True)
    events = fields.String(required=True)
    trace = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "where its trace is looked at (HOTSWAP_TRACE_URL); null where that is not set"},
    )


class AcceptedOutput(Output):
    execution_id = fields.UUID(required=True)
    status = fields.String(required=True)
    start_time = fields.DateTime(required=True)
    estimated_duration = fields.String(required=True)
    trace_id = fields.String(required=True)
    links = fields.Nested(LinksOutput, required=True)


class PlannedStageOutput(Output):
    name = fields.String(required=True)
    runs = fields.Boolean(required=True)
    reason = fields.String(required=True, allow_none=True, metadata={"description": "why it is left out or would fail"})


class GateOutput(Output):
    kind = fields.String(required=True)
    text = fields.String(required=True)


class ChangeOutput(Output):
    node_id = fields.UUID(required=True)
    hostname = fields.String(required=True)
    from_version = fields.String(required=True, allow_none=True)
    to_version = fields.String(required=True, allow_none=True)


class SkippedOutput(ChangeOutput):
    reason = fields.String(required=True, allow_none=True)


class PlannedWaveOutput(Output):
    wave = fields.Integer(required=True)
    nodes = fields.List(fields.Nested(ChangeOutput), required=True)


class PlanOutput(Output):
    """What a dry run answers: the stages, the gates, and what each node would change, wave by wave."""

    module_name = fields.String(required=True)
    version = fields.String(required=True)
    target_environment = fields.String(required=True)
    strategy = fields.String(required=True)
    stages = fields.List(fields.Nested(PlannedStageOutput), required=True)
    gates = fields.List(fields.Nested(GateOutput), required=True)
    waves = fields.List(fields.Nested(PlannedWaveOutput), required=True)
    skipped = fields.List(fields.Nested(SkippedOutput), required=True)
    unavailable = fields.List(fields.String(), required=True, metadata={"description": "names of nodes"})
    refusal = fields.String(required=True, allow_none=True, metadata={"description": "why it would fail at once"})
    interrupts = fields.List(fields.String(), required=True)


class ChangedOutput(Output):
    execution_id = fields.UUID(required=True)
    status = fields.String(required=True)


class RollbackOutput(Output):
    rollback_id = fields.UUID(required=True)
    status = fields.String(required=True)
    nodes_affected = fields.Integer(required=True)


class SummaryOutput(Output):
    execution_id = fields.UUID(required=True)
    module_name = fields.String(required=True)
    version = fields.String(required=True, allow_none=True)
    target_environment = fields.String(required=True)
    status = fields.String(required=True)
    requested_by = fields.String(required=True)
    start_time = fields.DateTime(required=True)
    end_time = fields.DateTime(required=True, allow_none=True)
    duration = fields.String(required=True)


class WaitingOutput(Output):
    kind = fields.String(required=True)
    text = fields.String(required=True)
    since = fields.DateTime(required=True, allow_none=True)
    until = fields.DateTime(required=True, allow_none=True)
    blocked_by = fields.UUID(required=True, allow_none=True)


class WaveOutput(Output):
    wave = fields.Integer(required=True)
    status = fields.String(required=True)
    nodes = fields.Integer(required=True)
    nodes_deployed = fields.Integer(required=True)
    nodes_failed = fields.Integer(required=True)
    nodes_skipped = fields.Integer(required=True)
    start_time = fields.DateTime(required=True, allow_none=True)
    end_time = fields.DateTime(required=True, allow_none=True)


class StageOutput(Output):
    name = fields.String(required=True)
    status = fields.String(required=True)
    strategy = fields.String(required=True, allow_none=True)
    start_time = fields.DateTime(required=True, allow_none=True)
    end_time = fields.DateTime(required=True, allow_none=True)
    duration = fields.String(required=True, allow_none=True)
    attempt = fields.Integer(required=True)
    nodes_deployed = fields.Integer(required=True)
    nodes_failed = fields.Integer(required=True)
    nodes_skipped = fields.Integer(required=True)
    message = fields.String(required=True, allow_none=True)
    output_tail = fields.String(required=True, allow_none=True)
    details = fields.Dict(required=True, allow_none=True)
    waves = fields.List(fields.Nested(WaveOutput), required=True)


class DeploymentOutput(SummaryOutput):
    kind = fields.String(required=True)
    trace_id = fields.String(required=True)
    requested_with = fields.String(
        required=True, allow_none=True, metadata={"description": "the name of the API token that asked, if it was one"}
    )
    links = fields.Nested(LinksOutput, required=True)
    requester_email = fields.String(required=True, allow_none=True)
    description = fields.String(required=True, allow_none=True)
    metadata = fields.Dict(required=True, metadata={"description": "as it was given with the submission"})
    strategy = fields.String(required=True)
    digest = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    retry_of = fields.UUID(required=True, allow_none=True)
    rollback_of = fields.UUID(required=True, allow_none=True)
    superseded_by = fields.UUID(required=True, allow_none=True)
    waiting_for = fields.List(fields.Nested(WaitingOutput), required=True)
    stages = fields.List(fields.Nested(StageOutput), required=True)


class OperationOutput(Output):
    operation_id = fields.UUID(required=True)
    node_id = fields.UUID(required=True)
    hostname = fields.String(required=True)
    wave = fields.Integer(required=True)
    direction = fields.String(required=True)
    status = fields.String(required=True)
    attempt = fields.Integer(required=True)
    from_version = fields.String(required=True, allow_none=True)
    to_version = fields.String(required=True, allow_none=True)
    start_time = fields.DateTime(required=True, allow_none=True)
    end_time = fields.DateTime(required=True, allow_none=True)
    duration = fields.String(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    output_tail = fields.String(required=True, allow_none=True)


class EventOutput(Output):
    id = fields.Integer(required=True)
    type = fields.String(required=True)
    time = fields.DateTime(required=True)
    execution_id = fields.UUID(required=True)
    data = fields.Dict(required=True)
