"""No secret in what is told: by the name of a field, by the value of a secret that we know, and by its looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache

REDACTED = "[redacted]"
_SHORTEST = 6
"""Characters; a shorter "secret" would blot out ordinary words."""
_NAMES = re.compile(
    r"passw|secret|authori[sz]ation|api[-_]?key|private|cookie|credential|\bdsn\b|(^|_|-)(jwt|token|tokens|otp)$", re.I
)
_LOOKS = re.compile(
    r"(?P<before>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JSON web token
    r"|(?<![A-Za-z0-9_-])hs_[A-Za-z0-9_-]{12,}"  # an API token of ours
    r"|(?P<scheme>\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@:\"'\\]*:[^\s/@\"'\\]+(?=@)"  # user and password in a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.S,
)
# Without one of these nothing of _LOOKS is there. Most lines have none, and finding that out costs a tenth.
_SIGNS = ("Bearer", "Basic", "eyJ", "hs_", "://", "PRIVATE KEY-----")


@lru_cache(maxsize=1024)
def named_secret(name: str) -> bool:
    """Whether what has this name must not be told."""
    return _NAMES.search(name) is not None


class Redactor:
    """Takes out of texts what this process knows to be secret, and what looks like it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        # As they are and as they stand in JSON; the longest first, since one may be part of another.
        forms = known | {json.dumps(secret)[1:-1] for secret in known}
        self._secrets = sorted(forms, key=len, reverse=True)

    def text(self, said: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            if secret in said:
                said = said.replace(secret, REDACTED)
        return _LOOKS.sub(_blotted, said) if any(sign in said for sign in _SIGNS) else said

    def fields(self, said: MutableMapping[str, object]) -> None:
        """Redact by name, in place. Numbers stay: a fencing token is no secret."""
        for name, value in said.items():
            if type(value) is str:  # most are; asking whether one is a mapping takes as long as all the rest
                if named_secret(name):
                    said[name] = REDACTED
            elif isinstance(value, Mapping):
                nested = dict(value)
                self.fields(nested)
                said[name] = nested
            elif not isinstance(value, int | float | None) and named_secret(name):
                said[name] = REDACTED

    def whole(self, said: object) -> object:
        """A copy of a JSON value with every name and every text looked at."""
        if isinstance(said, str):
            return self.text(said)
        if isinstance(said, Mapping):
            return {
                name: REDACTED
                if named_secret(str(name)) and not isinstance(value, int | float | None)
                else self.whole(value)
                for name, value in said.items()
            }
        if isinstance(said, list | tuple):
            return [self.whole(value) for value in said]
        return said


def _blotted(match: re.Match[str]) -> str:
    return f"{match['before'] or match['scheme'] or ''}{REDACTED}"
