"""Write the OpenAPI document into a file: `python -m app.api.openapi docs/openapi.json` (`make openapi`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from app.api.application import bare_app


def text() -> str:
    """The document as it is served, in a form that differs from the last one only where it does."""
    return json.dumps(bare_app().spec, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m app.api.openapi FILE", file=sys.stderr)
        return 2
    Path(arguments[0]).write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
