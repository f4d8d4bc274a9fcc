"""Releases, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.cli.output import fields, one_line, table, when
from app.cli.upload import shown_size

_HEAD = ("VERSION", "PUBLISHED", "BY", "SIZE", "COMMIT", "BRANCH", "SIGNED BY", "DIGEST")
_SHORT_COMMIT = 12  # of a commit's digest, as git abbreviates it


def release_table(releases: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """One line for each."""
    rows = [
        (
            release.get("version"),
            when(release.get("createdAt")),
            release.get("createdBy"),
            shown_size(int(release.get("sizeBytes") or 0)),
            _commit(release),
            _metadata(release).get("branch"),
            release.get("signedBy"),
            release.get("digest"),
        )
        for release in releases
    ]
    return table(_HEAD, rows, width)


def release_lines(release: Mapping[str, Any]) -> Iterator[str]:
    """Everything of one: what it is, what its publisher says of it, its manifest."""
    yield from fields(
        [
            ("module", release.get("moduleName")),
            ("version", release.get("version")),
            ("digest", release.get("digest")),
            ("size", shown_size(int(release.get("sizeBytes") or 0))),
            ("signed by", release.get("signedBy")),
            ("published", f"{when(release.get('createdAt'))} by {one_line(release.get('createdBy'))}"),
            ("retired", when(release.get("retiredAt")) if release.get("retiredAt") else None),
            ("built", _built(release.get("built"))),
            ("tested", _tested(release.get("tested"))),
        ]
    )
    for title, value in (
        ("metadata", _metadata(release)),
        ("provenance", release.get("provenance")),
        ("manifest", release.get("manifest")),
    ):
        if value:
            yield ""
            yield f"{title}:"
            yield from _nested(value)


def _metadata(release: Mapping[str, Any]) -> Mapping[str, Any]:
    return release.get("metadata") or {}


def _commit(release: Mapping[str, Any]) -> str | None:
    commit = _metadata(release).get("commit")
    return str(commit)[:_SHORT_COMMIT] if commit else None


def _nested(value: Any) -> Iterator[str]:
    import yaml

    from app.cli.output import clean

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    for line in text.splitlines():
        yield f"  {clean(line)}"


def _built(built: Mapping[str, Any] | None) -> str | None:
    if not built:
        return None
    return f"{one_line(built.get('digest'))}, {when(built.get('builtAt'))} in {one_line(built.get('executionId'))}"


def _tested(tested: Mapping[str, Any] | None) -> str | None:
    if not tested:
        return None
    counts = tested.get("tests") or {}
    passed = f"{one_line(counts.get('passed'))} passed, " if counts else ""
    return f"{passed}{when(tested.get('passedAt'))} in {one_line(tested.get('executionId'))}"
