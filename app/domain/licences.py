"""What a policy makes of the licences of a release's components. Pure.

Licences are SPDX expressions (ISO/IEC 5962, annex D): `A OR B` leaves the choice, `A AND B` binds to both. A component
is refused when every choice that its expression leaves contains a refused licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from app.domain.components import Component
from app.domain.findings import Finding, LicencePolicy, Severity

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_MOST_NAMED = 10
_DEEPEST = 30


class ExpressionInvalid(ValueError):
    """A text that is no SPDX expression."""


def licence_findings(components: Iterable[Component], policy: LicencePolicy) -> tuple[Finding, ...]:
    """One finding of high severity for each package under a refused licence (`licence.<package>`), and one of low for
    all together that state none that can be understood (`licence.unknown`). Nothing for a policy that refuses nothing.
    """
    if not policy.refused:
        return ()
    findings: list[Finding] = []
    unknown: list[Component] = []
    for component in sorted(components, key=lambda each: (each.package, each.version)):
        stated, pattern = _judged(component, policy.refused)
        if pattern is not None:
            findings.append(_refused(component, stated, pattern))
        elif component.licence is None:
            unknown.append(component)
    return (*findings, *_unknown(unknown))


def _judged(component: Component, refused: Sequence[str]) -> tuple[str, str | None]:
    """What the package states, and the pattern that refuses it. A licence in its own words (`Our own, v2`) can be
    refused by naming these."""
    if component.licence is None:
        words = component.licence_words or ""
        return words, next((pattern for pattern in refused if words and _matches(words, pattern)), None)
    try:
        return component.licence, refusing(component.licence, refused)
    except ExpressionInvalid:
        return component.licence, None


def refusing(expression: str, refused: Sequence[str]) -> str | None:
    """The pattern for which an expression is refused; None if it leaves a choice. Raises ExpressionInvalid."""
    tokens = _TOKEN.findall(expression)
    parser = _Parser(tokens, refused)
    found = parser.either(0)
    if parser.at < len(tokens):
        raise ExpressionInvalid(expression)
    return found


class _Parser:
    """By descent; what it returns is the pattern that refuses, or None."""

    def __init__(self, tokens: list[str], refused: Sequence[str]) -> None:
        self._tokens = tokens
        self._refused = refused
        self.at = 0

    def either(self, depth: int) -> str | None:
        """OR binds weaker than AND: refused if all alternatives are, for the first one's reason."""
        choices = [self._both(depth)]
        while self._takes("OR"):
            choices.append(self._both(depth))
        return choices[0] if None not in choices else None

    def _both(self, depth: int) -> str | None:
        parts = [self._one(depth)]
        while self._takes("AND"):
            parts.append(self._one(depth))
        return next((part for part in parts if part is not None), None)

    def _one(self, depth: int) -> str | None:
        if depth > _DEEPEST:
            raise ExpressionInvalid("too deep")
        if self._takes("("):
            inner = self.either(depth + 1)
            if not self._takes(")"):
                raise ExpressionInvalid("a parenthesis is not closed")
            return inner
        name = self._name()
        if self._takes("WITH"):
            name += f" WITH {self._name()}"
        return next((pattern for pattern in self._refused if _matches(name, pattern)), None)

    def _name(self) -> str:
        if self.at == len(self._tokens) or self._tokens[self.at].upper() in {"(", ")", "AND", "OR", "WITH"}:
            raise ExpressionInvalid("a licence is missing")
        self.at += 1
        return self._tokens[self.at - 1]

    def _takes(self, word: str) -> bool:
        takes = self.at < len(self._tokens) and self._tokens[self.at].upper() == word
        self.at += takes
        return takes


def _matches(licence: str, pattern: str) -> bool:
    return fnmatchcase(licence.lower(), pattern.lower())


def _refused(component: Component, stated: str, pattern: str) -> Finding:
    by = "" if stated.lower() == pattern.lower() else f" ({pattern})"
    text = f"{component.name} {component.version} is under {stated}, which the policy refuses{by}"
    return Finding(Severity.HIGH, f"licence.{component.package}", text, component.found)


def _unknown(components: list[Component]) -> tuple[Finding, ...]:
    if not components:
        return ()
    named = ", ".join(f"{component.name} {component.version}" for component in components[:_MOST_NAMED])
    more = f" and {len(components) - _MOST_NAMED} more" if len(components) > _MOST_NAMED else ""
    count = f"{len(components)} component{'s state' if len(components) > 1 else ' states'}"
    text = f"{count} no licence that can be understood: {named}{more}"
    return (Finding(Severity.LOW, "licence.unknown", text, components[0].found if len(components) == 1 else None),)
