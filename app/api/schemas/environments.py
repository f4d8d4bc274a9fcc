"""Environments, and what modules override of their policies.

The policy itself is checked by the domain (`parse_policy`), which names every bad field: here its fields are only told
to the document, and passed on as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, fields

from app.api.schemas.fields import Input, Output, Text
from app.domain.policy import BuildNetwork, OnNodeLost, OnPausedTimeout, Overtaken, StrategyKind, UnavailableNodes

_DURATION: dict[str, Any] = {"type": "string", "example": "90s"}
_SECTION: dict[str, Any] = {"type": "object"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_MAPPINGS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
# The fields of a policy by their names on the wire, with what the document says of each.
_POLICY: dict[str, dict[str, Any]] = {
    "strategy": {"type": "string", "enum": [word.value for word in StrategyKind]},
    "maxConcurrentNodes": {"type": "integer"},
    "unavailableAfter": _DURATION,
    "nodeLostAfter": _DURATION,
    "unavailableNodes": {"type": "string", "enum": [word.value for word in UnavailableNodes]},
    "maxUnavailableAtStart": {"example": "20%", "description": "a number of nodes, or a share of them"},
    "maxFailedNodes": {"type": "integer"},
    "onNodeLost": {"type": "string", "enum": [word.value for word in OnNodeLost]},
    "rolling": _SECTION | {"example": {"batch": "25%", "minInService": None}},
    "canary": _SECTION,
    "blueGreen": _SECTION,
    "judge": _SECTION,
    "approvals": _SECTION | {"example": {"required": 1, "roles": ["Approver"], "fourEyes": True, "timeout": "24h"}},
    "scan": _SECTION,
    "build": _SECTION | {"example": {"network": BuildNetwork.NONE.value}},
    "supersede": _FLAG,
    "overtaken": {"type": "string", "enum": [word.value for word in Overtaken]},
    "pausedTimeout": _DURATION,
    "onPausedTimeout": {"type": "string", "enum": [word.value for word in OnPausedTimeout]},
    "allowDowngrade": _FLAG,
    "predecessors": _MAPPINGS,
    "freeze": _MAPPINGS,
}
_LOCKED: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string"},
    "description": "fields that a module's own policy may not override",
}
_REASON: dict[str, Any] = {"type": "string", "description": "why; kept with the change"}


class _AsItCame(Input):
    """The body as a mapping by the names of the wire, whatever the types."""

    class Meta:
        unknown = INCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.attribute = field_obj.data_key


def _raw(described: Mapping[str, Mapping[str, Any]], *, required: bool = False) -> dict[str, fields.Field[Any]]:
    """Of any type, whatever the document says: it is the domain that complains, together with all else."""
    return {
        name: fields.Raw(required=required, allow_none=not required, metadata=dict(about))
        for name, about in described.items()
    }


PolicyInput: type[Schema] = _AsItCame.from_dict(
    {
        **_raw({name: {"description": "read only"} for name in ("name", "version", "updatedAt", "updatedBy")}),
        **_raw(_POLICY | {"locked": _LOCKED, "order": {"type": "integer"}, "reason": _REASON}),
    },
    name="PolicyInput",
)
"""What GET gave, plus `reason`; fields that are only shown are ignored."""

OverridesInput: type[Schema] = _AsItCame.from_dict(_raw(_POLICY | {"reason": _REASON}), name="OverridesInput")
"""The fields that a module overrides, and no other, plus `reason`."""


class RemovalQuery(Input):
    reason = Text(1000, load_default=None, metadata=_REASON)


class _EnvironmentOutput(Output):
    name = fields.String(required=True)
    order = fields.Integer(required=True)
    version = fields.Integer(required=True)
    updated_at = fields.DateTime(required=True)
    updated_by = fields.String(required=True)


EnvironmentOutput: type[Schema] = _EnvironmentOutput.from_dict(
    _raw(_POLICY | {"locked": _LOCKED}, required=True), name="EnvironmentOutput"
)


class ModulePolicyOutput(Output):
    module_name = fields.String(required=True)
    environment = fields.String(required=True)
    overrides = fields.Dict(required=True, metadata={"description": "what the module overrides"})
    effective = fields.Dict(required=True, metadata={"description": "the policy that holds for the module"})
    locked = fields.List(fields.String(), required=True, metadata={"description": "what cannot be overridden"})
    ignored = fields.List(
        fields.String(), required=True, metadata={"description": "overridden before it was locked; counts for nothing"}
    )
    version = fields.Integer(required=True, metadata={"description": "0 where nothing is overridden"})
    reason = fields.String(required=True, allow_none=True)
    updated_at = fields.DateTime(required=True, allow_none=True)
    updated_by = fields.String(required=True, allow_none=True)
