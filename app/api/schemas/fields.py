"""Fields that are as strict as API.md: no number for a text, no "yes" for true, every text bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import semver
from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from agent.module_names import MODULE_NAME, is_module_name
from app.domain.deployment import DeploymentStatus
from app.domain.durations import parse_duration
from app.domain.policy import StrategyKind
from app.orchestrator.paging import DEFAULT_LIMIT, LARGEST_LIMIT

NOT_A_MODULE_NAME = f"must match ^{MODULE_NAME.pattern}$"
KEY_ID = re.compile(r"[0-9a-fA-F]{16}")
MOST_VALUES = 20
"""Of one filter."""
_LONGEST_VERSION = 200
_MOST_ENTRIES = 50


class _Wire(Schema):
    """snake_case here, camelCase on the wire."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        first, *rest = (field_obj.data_key or field_name).split("_")
        field_obj.data_key = first + "".join(word.capitalize() for word in rest)


class Input(_Wire):
    """A body or query string: every unknown field is named (marshmallow's default), nothing is coerced."""


class Output(_Wire):
    """An answer, for the document. More fields may come with time."""

    class Meta:
        unknown = INCLUDE


class Text(fields.String):
    """A text of at most `longest` characters, not empty unless `empty` says so."""

    def __init__(self, longest: int, *, empty: bool = False, **more: Any) -> None:
        super().__init__(validate=validate.Length(min=0 if empty else 1, max=longest), **more)


class Flag(fields.Boolean):
    """true or false; in a query string also those words."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "false": False}
        if self.metadata.get("word") and isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValidationError("must be true or false")


class Word(fields.String):
    """One of a few words, case-insensitive; loads as it is written in `words`."""

    def __init__(self, words: Iterable[str], **more: Any) -> None:
        self.words = {word.lower(): word for word in words}
        super().__init__(validate=validate.OneOf(list(self.words.values())), **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not isinstance(value, str) or value.lower() not in self.words:
            raise ValidationError("must be one of " + ", ".join(self.words.values()))
        return self.words[value.lower()]


class ModuleName(fields.String):
    def __init__(self, **more: Any) -> None:
        super().__init__(validate=_module_name, **more)


class Version(fields.String):
    """Semantic versioning 2.0.0."""

    def __init__(self, **more: Any) -> None:
        super().__init__(validate=_version, **more)


class Moment(fields.AwareDateTime):
    """RFC 3339, so with an offset: what an hour means without one depends on who reads it. From 2000 to 2199."""

    def __init__(self, **more: Any) -> None:
        super().__init__(format="iso", validate=_sensible, **more)
        self.error_messages["invalid_awareness"] = "needs an offset from UTC: Z, or such as +02:00"

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or len(value) > 40:
            raise ValidationError("must be a time such as 2026-11-24T06:30:00Z")
        return super()._deserialize(value, attr, data, **kwargs)


class Span(fields.Field[timedelta]):
    """A duration: `90s`, `5m`, `00:01:30`."""

    def __init__(self, **more: Any) -> None:
        metadata = {"type": "string", "example": "5m", **more.pop("metadata", {})}
        super().__init__(metadata=metadata, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> timedelta:
        try:
            return parse_duration(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class Metadata(fields.Dict):
    """At most 50 entries; keys of 1 to 100 characters, values of up to 500."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            keys=Text(100),
            values=Text(500, empty=True),
            validate=_few_entries,
            metadata={"maxProperties": _MOST_ENTRIES, **more.pop("metadata", {})},
            **more,
        )


class Several(fields.List[Any]):
    """Any of some values: `?status=Running&status=Paused`, and with `commas` `?status=Running,Paused` too."""

    def __init__(self, inner: fields.Field[Any], *, commas: bool = True, **more: Any) -> None:
        self.commas = commas
        super().__init__(inner, load_default=(), validate=validate.Length(max=MOST_VALUES), **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        given: list[str] = value if isinstance(value, list) else [value]
        texts = [text.strip() for each in given for text in each.split(",")] if self.commas else given
        try:
            found = super()._deserialize(texts, attr, data, **kwargs)
        except ValidationError as error:
            # By position they would name what is none of the client's names.
            every = error.messages.values() if isinstance(error.messages, dict) else [error.messages]
            raise ValidationError(list(dict.fromkeys(text for texts in every for text in texts))) from None
        return tuple(dict.fromkeys(found))


class Label(fields.String):
    """`key=value` of a node's labels; loads as a pair."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        key, equals, text = str(value).partition("=")
        if not key or not equals or len(key) > 100 or len(text) > 500:
            raise ValidationError("must be key=value")
        return key, text


def strategy(**more: Any) -> Word:
    return Word([kind.value for kind in StrategyKind], **more)


def status(**more: Any) -> Word:
    return Word([status.value for status in DeploymentStatus], **more)


def _few_entries(metadata: Mapping[str, str]) -> None:
    if len(metadata) > _MOST_ENTRIES:
        raise ValidationError(f"at most {_MOST_ENTRIES} entries")


def _module_name(text: str) -> None:
    if not is_module_name(text):
        raise ValidationError(NOT_A_MODULE_NAME)


def _version(text: str) -> None:
    if len(text) > _LONGEST_VERSION or not semver.Version.is_valid(text):
        raise ValidationError("must be a semantic version such as 1.4.0 or 2.0.0-rc.1")


def _sensible(moment: datetime) -> None:
    if not 2000 <= moment.year < 2200:
        raise ValidationError("must lie between the years 2000 and 2199")


class PageQuery(Input):
    limit = fields.Integer(load_default=DEFAULT_LIMIT, validate=validate.Range(min=1, max=LARGEST_LIMIT))
    cursor = Text(100, load_default=None)
