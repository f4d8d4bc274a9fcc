"""The words: fields of log lines, labels of metrics and attributes of spans have these names, and no others.

A thing has one name wherever it is told. The reference in docs/guides/observing.md is made from this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of a field: its type in JSON and what it says. `label`: its values are few, so that metrics may have it, too."""

    type: str
    help: str
    label: bool = False


class Field(StrEnum):
    """Every name. The order is that of the reference."""

    TIME = "time"
    LEVEL = "level"
    EVENT = "event"
    LOGGER = "logger"
    SERVICE = "service"
    INSTANCE = "instance"
    PID = "pid"
    TRACE_ID = "trace_id"
    SPAN_ID = "span_id"
    DEPLOYMENT = "deployment"
    MODULE = "module"
    VERSION = "version"
    DIGEST = "digest"
    ENVIRONMENT = "environment"
    STAGE = "stage"
    NODE = "node"
    NODE_ID = "node_id"
    WORK = "work"
    ATTEMPT = "attempt"
    DIRECTION = "direction"
    ACTION = "action"
    STEP = "step"
    OUTCOME = "outcome"
    REASON = "reason"
    STATUS = "status"
    STATE = "state"
    WHERE = "where"
    FENCING_TOKEN = "fencing_token"
    SEEN = "seen"
    TASK = "task"
    QUEUE = "queue"
    ROLE = "role"
    METHOD = "method"
    ENDPOINT = "endpoint"
    PATH = "path"
    USER = "user"
    TOKEN_NAME = "token_name"
    SECONDS = "seconds"
    REQUESTED_BY = "requested_by"
    RETRY_OF = "retry_of"
    ROLLBACK_OF = "rollback_of"
    KIND = "kind"
    ERROR = "error"
    EXCEPTION = "exception"


MEANINGS: dict[Field, Meaning] = {
    Field.TIME: Meaning("string", "when, RFC 3339 in UTC"),
    Field.LEVEL: Meaning("string", "debug, info, warning, error, critical"),
    Field.EVENT: Meaning("string", "what happened, in words"),
    Field.LOGGER: Meaning("string", "which part says it"),
    Field.SERVICE: Meaning(
        "string",
        "kind of process: api, agent-listener, pipeline, build, scan, deploy, urgent, control, reconciler, beat, "
        "migrate, supervisor, agent, agents (the host of many), holder",
        label=True,
    ),
    Field.INSTANCE: Meaning("string", "the orchestrator's name (`HOTSWAP_INSTANCE`)"),
    Field.PID: Meaning("integer", "process id"),
    Field.TRACE_ID: Meaning("string", "32 hex digits: a deployment's `traceId` and its trace's id; `X-Trace-Id`"),
    Field.SPAN_ID: Meaning("string", "16 hex digits: the span in which it happened"),
    Field.DEPLOYMENT: Meaning("string", "a deployment's id (`executionId`)"),
    Field.MODULE: Meaning("string", "a module's name"),
    Field.VERSION: Meaning("string", "a release's version"),
    Field.DIGEST: Meaning("string", "a release's digest"),
    Field.ENVIRONMENT: Meaning("string", "an environment's name", label=True),
    Field.STAGE: Meaning("string", "a stage: Build, Security Scan, Test, Approval, Deploy, Validation", label=True),
    Field.NODE: Meaning("string", "a node's hostname"),
    Field.NODE_ID: Meaning("string", "a node's id"),
    Field.WORK: Meaning("string", "id of a piece of work: a stage, or a node operation (an agent's operation id)"),
    Field.ATTEMPT: Meaning("integer", "how often that work was claimed"),
    Field.DIRECTION: Meaning("string", "of a node operation: forward, back", label=True),
    Field.ACTION: Meaning("string", "of a node operation: activate, preview, retire, stage", label=True),
    Field.STEP: Meaning("string", "of a node operation in its agent: staging, starting, ... or a hook", label=True),
    Field.OUTCOME: Meaning("string", "how it came out", label=True),
    Field.REASON: Meaning("string", "why, in one of a few words where it is a label", label=True),
    Field.STATUS: Meaning("string", "of a deployment, stage or module; of an HTTP answer, its number", label=True),
    Field.STATE: Meaning("string", "where something stands: a breaker, a row of the outbox, a node", label=True),
    Field.WHERE: Meaning("string", "which side refused: orchestrator, agent", label=True),
    Field.FENCING_TOKEN: Meaning("integer", "of a lane's grant"),
    Field.SEEN: Meaning("integer", "the highest fencing token that a node has seen"),
    Field.TASK: Meaning("string", "a Celery task's name", label=True),
    Field.QUEUE: Meaning("string", "pipeline, build, scan, deploy, urgent, control", label=True),
    Field.ROLE: Meaning("string", "what a process that shows its presence executes", label=True),
    Field.METHOD: Meaning("string", "of a request", label=True),
    Field.ENDPOINT: Meaning("string", "which operation of the API was called", label=True),
    Field.PATH: Meaning("string", "of a request, without its query"),
    Field.USER: Meaning("string", "who asked"),
    Field.TOKEN_NAME: Meaning("string", "what the API token is called with which that was asked; never the token"),
    Field.SECONDS: Meaning("number", "how long it took"),
    Field.REQUESTED_BY: Meaning("string", "whose deployment it is"),
    Field.RETRY_OF: Meaning("string", "the deployment that this one repeats"),
    Field.ROLLBACK_OF: Meaning("string", "the deployment that this one takes back"),
    Field.KIND: Meaning("string", "a deployment: deploy, rollback, system; a claim: stage, node operation", True),
    Field.ERROR: Meaning("string", "an error's type and text"),
    Field.EXCEPTION: Meaning("string", "the traceback of an unforeseen error; never the values of variables"),
}
