"""Makes `dist`, which replaces the source: the pages without comments and indentation, all other files as they are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OUTPUT = ROOT / "dist"
ALONG = ("hooks",)
_COMMENTS = {".html": re.compile(r"<!--(?!\[if).*?-->", re.DOTALL), ".css": re.compile(r"/\*.*?\*/", re.DOTALL)}
_EXACT = ("<pre", "<textarea", "<script")  # where blanks mean something, the lines stay as they are


def main() -> None:
    """Build."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for source in files("site"):
        target = OUTPUT / "public" / source.relative_to(ROOT / "site")
        target.parent.mkdir(parents=True, exist_ok=True)
        content = smaller(source)
        target.write_bytes(content)
        print(f"{target.relative_to(ROOT)}: {source.stat().st_size} -> {len(content)} bytes")
    for folder in ALONG:
        for source in files(folder):
            target = OUTPUT / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def files(folder: str) -> list[Path]:
    """Every file in it, in order."""
    return [each for each in sorted((ROOT / folder).rglob("*")) if each.is_file() and each.suffix != ".pyc"]


def smaller(source: Path) -> bytes:
    """A page or style sheet without comments and indentation."""
    comments = _COMMENTS.get(source.suffix)
    if comments is None:
        return source.read_bytes()
    text = comments.sub("", source.read_text(encoding="utf-8"))
    if any(word in text.lower() for word in _EXACT):
        return text.encode()
    lines = (line.strip() for line in text.splitlines())
    return ("\n".join(line for line in lines if line) + "\n").encode()


main()
