"""The header that an edit is based on a version with."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas.fields import Input


class IfMatchHeader(Input):
    if_match = fields.String(data_key="If-Match")

    def on_bind_field(self, field_name: str, field_obj: fields.Field[object]) -> None:
        """A header keeps its name."""
