"""From the bytes of `hotswap.yaml` to a `Manifest`, and to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.manifest.model import Manifest

MANIFEST_NAME = "hotswap.yaml"
MAXIMUM_MANIFEST_BYTES = 64 * 1024


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest; raises `ManifestInvalid` with every problem found, never anything else.

    `content` is YAML in UTF-8, at most 64 KiB, one document, without tags, anchors and aliases.
    """
    raise NotImplementedError


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values with the keys of the file: times in seconds, sizes as in the file's units.

    `from_json(to_json(m)) == m`.
    """
    raise NotImplementedError


def from_json(value: Mapping[str, Any]) -> Manifest:
    """The manifest of what `to_json` gave; raises `ManifestInvalid` (lines are 0)."""
    raise NotImplementedError
