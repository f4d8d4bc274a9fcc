"""Every call and field of the API's contract, as far as it is built, stands in the OpenAPI document (contract.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.application import bare_app

CONTRACT: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "contract.yaml").read_text(encoding="utf-8"))
CALLS: list[dict[str, Any]] = CONTRACT["calls"]
LATER: list[dict[str, Any]] = [call for calls in CONTRACT["later"].values() for call in calls]
PAGE = ("limit", "cursor")
JSON = "application/json"


class Document:
    """The OpenAPI document, looked up by calls that name no parameters: `GET /modules/{}`."""

    def __init__(self) -> None:
        spec: Any = bare_app().spec
        self.schemas: dict[str, Any] = spec["components"]["schemas"]
        self.operations: dict[str, Any] = {
            f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}": operation
            for path, methods in spec["paths"].items()
            for method, operation in methods.items()
        }

    def operation(self, call: str) -> Any:
        """None where there is none. Paths are below the version's, but for those that begin with it or are outside."""
        method, path = call.split()
        return self.operations.get(call) or self.operations.get(f"{method} {CONTRACT['version']}{path}")

    def schema(self, schema: Any) -> Any:
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def has(self, schema: Any, field: str) -> bool:
        """Whether a dotted path leads to something: `stages[].waves[].nodes`."""
        at = self.schema(schema)
        for name, lists in re.findall(r"([^.\[\]]*)((?:\[\])*)\.?", field.removesuffix(".")):
            if not name and not lists:
                continue
            if name:
                at = self.schema(at).get("properties", {}).get(name)
                if at is None:
                    return False
            for _ in range(lists.count("[]")):
                at = self.schema(at)
                if "array" not in at.get("type", ()):
                    return False
                at = at.get("items", {})
        return True


DOCUMENT = Document()


def json_of(response: Any) -> Any:
    return response["content"][JSON]["schema"]


def named(calls: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(call, id=call["call"]) for call in calls]


@pytest.mark.parametrize("contract", named(CALLS))
def test_a_call_is_as_the_contract_says(contract: dict[str, Any]) -> None:
    operation = DOCUMENT.operation(contract["call"])
    assert operation is not None, "there is no such call"
    assert list(_missing(contract, operation)) == []


def _missing(contract: dict[str, Any], operation: Any) -> Iterator[str]:
    """What the contract has and the document has not, in words."""
    if operation["security"] != ([] if contract.get("open") else [{"bearer": []}]):
        yield "a token, or none"
    for status in contract.get("statuses", []):
        if str(status) not in operation["responses"]:
            yield f"status {status}"
    parameters = {(each["in"], each["name"]) for each in operation["parameters"]}
    for where, names in (("query", contract.get("query", [])), ("header", contract.get("headers", []))):
        yield from (f"{where} {name}" for name in names if (where, name) not in parameters)
    if contract.get("page"):
        yield from (f"query {name}" for name in PAGE if ("query", name) not in parameters)
    yield from _missing_input(contract, operation)
    yield from _missing_answers(contract, operation)


def _missing_input(contract: dict[str, Any], operation: Any) -> Iterator[str]:
    for kind, media in (("body", JSON), ("form", "multipart/form-data")):
        if kind not in contract:
            continue
        taken = operation.get("requestBody", {"content": {}})
        if media not in taken["content"]:
            yield f"a {kind}"
            continue
        schema = DOCUMENT.schema(taken["content"][media]["schema"])
        for field in contract[kind]:
            name = field.strip("()")
            if name not in schema.get("properties", {}):
                yield f"{kind} {name}"
            if (name == field) is not (name in schema.get("required", [])):
                yield f"{kind} {name} {'must be' if name == field else 'need not be'} given"
        # A call in which every field is optional may have no body.
        if taken.get("required", False) is not any(not field.startswith("(") for field in contract[kind]):
            yield f"a {kind} that may be left out, or not"


