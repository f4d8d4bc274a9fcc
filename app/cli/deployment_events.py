"""What happened to a deployment: one event as the API tells it, and the sentence that tells it to a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.cli.deployment_view import moment, without_reason
from app.cli.output import counted, one_line


@dataclass(frozen=True, slots=True)
class DeploymentEvent:
    """`id` grows by one from event to event of a deployment; `raw` is the event as it came."""

    id: int
    kind: str
    body: Mapping[str, Any]
    time: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def about_the_whole(self) -> bool:
        """Whether it is about the deployment or a stage, not about a single node."""
        return self.kind.startswith(("deployment.", "stage."))

    @property
    def failure(self) -> bool:
        return self.kind.endswith((".failed", ".lost"))


def event_of(raw: object) -> DeploymentEvent | None:
    """Read an event as pages and streams have it; None for what is none."""
    if not isinstance(raw, Mapping):
        return None
    number, kind, body, time = raw.get("id"), raw.get("type"), raw.get("data"), raw.get("time")
    if not isinstance(number, int) or not isinstance(kind, str):
        return None
    return DeploymentEvent(
        number, kind, body if isinstance(body, Mapping) else {}, time if isinstance(time, str) else None, raw
    )


def event_of_stream(data: str) -> DeploymentEvent | None:
    """Read the data of a server-sent event; None for what is none of a deployment's."""
    try:
        return event_of(json.loads(data))
    except (ValueError, RecursionError):
        return None


INTERNAL = frozenset({"report.refused"})
"""What is ordinary when a rollout turns round, and reads like a fault: for the record and `--output json` only."""


def told(event: DeploymentEvent) -> str:
    """`05:31:07  Deploy to QA: succeeded, 5 nodes`: the event on one line."""
    at = moment(event.time)
    return f"{at:%H:%M:%S}  {sentence(event)}" if at else sentence(event)


def sentence(event: DeploymentEvent) -> str:
    """The event in words."""
    noun, _, verb = event.kind.partition(".")
    body = event.body
    if event.kind == "deployment.planned":
        return _planned(body)
    if noun == "operation":
        return _operation(verb, body)
    subject = one_line(body.get("stage")) if noun == "stage" else noun
    why = body.get("message") or body.get("reason")
    if noun == "stage" and isinstance(why, str):
        why = without_reason(why)
    rest = {key: value for key, value in body.items() if key not in ("stage", "message", "reason")}
    if rest.get("attempt") == rest.get("step", 1):
        rest.pop("attempt", None)  # each step is an attempt; only that it is not the first of its step is news
    text = f"{subject} {_words(verb)}".strip()
    if why:
        text += f": {one_line(why)}"
    if rest:
        text += " (" + ", ".join(f"{key} {_value(value)}" for key, value in rest.items()) + ")"
    return text


def _planned(body: Mapping[str, Any]) -> str:
    waves = [wave for wave in body.get("waves") or [] if isinstance(wave, list)]
    count = sum(len(wave) for wave in waves)
    skipped = body.get("skipped") or []
    if not count:
        # Which of them run it already and which are away, the stage's message says.
        return "planned: nothing to change" + (f" on {counted(len(skipped), 'node')}" if skipped else "")
    text = f"planned: {counted(count, 'node')} in {counted(len(waves), 'wave')}"
    return text + (f", without {', '.join(one_line(name) for name in skipped)}" if skipped else "")


def _operation(verb: str, body: Mapping[str, Any]) -> str:
    node = one_line(body.get("node") or body.get("operationId"))
    back = " back" if body.get("direction") == "back" else ""
    version = f" {one_line(body['version'])}" if body.get("version") else ""
    wave = body.get("wave")
    where = f" (wave {wave + 1})" if isinstance(wave, int) and not back else ""
    text = f"{node}{where}:{version}{back} {_words(verb)}"
    error = body.get("error") or body.get("reason")
    return text + (f": {one_line(error)}" if error else "")


def _words(verb: str) -> str:
    """`rolledBack` -> `rolled back`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in verb)


def _value(value: object) -> str:
    return one_line(json.dumps(value) if isinstance(value, Mapping | list) else value)
