"""One declaration for each operation: method, path, role, schemas, answers. Serving, checks and OpenAPI come from it.

    routes = Routes("environments")

    @routes.get("/environments/<name>", role=Role.VIEWER, answers={200: EnvironmentSchema})
    def show(call: Call, name: str) -> Answer: ...

There is no operation without a `role`: `None` says, visibly, that it takes no token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from apiflask import APIBlueprint, APIFlask
from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema

from app.api.authorization import authenticate
from app.api.dependencies import dependencies
from app.api.parsing import parse, storable
from app.api.tracing import trace_id
from app.domain.errors import NotFound
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, parse_cursor, scope_of
from app.orchestrator.roles import Role

PREFIX = "/api/v1"
Handler: TypeAlias = Callable[..., ResponseReturnValue]
# What an answer's body is: a schema, a list of it, a media type that is not JSON, or nothing.
Content: TypeAlias = type[Schema] | list[type[Schema]] | str | None
# The same, or one for each media type that the client may choose.
Body: TypeAlias = Content | Mapping[str, Content]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be made, with what it carries. `body` and `query` have passed their schemas."""

    orchestrator: Orchestrator
    body: Mapping[str, Any]
    query: Mapping[str, Any]
    trace_id: str
    _requester: Requester | None = None

    @property
    def requester(self) -> Requester:
        assert self._requester is not None, "an operation without a role has no requester"
        return self._requester

    @property
    def page(self) -> PageRequest:
        """Raises Invalid for a cursor that is none, or that of another list."""
        cursor: str | None = self.query.get("cursor")
        filters = {name: value for name, value in self.query.items() if name not in ("limit", "cursor")}
        scope = scope_of(request.path, filters)
        before: UUID | None = parse_cursor(cursor, scope) if cursor else None
        return PageRequest(self.query["limit"], before, scope)


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    tag: str
    role: Role | None
    handler: Handler
    answers: Mapping[int, Body]
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    headers: type[Schema] | None = None
    form: type[Schema] | None = None
    problems: tuple[int, ...] = ()
    body_bytes: Callable[[], int] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.tag}_{self.handler.__name__}"

    def view(self, **arguments: Any) -> ResponseReturnValue:
        """What Flask calls: who is it and may they, then is the input right, then the handler."""
        requester = authenticate(self.role) if self.role is not None else None
        if not all(storable(value) for value in arguments.values() if isinstance(value, str)):
            raise NotFound("There is no such resource.")
        if self.body_bytes is not None:
            request.max_content_length = self.body_bytes()
        if self.body is not None or self.form is not None:
            dependencies().bodies.guard(request, upload=self.form is not None)
        body, query = parse(request, self.body, self.query)
        call = Call(dependencies().orchestrator, body, query, trace_id(), requester)
        return self.handler(call, **arguments)


@dataclass(slots=True)
class Routes:
    """The operations of one noun. `prefix` goes before every path."""

    tag: str
    prefix: str = PREFIX
    operations: list[Operation] = field(default_factory=list)

    def operation(
        self, method: str, path: str, *, role: Role | None, answers: Mapping[int, Body], **more: Any
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self.operations.append(
                Operation(method, self.prefix + path, self.tag, role, handler, answers=answers, **more)
            )
            return handler

        return declare

    def get(
        self, path: str, *, role: Role | None, answers: Mapping[int, Body], **more: Any
    ) -> Callable[[Handler], Handler]:
        return self.operation("GET", path, role=role, answers=answers, **more)

    def post(
        self, path: str, *, role: Role | None, answers: Mapping[int, Body], **more: Any
    ) -> Callable[[Handler], Handler]:
        return self.operation("POST", path, role=role, answers=answers, **more)

    def register(self, app: APIFlask) -> None:
        # The document is made from the declarations (specification.py), so the framework's own reading is off.
        blueprint = APIBlueprint(self.tag, __name__, enable_openapi=False)
        for operation in self.operations:
            blueprint.add_url_rule(
                operation.path,
                operation.handler.__name__,
                operation.view,
                methods=[operation.method],
                provide_automatic_options=False,
            )
        app.register_blueprint(blueprint)


def page_answer(page: Page[dict[str, Any]]) -> ResponseReturnValue:
    """A page as a JSON array, with the next one in its `Link` header."""
    if page.next_cursor is None:
        return list(page.items)
    arguments = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    link = f'<{request.path}?{urlencode([*arguments, ("cursor", page.next_cursor)])}>; rel="next"'
    return list(page.items), 200, {"Link": link}


def no_content() -> Response:
    return Response(status=204)
