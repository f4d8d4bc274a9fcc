"""How grave an entry of a vulnerability database is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError

from app.domain.findings import Severity

_WORDS = {
    "low": Severity.LOW,
    "moderate": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "important": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
_VECTORS = {"CVSS_V4": CVSS4, "CVSS_V3": CVSS3, "CVSS_V2": CVSS2}
_LONGEST_VECTOR = 500


def severity_of(fields: Mapping[str, Any]) -> Severity | None:
    """Of an entry, or of one of its affected packages: the database's own word, else the newest CVSS vector's score.
    A malicious package (`MAL-...`) is critical. None: not told."""
    name = fields.get("id")
    if isinstance(name, str) and name.startswith("MAL-"):
        return Severity.CRITICAL
    for key in ("database_specific", "ecosystem_specific"):
        own = fields.get(key)
        word = own.get("severity") if isinstance(own, dict) else None
        if isinstance(word, str) and word.lower() in _WORDS:
            return _WORDS[word.lower()]
    given = fields.get("severity")
    listed = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    scored = (_scored(kind, each.get("score")) for kind in _VECTORS for each in listed if each.get("type") == kind)
    return next((severity for severity in scored if severity), None)


def of_score(score: float) -> Severity:
    """The qualitative scale of CVSS 3.1, section 5; its `none` (0.0) counts as low."""
    if score >= 9.0:
        return Severity.CRITICAL
    if score >= 7.0:
        return Severity.HIGH
    return Severity.MEDIUM if score >= 4.0 else Severity.LOW


def _scored(kind: str, vector: object) -> Severity | None:
    if not isinstance(vector, str) or len(vector) > _LONGEST_VECTOR:
        return None
    try:
        return of_score(float(_VECTORS[kind](vector).base_score))
    except (CVSSError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
