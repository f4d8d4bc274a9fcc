"""Versions (Semantic Versioning 2.0.0) and the ranges of them that one module requires of another.

A range is a list of conditions, separated by commas or spaces, all of which must hold: `>=1.4, <3`, `^2.1`, `~1.2.3`,
`1.4`. What is left out of a version is any: `1.4` is 1.4.x, `>1.4` starts with 1.5.0, `<=1.4` includes 1.4.9, `<3`
excludes 3.0.0 and its pre-releases. Elsewhere pre-releases count by precedence (rule 11 of the standard), so 2.0.0-rc.1
is within `>=1.4`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import semver

MAXIMUM_VERSION_LENGTH = 128
_MAXIMUM_CONDITIONS = 16
_CONDITION = re.compile(
    r"(?P<operator>>=|<=|>|<|==|=|\^|~|)\s*"
    r"(?P<major>0|[1-9]\d{0,8})(?:\.(?P<minor>0|[1-9]\d{0,8}|[x*])(?:\.(?P<patch>0|[1-9]\d{0,8}|[x*])"
    r"(?P<pre>-[0-9A-Za-z.-]+)?)?)?(?=[\s,]|$)"
)


class VersionInvalid(ValueError):
    """A text that is no semantic version, or no range of them; the text is one sentence."""


@lru_cache(maxsize=1024)
def parse_version(text: str) -> semver.Version:
    """Read a version, with pre-release and build parts if it has them; raises `VersionInvalid`."""
    if len(text) > MAXIMUM_VERSION_LENGTH:
        raise VersionInvalid(f"a version has at most {MAXIMUM_VERSION_LENGTH} characters")
    # The library's \d takes digits of every script.
    if not text.isascii():
        raise VersionInvalid(_not_semantic(text))
    try:
        return semver.Version.parse(text)
    except (ValueError, TypeError) as error:
        raise VersionInvalid(_not_semantic(text)) from error


def _not_semantic(text: str) -> str:
    shown = repr(text)
    if re.fullmatch(r"v\d+(\.\d+){2}.*", text):
        return f"{shown} has a 'v' in front; write {text[1:]!r}"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        missing = 2 - text.count(".")
        return f"{shown} has too few numbers; semantic versioning wants three, like {text + '.0' * missing}"
    return f"{shown} is not a semantic version like 1.4.0 or 2.0.0-rc.1 (see semver.org)"


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range; `floor` is within it, `ceiling` is not, and `excluded_floor` says whether `floor` is out, too.

    Bounds are versions as text, so that ranges can be compared, hashed and stored; `text` is what the author wrote.
    """

    text: str
    conditions: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Read a range; raises `VersionInvalid`."""
        return cls(text=text, conditions=_conditions(text))

    def allows(self, version: str) -> bool:
        """Whether `version` is in the range; raises `VersionInvalid` where it is no version."""
        candidate = parse_version(version)
        return all(_holds(operator, candidate, bound) for operator, bound in self.conditions)

    def __str__(self) -> str:
        return self.text


def _holds(operator: str, candidate: semver.Version, bound: str) -> bool:
    order = candidate.compare(parse_version(bound))
    return {">=": order >= 0, ">": order > 0, "<": order < 0, "<=": order <= 0, "=": order == 0}[operator]


def _conditions(text: str) -> tuple[tuple[str, str], ...]:
    if len(text) > 256:
        raise VersionInvalid("a range has at most 256 characters")
    rest = text.strip()
    if rest == "*":
        return ((">=", "0.0.0-0"),)
    found: list[tuple[str, str]] = []
    while rest:
        match = _CONDITION.match(rest)
        if match is None:
            raise VersionInvalid(f"{text!r} is not a range of versions like '>=1.4, <3' or '^2.1' (at {rest[:20]!r})")
        found.extend(_bounds(match))
        rest = rest[match.end() :].lstrip(" \t,")
    if not found:
        raise VersionInvalid("the range is empty; write for example '>=1.4, <3'")
    if len(found) > _MAXIMUM_CONDITIONS:
        raise VersionInvalid(f"a range has at most {_MAXIMUM_CONDITIONS} conditions")
    return tuple(found)


def _bounds(match: re.Match[str]) -> list[tuple[str, str]]:
    """The plain comparisons that one condition stands for."""
    major = int(match["major"])
    minor = _number(match["minor"])
    patch = _number(match["patch"]) if minor is not None else None
    pre = match["pre"] or ""
    low = f"{major}.{minor or 0}.{patch or 0}{pre}"
    parse_version(low)
    operator = match["operator"] or "="
    if patch is not None and operator in {"=", "==", ">=", ">", "<", "<="}:
        return [("=" if operator == "==" else operator, low)]
    after = _next(major, minor, patch=None)
    match operator:
        case "=" | "==":
            return [(">=", low), ("<", after)]
        case ">=":
            return [(">=", low)]
        case ">":
            return [(">=", after.removesuffix("-0"))]
        case "<":
            return [("<", low + "-0")]
        case "<=":
            return [("<", after)]
        case "~":
            return [(">=", low), ("<", after)]
        case _:
            return [(">=", low), ("<", _caret_ceiling(major, minor, patch))]


def _number(text: str | None) -> int | None:
    return None if text in {None, "x", "*"} else int(text or "0")


def _next(major: int, minor: int | None, patch: int | None) -> str:
    """The lowest version (pre-releases included) above all that start with what is given."""
    if minor is None:
        return f"{major + 1}.0.0-0"
    if patch is None:
        return f"{major}.{minor + 1}.0-0"
    return f"{major}.{minor}.{patch + 1}-0"


def _caret_ceiling(major: int, minor: int | None, patch: int | None) -> str:
    """`^` keeps the left-most number that is not 0, as in npm."""
    if major or minor is None:
        return _next(major, None, None)
    if minor or patch is None:
        return _next(major, minor, None)
    return _next(major, minor, patch)
