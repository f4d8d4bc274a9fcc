"""Makes `dist`, which replaces the source: every file is compiled once, so that no release has an error of syntax."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OUTPUT = ROOT / "dist"
CONTENT = ("service",)


def main() -> None:
    """Build."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for folder in CONTENT:
        for source in sorted((ROOT / folder).rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                put(source)


def put(source: Path) -> None:
    """Into the output, under the same name."""
    if source.suffix == ".py":
        compile(source.read_bytes(), str(source.relative_to(ROOT)), "exec")
    target = OUTPUT / source.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    print(target.relative_to(ROOT))


main()
