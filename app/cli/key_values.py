"""KEY=VALUE options that may be repeated."""

from __future__ import annotations

from collections.abc import Sequence

from app.cli.errors import UsageProblem


def key_values(pairs: Sequence[str] | None, option: str) -> dict[str, str]:
    """As a mapping; of a key that stands twice the last value. Raises UsageProblem, which names the option."""
    given: dict[str, str] = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageProblem(f"{option} takes KEY=VALUE, not {pair!r}")
        given[key] = value
    return given
