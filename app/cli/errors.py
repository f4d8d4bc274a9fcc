"""What ends a command early. Each is one line for the person at the keyboard, and an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from app.cli.exit_codes import ExitCode


class CliError(Exception):
    """`fields`: bad fields with what is wrong with each; `problem`: the server's own answer, where there is one.

    `kept`: a file with what somebody wrote and could not be sent.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        problem: Mapping[str, Any] | None = None,
        status: int | None = None,
        kept: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})
        self.problem = problem
        self.status = status
        self.kept = kept

    def to_json(self) -> dict[str, Any]:
        """For `--output json`: the server's problem as it came, else its shape made of what is known."""
        body: dict[str, Any] = dict(self.problem) if self.problem else {"detail": str(self), "error": str(self)}
        if self.fields and "errors" not in body:
            body["errors"] = self.fields
        if self.kept is not None:
            body["keptFile"] = str(self.kept)
        return {**body, "exitCode": int(self.exit_code)}


class ReaderGone(CliError):
    """Who read our output has closed it (`| head`); nobody is told."""

    exit_code = ExitCode.PIPE_CLOSED


class UsageProblem(CliError):
    """What was asked for makes no sense, or a local file cannot be used."""

    exit_code = ExitCode.USAGE


class Unreachable(CliError):
    """The server cannot be reached, cannot answer now, or does not know who asks."""

    exit_code = ExitCode.UNREACHABLE


class Silence(Unreachable):
    """Connected, and then nothing came within the time limit."""


class NotLoggedIn(Unreachable):
    """No credentials, or none that are accepted."""


class NotPermitted(CliError):
    """Known, but without the role."""

    exit_code = ExitCode.NOT_PERMITTED


class Refused(CliError):
    """The server understood and said no (4xx)."""

    exit_code = ExitCode.REFUSED


class Gone(Refused):
    """There is no such thing (404)."""


class Busy(Refused):
    """Too much at once (429): later it may be taken."""


class Conflict(Refused):
    """The state forbids it, or somebody else was faster (409, 412, 428)."""
