"""Fields are as strict as the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from marshmallow import ValidationError

from agent.module_names import is_module_name
from app.api.schemas.fields import (
    Flag,
    Input,
    Metadata,
    ModuleName,
    Moment,
    PageQuery,
    Text,
    Version,
    Word,
)


class Everything(Input):
    module_name = ModuleName()
    version = Version()
    some_text = Text(5)
    flag = Flag()
    word_flag = Flag(metadata={"word": True})
    word = Word(["blueGreen", "direct"])
    moment = Moment()
    metadata = Metadata()


def errors(**body: Any) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        Everything().load(body)
    assert isinstance(caught.value.messages, dict)
    return set(caught.value.messages)


def test_names_are_camel_case_on_the_wire_only() -> None:
    assert Everything().load({"moduleName": "abc", "someText": "x"}) == {"module_name": "abc", "some_text": "x"}
    assert errors(module_name="abc") == {"module_name"}


@pytest.mark.parametrize("name", ["abc", "a1-b", "x" * 64, "0-0"])
def test_good_module_names(name: str) -> None:
    assert is_module_name(name)


@pytest.mark.parametrize("name", ["", "ab", "-ab", "ab-", "Abc", "a_b", "a.b", "x" * 65, "abc\n", "ab\u00e9"])
def test_bad_module_names(name: str) -> None:
    assert errors(moduleName=name) == {"moduleName"}


@pytest.mark.parametrize("version", ["1.0.0", "0.0.1-rc.1+build.5", "10.20.30"])
def test_good_versions(version: str) -> None:
    assert Everything().load({"version": version}) == {"version": version}


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-01", "1.0.0-" + "x" * 200, 1.0, None])
def test_bad_versions(version: Any) -> None:
    assert errors(version=version) == {"version"}


@pytest.mark.parametrize("value", [1, 0, "true", "yes", None, [], 1.0])
def test_only_booleans_are_booleans(value: Any) -> None:
    assert errors(flag=value) == {"flag"}


def test_in_a_query_string_they_are_words() -> None:
    assert Everything().load({"wordFlag": "TRUE"}) == {"word_flag": True}
    assert errors(wordFlag="1") == {"wordFlag"}


def test_words_in_any_case_load_as_they_are_written() -> None:
    assert Everything().load({"word": "BLUEGREEN"}) == {"word": "blueGreen"}
    for wrong in ("green", "", 1, None):
        assert errors(word=wrong) == {"word"}


def test_moments_need_an_offset() -> None:
    for text in ("2026-11-24T06:30:00Z", "2026-11-24T08:30:00+02:00"):
        assert Everything().load({"moment": text}) == {"moment": datetime(2026, 11, 24, 6, 30, tzinfo=UTC)}
    with pytest.raises(ValidationError) as caught:
        Everything().load({"moment": "2026-11-24T06:30:00"})
    assert caught.value.messages == {"moment": ["needs an offset from UTC: Z, or such as +02:00"]}


@pytest.mark.parametrize("moment", ["", "tomorrow", 5, None, "1999-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "2" * 100])
def test_bad_moments(moment: Any) -> None:
    assert errors(moment=moment) == {"moment"}


def test_metadata_is_bounded() -> None:
    assert Everything().load({"metadata": {"k" * 100: "v" * 500, "empty": ""}})
    many = {str(number): "" for number in range(51)}
    wrong: list[Any] = [{"k" * 101: "v"}, {"": "v"}, {"k": "v" * 501}, {"k": 1}, many, [], "x"]
    for bad in wrong:
        assert errors(metadata=bad) == {"metadata"}


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "201"}, {"limit": "1.5"}, {"cursor": ""}, {"offset": "1"}])
def test_bad_pages(query: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        PageQuery().load(query)
