"""Reads named queries from a .sql file: `-- name: some_name`, then comments and one statement."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(path: Path) -> dict[str, str]:
    """name -> statement, without comment lines. ValueError when a name stands twice."""
    pieces = _NAME.split(path.read_text(encoding="utf-8"))
    queries: dict[str, str] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if name in queries:
            raise ValueError(f"{path.name}: query {name} stands twice")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        queries[name] = "\n".join(lines).strip()
    return queries
