"""Keys, modules, releases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import g
from marshmallow import ValidationError, fields, validate, validates

from agent.signatures import KeyInvalid, load_public
from app.api.dependencies import dependencies
from app.api.schemas.fields import KEY_ID, Flag, Input, Metadata, Output, PageQuery, Text
from app.orchestrator.environments import exists


class KeyInput(Input):
    public_key = Text(65536, required=True, metadata={"description": "PEM, SubjectPublicKeyInfo"})
    name = Text(100, load_default=None, allow_none=True)
    environment = Text(100, load_default=None, allow_none=True, metadata={"description": "null: every environment"})

    # Asked for here as well as by the use case, so that they are named among the other bad fields.
    @validates("public_key")
    def _public_key(self, value: str, data_key: str, **_: Any) -> None:
        try:
            load_public(value.encode("ascii"))
        except (KeyInvalid, UnicodeEncodeError) as error:
            raise ValidationError(str(error)) from None

    @validates("environment")
    def _environment(self, value: str | None, data_key: str, **_: Any) -> None:
        if value is not None and not exists(dependencies().orchestrator, value, g.requester.tenant_id):
            raise ValidationError("is not an environment")


class KeyOutput(Output):
    key_id = fields.String(required=True)
    name = fields.String(required=True)
    public_key = fields.String(required=True)
    environment = fields.String(required=True, allow_none=True)
    created_by = fields.String(required=True)
    created_at = fields.DateTime(required=True)


# Every list of releases shows it, up to 200 of them.
_PROVENANCE_CHARACTERS = 32 * 1024


def _brief(provenance: Mapping[str, Any]) -> None:
    if len(json.dumps(provenance, ensure_ascii=False, separators=(",", ":"))) > _PROVENANCE_CHARACTERS:
        raise ValidationError(f"must have at most {_PROVENANCE_CHARACTERS} characters as JSON")


class PublishForm(Input):
    """The parts of a publish that are no file."""

    signature = Text(4096, required=True, metadata={"description": "base64, over the SHA-256 of the archive"})
    key_id = fields.String(
        required=True, validate=validate.Regexp(f"^{KEY_ID.pattern}$", error="must be 16 hex digits")
    )
    metadata = Metadata(load_default=dict, allow_none=True)
    provenance = fields.Dict(keys=Text(200), load_default=None, allow_none=True, validate=_brief)


class ModulesQuery(PageQuery):
    name = Text(64, load_default=None, metadata={"description": "the beginning of the name"})


class ReleasesQuery(PageQuery):
    version = Text(200, load_default=None, metadata={"description": "the beginning of the version"})
    branch = Text(500, load_default=None, metadata={"description": "of the metadata"})
    commit = Text(500, load_default=None, metadata={"description": "of the metadata: the beginning of it"})


class ReleaseOutput(Output):
    module_name = fields.String(required=True)
    version = fields.String(required=True)
    digest = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    signed_by = fields.String(required=True)
    created_by = fields.String(required=True)
    created_at = fields.DateTime(required=True)
    metadata = fields.Dict(
        required=True, metadata={"description": "texts by name: commit, branch, buildUrl, notes, whatever was given"}
    )
    provenance = fields.Dict(required=True, allow_none=True, metadata={"description": "as the publisher gave it"})
    retired_at = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "since when it cannot be deployed; publishing the same archive again brings it back"},
    )


class BuiltOutput(Output):
    digest = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    built_at = fields.DateTime(required=True)
    execution_id = fields.UUID(required=True)
    isolation = fields.Dict(required=True)


class TestedOutput(Output):
    __test__ = False  # not a test class, whatever pytest thinks of the name

    passed_at = fields.DateTime(required=True)
    execution_id = fields.UUID(required=True)
    tests = fields.Dict(required=True, allow_none=True)


class ReleaseDetailOutput(ReleaseOutput):
    manifest = fields.Dict(required=True)
    built = fields.Nested(BuiltOutput, required=True, allow_none=True)
    tested = fields.Nested(TestedOutput, required=True, allow_none=True)


class ModuleOutput(Output):
    name = fields.String(required=True)
    latest_version = fields.String(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)


class ArtifactQuery(Input):
    built = Flag(
        load_default=False,
        metadata={"word": True, "description": "what was built of it, instead of what was published"},
    )


class ArtifactHeaders(Input):
    range = fields.String(data_key="Range", metadata={"example": "bytes=0-1023, -512"})
    if_range = fields.String(data_key="If-Range", metadata={"description": "the ETag that parts are wanted of"})
    if_match = fields.String(data_key="If-Match")
    if_none_match = fields.String(data_key="If-None-Match")

    def on_bind_field(self, field_name: str, field_obj: fields.Field[object]) -> None:
        """A header keeps its name."""
