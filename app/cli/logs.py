"""A log of the server's: as it is, or followed."""

from __future__ import annotations

import json

from app.cli.invocation import Invocation

_EVENT_STREAM = "text/event-stream"


def show_log(run: Invocation, path: str, *, follow: bool) -> None:
    """Print the log at `path`; with `follow` also what comes, until the server ends it or Ctrl-C. Raises CliError."""
    if follow:
        _follow(run, path)
        return
    response = run.client.request("GET", path, headers={"Accept": "text/plain, application/problem+json"})
    if run.output.json:
        run.output.data({"log": response.text})
    else:
        run.output.raw(response.text)


def _follow(run: Invocation, path: str) -> None:
    from app.cli.server_sent_events import lines, parse

    with run.client.stream(path, {"Accept": _EVENT_STREAM}, silence=60.0) as response:
        if not response.headers.get("Content-Type", "").startswith(_EVENT_STREAM):
            response.read()
            run.output.raw(response.text)
            return
        for event in parse(lines(response.iter_bytes())):
            piece = json.loads(event.data)
            if run.output.json:
                run.output.json_line(piece)
            else:
                run.output.raw(str(piece.get("text", "")))
