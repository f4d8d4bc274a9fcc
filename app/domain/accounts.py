"""What a user's name and password may be. Written once: the API, the first passwords and the local stack ask here."""

from __future__ import annotations

import re

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000
PRODUCT = "hotswap"
RESERVED_NAMES = frozenset({"system"})
"""Who asks for what the orchestrator does by itself (`requestedBy: system`)."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")
# A name of one or two letters stands in nearly every good password. Windows leaves those out of the same rule:
# https://learn.microsoft.com/windows/security/threat-protection/security-policy-settings/password-must-meet-complexity-requirements
_SHORTEST_NAME_LOOKED_FOR = 3


def username_faults(username: str) -> list[str]:
    """What is wrong with the name of a new user; nothing for a good one. In lower case, so that no two look alike."""
    if not _NAME.fullmatch(username):
        return ["must be 2 to 64 of a-z, 0-9, '.', '_', '@', '-', and start with a letter or digit"]
    if username in RESERVED_NAMES:
        return [f"{username} is HotSwap itself: choose another one"]
    return []


def password_faults(password: str, username: str | None = None) -> list[str]:
    """What is wrong with a new password; nothing for a good one. Says nothing of the password itself.

    `username` None: it is not known yet whose it becomes.
    """
    if len(password) < SHORTEST_PASSWORD:
        return [f"is too short: at least {SHORTEST_PASSWORD} characters"]
    if len(password) > LONGEST_PASSWORD:
        return [f"is too long: at most {LONGEST_PASSWORD} characters"]
    words = [PRODUCT] if username is None or len(username) < _SHORTEST_NAME_LOOKED_FOR else [username, PRODUCT]
    said = password.casefold()
    return [f"contains {word!r}: choose one that does not" for word in words if word.casefold() in said]
