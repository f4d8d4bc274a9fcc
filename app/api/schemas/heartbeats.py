"""What an agent sends (docs/agent-protocol.md). More fields may come with a newer agent: they are left out."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, fields, pre_load, validate

from app.api.schemas.fields import Input, Text

_MOST_MODULES = 1000
_TOKEN = validate.Range(min=0, max=2**63 - 1)


class _Agent(Input):
    class Meta:
        unknown = EXCLUDE


class StandbyInput(_Agent):
    digest = Text(200, allow_none=True, load_default=None)
    version = Text(300, allow_none=True, load_default=None)
    status = Text(100, allow_none=True, load_default=None)


class ModuleInput(_Agent):
    module = Text(100, required=True)
    digest = Text(200, required=True, allow_none=True)
    version = Text(300, allow_none=True, load_default=None)
    status = Text(100, required=True)
    endpoint = Text(1000, allow_none=True, load_default=None)
    fencing_token = fields.Integer(strict=True, load_default=0, validate=_TOKEN)
    standby = fields.List(fields.Nested(StandbyInput), load_default=list, validate=validate.Length(max=20))
    metrics = fields.Dict(keys=Text(100), allow_none=True, load_default=None)
    totals = fields.Dict(keys=Text(100), allow_none=True, load_default=None)


class HeartbeatInput(_Agent):
    hostname = Text(255, required=True)
    address = Text(300, required=True)
    agent_version = Text(100, required=True)
    boot_id = Text(200, required=True)
    sequence = fields.Integer(strict=True, required=True, validate=validate.Range(min=0, max=2**63 - 1))
    labels = fields.Dict(keys=Text(100), values=Text(500, empty=True), load_default=dict)
    resources = fields.Dict(keys=Text(100), load_default=dict)
    metrics = fields.Dict(keys=Text(100), load_default=dict)
    highest_token = fields.Integer(strict=True, load_default=0, validate=_TOKEN)
    modules = fields.List(fields.Nested(ModuleInput), load_default=list, validate=validate.Length(max=_MOST_MODULES))

    @pre_load
    def _no_null(self, data: Any, **_: Any) -> Any:
        """A section that an agent has nothing for may be null."""
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data
