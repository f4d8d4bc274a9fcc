"""Requests to values, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Request
from marshmallow import fields
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.test import EnvironBuilder

from app.api.parsing import parse, storable
from app.api.schemas.fields import Input, PageQuery, Text
from app.domain.errors import Invalid


class Inner(Input):
    deep_name = Text(5, required=True)


class Body(Input):
    name = Text(5, required=True)
    inner = fields.Nested(Inner)
    many = fields.List(fields.Nested(Inner))
    texts = fields.Dict(keys=Text(3), values=Text(3))


def request(content: bytes, content_type: str | None = "application/json", query: str = "") -> Request:
    builder = EnvironBuilder(method="POST", data=content, content_type=content_type, query_string=query)
    return Request(builder.get_environ())


def errors(content: bytes, query: str = "") -> set[str]:
    with pytest.raises(Invalid) as caught:
        parse(request(content, query=query), Body, PageQuery)
    assert all(messages for messages in caught.value.errors.values())
    return set(caught.value.errors)


def test_a_good_request() -> None:
    body, query = parse(request(b'{"name": "abc", "inner": {"deepName": "x"}}', query="limit=7"), Body, PageQuery)
    assert body == {"name": "abc", "inner": {"deep_name": "x"}}
    assert query == {"limit": 7, "cursor": None}


def test_complaints_of_body_and_query_come_together_by_path() -> None:
    found = errors(b'{"name": 1, "inner": {"deepName": "toolong"}, "many": [{}, {"x": 1}]}', query="limit=0&what=1")
    assert found == {"name", "inner.deepName", "many.0.deepName", "many.1.deepName", "many.1.x", "limit", "what"}


def test_keys_and_values_of_mappings_are_named() -> None:
    assert errors(b'{"name": "a", "texts": {"long": "x", "ok": "long"}}') == {"texts.long", "texts.ok"}


def test_what_cannot_be_stored_is_named_wherever_it_stands() -> None:
    assert errors(b'{"name": "a\\u0000", "texts": {"a": "\\ud800"}}') == {"name", "texts.a"}
    assert errors(b'{"name": "a", "texts": {"\\u0000": "x"}}') >= {"texts"}
    assert errors(b'{"name": "a", "many": [{"deepName": "\\u0000"}]}') == {"many[0].deepName"}


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"nul", b'{"name": NaN}', b"[" * 50_000, b"[1]", b'"x"', b"1", b"null"]
)
def test_what_is_no_object_is_a_complaint_about_the_body(content: bytes) -> None:
    assert errors(content) == {"body"}


def test_too_deep() -> None:
    assert errors(b'{"texts": ' * 50 + b"1" + b"}" * 50) == {"texts"}


def test_no_body_is_an_empty_one_whatever_its_type() -> None:
    for content_type in ("application/json", "text/plain", None):
        with pytest.raises(Invalid) as caught:
            parse(request(b"", content_type), Body, None)
        assert caught.value.errors.keys() == {"name"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None, "garbage"])
def test_another_content_type(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse(request(b"{}", content_type), Body, None)


@pytest.mark.parametrize(("text", "fine"), [("", True), ("\u00e9\U0001f600", True), ("\x00", False), ("\ud800", False)])
def test_storable(text: Any, fine: bool) -> None:
    assert storable(text) is fine
