"""A page over the OpenAPI document that needs no other server: it works in a network without the internet."""

from __future__ import annotations

from apiflask import APIFlask
from flask import Response, current_app, render_template_string
from flask.typing import ResponseReturnValue

from app.api.routing import Call, Routes

routes = Routes("documentation")

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ spec.info.title }} {{ spec.info.version }}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
summary{cursor:pointer;padding:.2rem 0}code,pre{font-family:ui-monospace,monospace}
.m{display:inline-block;width:4.5rem;font-weight:600}pre{background:#f4f4f4;padding:.7rem;overflow:auto}
small{color:#555}
</style>
<h1>{{ spec.info.title }} {{ spec.info.version }}</h1>
<p>The whole document: <a href="/api/v1/openapi.json">openapi.json</a></p>
{% for path, operations in spec.paths.items() %}{% for method, operation in operations.items() %}
<details><summary><code><span class="m">{{ method|upper }}</span>{{ path }}</code>
 {{ operation.summary }} <small>{{ operation['x-role'] or 'no token' }}</small></summary>
<pre>{{ {'parameters': operation.parameters, 'requestBody': operation.requestBody|default(none),
 'responses': operation.responses}|tojson(indent=2) }}</pre></details>
{% endfor %}{% endfor %}
<h2>Schemas</h2>
{% for name, schema in spec.components.schemas.items() %}
<details><summary>{{ name }}</summary><pre>{{ schema|tojson(indent=2) }}</pre></details>
{% endfor %}
</html>"""


@routes.get("/openapi.json", role=None, answers={200: "application/json"})
def specification(_call: Call) -> ResponseReturnValue:
    """This document."""
    return document()


@routes.get("/docs", role=None, answers={200: "text/html"})
def page(_call: Call) -> ResponseReturnValue:
    """A page for people over the document."""
    return Response(render_template_string(_PAGE, spec=document()), content_type="text/html; charset=utf-8")


def document() -> dict[str, object]:
    """The OpenAPI document, made once for each application."""
    found: dict[str, object] | None = current_app.extensions.get("hotswap.document")
    if found is None:
        app: object = current_app._get_current_object()  # type: ignore[attr-defined]
        assert isinstance(app, APIFlask)
        made = app.spec
        assert isinstance(made, dict)
        found = current_app.extensions["hotswap.document"] = made
    return found
