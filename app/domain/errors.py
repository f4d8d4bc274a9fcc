"""Everything that the domain refuses, as types. `app/api/problems.py` maps them to HTTP in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class HotSwapError(Exception):
    """Base of all refusals; its text is one sentence for a person."""


class Invalid(HotSwapError):
    """Input is not valid. `errors` maps each bad field (dotted path) to its messages (400)."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors: dict[str, list[str]] = {field: list(messages) for field, messages in errors.items()}
        first = "; ".join(f"{field}: {messages[0]}" for field, messages in self.errors.items())
        super().__init__(first or "The input is not valid.")


class NotFound(HotSwapError):
    """What was named does not exist, or not for this tenant (404)."""


class NotPermitted(HotSwapError):
    """The caller is known and lacks the right (403)."""


class NotAuthenticated(HotSwapError):
    """The caller is not known: no, a wrong or an expired credential (401)."""


class Locked(HotSwapError):
    """Too many failed log-ins (423). `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Conflict(HotSwapError):
    """The state forbids it; the text says which states allow it (409)."""


class StaleVersion(Conflict):
    """An edit was based on an older version (409). `current` is the version now."""

    def __init__(self, current: int) -> None:
        super().__init__(
            f"It has changed since: the current version is {current}. Read it again and repeat the change."
        )
        self.current = current


class Gone(HotSwapError):
    """It could be done until a moment that has passed (410)."""


class PreconditionMissing(HotSwapError):
    """An edit came without If-Match (428)."""


class Refused(HotSwapError):
    """Well-formed, and refused: a bad signature, manifest or archive (422)."""


class TooLarge(HotSwapError):
    """A body over its limit (413)."""


class TooMany(HotSwapError):
    """A quota or a full queue (429). `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(HotSwapError):
    """Something that is needed does not answer (503). `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after
