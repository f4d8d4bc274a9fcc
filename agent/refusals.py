"""What the agent says no to, and how: the table of refusals in docs/agent-protocol.md as types."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus


class RefusalCode(StrEnum):
    """The `error.code` of a 4xx or 503 answer."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    VOID = "void"
    STALE = "stale"
    BUSY = "busy"
    UNEXPECTED_ACTIVE = "unexpected_active"
    MISMATCH = "mismatch"
    NOT_READY = "not_ready"
    OVERLOADED = "overloaded"
    FORBIDDEN = "forbidden"


STATUS_OF: dict[RefusalCode, HTTPStatus] = {
    RefusalCode.MALFORMED: HTTPStatus.BAD_REQUEST,
    RefusalCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    RefusalCode.UNKNOWN: HTTPStatus.NOT_FOUND,
    RefusalCode.VOID: HTTPStatus.CONFLICT,
    RefusalCode.STALE: HTTPStatus.CONFLICT,
    RefusalCode.BUSY: HTTPStatus.CONFLICT,
    RefusalCode.UNEXPECTED_ACTIVE: HTTPStatus.PRECONDITION_FAILED,
    RefusalCode.MISMATCH: HTTPStatus.UNPROCESSABLE_ENTITY,
    RefusalCode.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalCode.OVERLOADED: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Refusal(Exception):
    """A request that is answered with an error and changes nothing.

    `details` are the further members of the wire's `error` object, e.g. `{"highestToken": 17}`.
    """

    def __init__(self, code: RefusalCode, message: str, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: dict[str, object] = dict(details or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS_OF[self.code].value

    def as_json(self) -> dict[str, object]:
        """`{"error": {"code", "message", ...}}`."""
        return {"error": {"code": self.code.value, "message": self.message, **self.details}}


def malformed(message: str) -> Refusal:
    """A 400: the body does not parse, or a field is missing or of the wrong type."""
    return Refusal(RefusalCode.MALFORMED, message)


def unknown(message: str) -> Refusal:
    """A 404."""
    return Refusal(RefusalCode.UNKNOWN, message)
