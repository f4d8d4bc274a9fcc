"""What the documentation shows is what the parser takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.manifest import Manifest, parse_manifest, to_json
from tests.unit.manifest.test_parse import EVERYTHING, SITE

PAGE = (Path(__file__).parent.parent.parent.parent / "docs" / "guides" / "writing-a-module.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_manifest_shown_is_valid(block: str) -> None:
    head = "" if block.startswith("name:") else "name: abc\nversion: 1.0.0\nkind: process\n"
    assert isinstance(parse_manifest((head + block).encode()), Manifest)


def test_every_field_is_described() -> None:
    for value in (to_json(parse_manifest(EVERYTHING.encode())), to_json(parse_manifest(SITE.encode()))):
        for key, inner in value.items():
            assert f"`{key}" in PAGE, key
            if key in {"run", "health", "resources", "files", "drain", "metrics"}:
                for name in inner:
                    assert f"`{key}.{name}`" in PAGE, f"{key}.{name}"