def _missing_answers(contract: dict[str, Any], operation: Any) -> Iterator[str]:
    good = [status for status in sorted(operation["responses"]) if status.startswith("2")]
    told = {media for status in good for media in operation["responses"][status].get("content", {})}
    yield from (f"media {media}" for media in contract.get("media", []) if media not in told)
    expected: dict[str, list[str]] = {str(status): fields for status, fields in contract.get("answers", {}).items()}
    if "answer" in contract:
        expected[str(contract.get("statuses", [int(good[0])])[0])] = contract["answer"]
    if "items" in contract:
        expected[good[0]] = ["[]", *(f"[].{field}" for field in contract["items"])]
    for status, fields in expected.items():
        schema = json_of(operation["responses"][status])
        yield from (f"{status} {field}" for field in fields if not DOCUMENT.has(schema, field))


def test_what_the_contract_does_not_ask_for_is_listed() -> None:
    """So that nothing is added by mistake: a new call belongs to `calls` or to `more` in contract.yaml."""
    known = {id(DOCUMENT.operation(call)) for call in [each["call"] for each in CALLS] + CONTRACT["more"]}
    assert [call for call, operation in DOCUMENT.operations.items() if id(operation) not in known] == []
    assert all(DOCUMENT.operation(call) for call in CONTRACT["more"])


@pytest.mark.parametrize("contract", named(CALLS))
def test_no_call_is_listed_without_its_fields(contract: dict[str, Any]) -> None:
    """A call that takes or answers JSON is only checked as far as its fields are named."""
    operation = DOCUMENT.operation(contract["call"])
    takes = JSON in operation.get("requestBody", {"content": {}})["content"]
    assert ("body" in contract) is takes
    good = [operation["responses"][status] for status in sorted(operation["responses"]) if status.startswith("2")]
    shapes = [DOCUMENT.schema(json_of(answer)) for answer in good if JSON in answer.get("content", {})]
    told = any(shape.get("properties") or "items" in shape for shape in shapes)
    assert bool(contract.get("answer") or contract.get("items")) is told


@pytest.mark.parametrize("contract", named(LATER))
def test_what_comes_later_is_not_there_yet(contract: dict[str, Any]) -> None:
    """So that the list stays true: what is built is moved up, and checked from then on."""
    operation = DOCUMENT.operation(contract["call"])
    built = operation is not None and not (set(contract) > {"call"} and list(_missing(contract, operation)))
    assert not built, f"it is built: move it from `later` to `calls` in contract.yaml: {contract['call']}"


def test_problems() -> None:
    assert set(CONTRACT["problem"]) <= DOCUMENT.schemas["Problem"]["properties"].keys()


@pytest.mark.parametrize(("place", "words"), CONTRACT["words"].items())
def test_words_of_filters(place: str, words: list[str]) -> None:
    method, path, name = place.split()
    (parameter,) = (each for each in DOCUMENT.operation(f"{method} {path}")["parameters"] if each["name"] == name)
    assert parameter["schema"]["items"]["enum"] == words


def test_limits_of_a_submission() -> None:
    fields = DOCUMENT.schemas["SubmissionInput"]["properties"]
    assert fields["description"]["maxLength"] == 1000
    assert fields["metadata"]["maxProperties"] == 50
    assert fields["metadata"]["additionalProperties"]["maxLength"] == 500


@pytest.mark.parametrize(
    ("field", "there"),
    [
        ("stages[].waves[].nodes", True),
        ("stages[].waves[].none", False),
        ("stages.waves", False),
        ("executionId[]", False),
        ("none", False),
        ("waitingFor[].kind", True),
    ],
)
def test_the_checker_itself(field: str, there: bool) -> None:
    answer = json_of(DOCUMENT.operation("GET /deployments/{}")["responses"]["200"])
    assert DOCUMENT.has(answer, field) is there


def test_the_checker_names_what_is_missing() -> None:
    contract = {
        "call": "GET /deployments",
        "open": True,
        "statuses": [200, 418],
        "query": ["status", "colour"],
        "headers": ["If-Match"],
        "media": ["text/csv"],
        "items": ["executionId", "colour"],
        "body": ["x"],
    }
    assert list(_missing(contract, DOCUMENT.operation("GET /deployments"))) == [
        "a token, or none", "status 418", "query colour", "header If-Match", "a body", "media text/csv", "200 [].colour"
    ]  # fmt: skip
