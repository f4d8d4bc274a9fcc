"""Secrets in files: known forms of tokens and keys in everything that is text, passwords and random-looking strings in
code and configuration.

A finding tells the kind, the place and four hexadecimal digits of a hash: enough to see that two places hold the same
secret, and too little to guess a weak one by. Marks in the source (`pragma: allowlist secret`) count for nothing: who
is looked through does not decide what is found; exceptions are in the policy.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from detect_secrets.filters import heuristic

from app.domain.findings import Severity
from app.infrastructure.scanners.inside.detectors import CERTAIN, ENTROPY, PASSWORD, PASSWORDS, Detector
from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.inside.reading import NotText, as_text, read_bytes
from app.infrastructure.scanners.inside.walking import FoundFile
from app.infrastructure.scanners.report import Reason

MOST_BYTES = 32 * 1024 * 1024
# Beyond these, only the known forms are looked for: minified code and data, where guesses are noise.
_MOST_GUESSED = 2 * 1024 * 1024
# The library's expressions for passwords take more than the square of a line's length.
_LONGEST_GUESSED_LINE = 1000
_LONGEST_LINE = 4096
_OVERLAP = 512

_CODE = {".py", ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".java", ".kt", ".groovy", ".scala", ".go", ".rb", ".php"}
_CODE |= {".cs", ".c", ".cc", ".cpp", ".h", ".rs", ".swift", ".sql", ".pl", ".lua", ".ps1", ".vue", ".tf"}
_CONFIGURATION = {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".cnf", ".properties", ".xml", ".tfvars"}
# Assignments without quotes, as in `KEY=value`: read as the library reads *.ini.
_ASSIGNING = {".sh", ".bash", ".zsh", ".ksh", ".env", ".service"}
_ASSIGNING_NAMES = {".env", "dockerfile", "containerfile", "procfile", "makefile", ".npmrc", ".pypirc", ".netrc"}
_LOCKS = {"package-lock.json", "npm-shrinkwrap.json", "poetry.lock", "uv.lock", "pipfile.lock", "gradle.lockfile"}
_PACKED = {".jar", ".war", ".ear", ".zip", ".whl", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".tar"}
_MINIFIED = re.compile(r"[.-]min\.(?:js|mjs|css)$")

_KEY_HEADER = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23]: ")
# What follows the header of a real key: perhaps line breaks (also written as \n), headers (`Proc-Type: 4,ENCRYPTED`),
# quotes and plus signs of a program that joins lines, and then base64.
_KEY_BODY = re.compile(r"(?:\\[nr]|[\s\"'+>|]++|[A-Za-z-]{1,20}: ?[^\n]{0,100}\n){0,40}[A-Za-z0-9+/=]{40}")
_NO_SECRET = {"none", "null", "nil", "true", "false", "undefined", "required", "optional", "string", "str", "text"}
_PLACEHOLDERS = re.compile(
    r"change.?me|example|placeholder|dummy|sample|redacted|your[_-]|^my[_-]?|^(?:test|password|passwd|secret|token|key)s?$"
    r"|^[x*.•-]+$|^todo",
    re.IGNORECASE,
)
_NOT_SECRET_IF: tuple[Callable[[str], bool], ...] = (
    heuristic.is_sequential_string,
    heuristic.is_potential_uuid,
    heuristic.is_templated_secret,
    heuristic.is_prefixed_with_dollar_sign,
    heuristic.is_not_alphanumeric_string,
)


def look_for_secrets(file: FoundFile, gathering: Gathering) -> None:
    """Raises OSError and TooLarge; a binary file is left out, and counted."""
    content = read_bytes(file.path, MOST_BYTES)
    gathering.files += 1
    gathering.size_bytes += len(content)
    try:
        text = as_text(content)
    except NotText:
        reason = Reason.PACKED if PurePosixPath(file.base.lower()).suffix in _PACKED else Reason.BINARY
        gathering.leave_out(reason, file.name)
        return
    for severity, rule, kind, secret, line in _secrets(file, text, gathering):
        where = " of a dependency" if file.is_dependency else ""
        # In what others published a secret is theirs, most often of their tests.
        gravity = min(severity, Severity.MEDIUM, key=lambda each: each.rank) if file.is_dependency else severity
        gathering.find(gravity, rule, f"{kind} in a file{where} (sha256 {_short_hash(secret)}…)", file.name, line)


def _short_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:4]


_Secret = tuple[Severity, str, str, str, int]


def _secrets(file: FoundFile, text: str, gathering: Gathering) -> Iterator[_Secret]:
    yield from _private_keys(text)
    name = file.base.lower()
    told_as = None if file.is_dependency or len(text) > _MOST_GUESSED else _told_as(name)
    random = name not in _LOCKS and not _MINIFIED.search(name)
    detectors = [detector for detector in CERTAIN if detector.hint(text)]
    if told_as is None and not detectors:
        return
    for number, line in enumerate(text.split("\n"), 1):
        found = list(_in_pieces(detectors, line, number))
        if told_as and len(line) > _LONGEST_GUESSED_LINE:
            gathering.leave_out(Reason.LONG_LINE, f"{file.name}:{number}")
        elif told_as and not found:
            found = list(_passwords(line, number, told_as))
            if random and not found:
                found = list(_random(line, number))
        yield from found


def _in_pieces(detectors: list[Detector], line: str, number: int) -> Iterator[_Secret]:
    """Long lines are cut, so that no expression takes the square of a megabyte; what is in two pieces is told once."""
    if len(line) <= _LONGEST_LINE:
        yield from _certain(detectors, line, number)
        return
    told: set[_Secret] = set()
    for start in range(0, len(line), _LONGEST_LINE - _OVERLAP):
        for secret in _certain(detectors, line[start : start + _LONGEST_LINE], number):
            if secret not in told:
                told.add(secret)
                yield secret


def _told_as(name: str) -> str | None:
    """The name by which the library tells the kind of a file; None for what is neither code nor configuration."""
    suffix = PurePosixPath(name).suffix
    if suffix in _ASSIGNING or name in _ASSIGNING_NAMES or name.startswith((".env.", "dockerfile.")):
        return "assignments.ini"
    if suffix in {".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".vue"}:
        return "code.js"
    return name if suffix in _CODE or suffix in _CONFIGURATION else None


def _private_keys(text: str) -> Iterator[_Secret]:
    """A header alone is no key: programs that read keys have it in their text."""
    line, counted = 1, 0
    for header in _KEY_HEADER.finditer(text):
        line += text.count("\n", counted, header.start())
        counted = header.start()
        body = _KEY_BODY.match(text, header.end(), header.end() + 4096)
        if header[0].startswith("PuTTY"):
            yield Severity.HIGH, "secret.private-key", "private key of PuTTY", text[counted:][:2000], line
        elif body is not None:
            encrypted = "ENCRYPTED" in header[0] or "ENCRYPTED" in body[0]
            severity = Severity.MEDIUM if encrypted else Severity.HIGH
            kind = "private key, encrypted," if encrypted else "private key"
            yield severity, "secret.private-key", kind, body[0][-40:], line


def _certain(detectors: list[Detector], line: str, number: int) -> Iterator[_Secret]:
    for detector in detectors:
        if detector.hint(line):
            for secret in detector.find("", line):
                # Some expressions of the library give no more than the prefix.
                yield detector.severity, detector.rule, detector.kind, secret if len(secret) > 8 else line, number


def _passwords(line: str, number: int, told_as: str) -> Iterator[_Secret]:
    for detector in PASSWORDS:
        if not detector.hint(line):
            continue
        for secret in detector.find(told_as, line):
            gravity = _gravity(detector, secret, line)
            if gravity is not None:
                yield gravity, detector.rule, detector.kind, secret, number


def _gravity(detector: Detector, secret: str, line: str) -> Severity | None:
    """None for what is no secret: a variable, a call, a template; low for what only stands in for one."""
    value = secret.strip().strip("\"'`;,")
    if len(value) < 4 or value.lower() in _NO_SECRET or any(is_none(value) for is_none in _NOT_SECRET_IF):
        return None
    if detector is PASSWORD and (heuristic.is_indirect_reference(line) or " " in value or _is_reference(value)):
        return None
    return Severity.LOW if _PLACEHOLDERS.search(value) else detector.severity


def _is_reference(value: str) -> bool:
    """`settings.password`, `%(secret)s`, `{{ key }}`, a path: where a secret comes from, not one itself."""
    return bool(re.fullmatch(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+|%\(.*\)s|\{\{.*|.*[({\[]|[~./].*", value))


def _random(line: str, number: int) -> Iterator[_Secret]:
    for detector in ENTROPY:
        if detector.hint(line):
            for secret in detector.find("", line):
                if not any(is_none(secret) for is_none in _NOT_SECRET_IF):
                    yield detector.severity, detector.rule, detector.kind, secret, number
                    return
