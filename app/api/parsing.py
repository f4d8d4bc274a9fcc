"""From the bytes of a request to checked values: every complaint about body and query string at once.

Content type first (415), then JSON (400), then the schemas. What PostgreSQL cannot store in a text (a NUL, half a
surrogate pair) is refused here, wherever in a body or query string it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError, fields
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from app.domain.errors import Invalid

_UNSTORABLE = "has a character that is none (NUL, or half a surrogate pair)"
_DEEPEST = 40
_LONGEST_NUMBER = 1000
Errors = dict[str, list[str]]


def parse(
    request: Request, body: type[Schema] | None, query: type[Schema] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Body and query string through their schemas. Raises Invalid, UnsupportedMediaType, RequestEntityTooLarge."""
    errors: Errors = {}
    values: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    if query is not None:
        schema = _instance(query)
        several = _of_several(schema)
        complain_of_repeated(request.args, errors, several)
        parameters = load(schema, _arguments(several, request.args), errors)
    if body is not None:
        values = load(_instance(body), json_body(request), errors)
    if errors:
        raise Invalid(errors)
    return values, parameters


def _of_several(schema: Schema) -> set[str | None]:
    """The fields of a query string that may be given several times."""
    return {field.data_key for field in schema.fields.values() if isinstance(field, fields.List)}


def _arguments(several: set[str | None], given: MultiDict[str, str]) -> dict[str, Any]:
    """The query string: every value of what may have several, the first of all else."""
    return {name: given.getlist(name) if name in several else given[name] for name in given}


def complain_of_repeated(given: MultiDict[str, Any], errors: Errors, several: Collection[str | None] = ()) -> None:
    """What is given twice, and may not be, is half ignored, whichever half is taken."""
    for name, values in given.lists():
        if len(values) > 1 and name not in several:
            errors[name[:200]] = ["is given more than once"]


@lru_cache(maxsize=256)
def _instance(schema: type[Schema]) -> Schema:
    """Making one costs as much as a load; loading changes nothing in it."""
    return schema()


def json_body(request: Request) -> Any:
    """The JSON of a request; `{}` where it has no body. Raises Invalid, UnsupportedMediaType."""
    content = request.get_data(cache=True)
    # Werkzeug cuts a body without a length at the limit, in silence.
    if request.content_length is None and len(content) >= (request.max_content_length or len(content) + 1):
        raise RequestEntityTooLarge
    if not content:
        return {}
    if not request.is_json:
        raise UnsupportedMediaType("The body must be application/json.")
    try:
        value = json_value(content.decode("utf-8"))
    except RecursionError:
        raise Invalid({"body": ["is nested too deeply"]}) from None
    except ValueError as error:
        raise Invalid({"body": [f"is not JSON: {str(error)[:200]}"]}) from None
    if not isinstance(value, dict):
        raise Invalid({"body": ["must be a JSON object"]})
    return value


def json_value(text: str) -> Any:
    """JSON with numbers that are numbers, so that it can be kept and told again. Raises ValueError, RecursionError."""
    return json.loads(text, parse_constant=_no_constant, parse_int=_whole_number, parse_float=_finite)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is larger than numbers can be")
    return value


def _whole_number(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number has more than {_LONGEST_NUMBER} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def load(schema: Schema, raw: Any, errors: Errors) -> dict[str, Any]:
    """What the schema makes of `raw`; what it complains about is added to `errors`, by dotted path."""
    unstorable = set(_unstorable(raw))
    for path in unstorable:
        errors.setdefault(path or "body", []).append(_UNSTORABLE)
    try:
        # Schemas ask the database, too, which must not be asked with what it cannot store.
        found: dict[str, Any] = schema.load(_without_unstorable(raw) if unstorable else raw)
        return found
    except ValidationError as error:
        for path, messages in _flat(error.messages):
            if path not in unstorable:
                errors.setdefault(path, []).extend(messages)
        return {}


def _unstorable(value: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    if depth > _DEEPEST:
        raise Invalid({path.split(".")[0] or "body": ["is nested too deeply"]})
    if isinstance(value, str):
        if not storable(value):
            yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not storable(str(key)):
                yield path
            else:
                yield from _unstorable(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, f"{path}[{index}]", depth + 1)


def _without_unstorable(value: Any) -> Any:
    """The same with another character in the place of each that cannot be stored; every text was complained of."""
    if isinstance(value, str):
        return value if storable(value) else "?" * len(value)
    if isinstance(value, Mapping):
        return {_without_unstorable(str(key)): _without_unstorable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_unstorable(item) for item in value]
    return value


def storable(text: str) -> bool:
    """Whether PostgreSQL can keep it."""
    if "\x00" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _flat(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """marshmallow's nested messages as dotted paths; its `_schema` is the body itself."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            name = (
                "" if key in ("_schema", "key", "value") and not (path == "" and key != "_schema") else str(key)[:200]
            )
            yield from _flat(inner, ".".join(part for part in (path, name) if part))
    elif isinstance(messages, list):
        yield path or "body", [str(message) for message in messages]
    else:
        yield path or "body", [str(messages)]
