"""Releases of examples/web-greeter: copies of its folder with another version, and a careless change in one of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from examples.demo.errors import DemoFailed

SOURCE = Path(__file__).resolve().parents[1] / "web-greeter"
MODULE = "web-greeter"
NEVER_HEALTHY = {"GREETINGS_FILE": "greetings-2.json", "startTimeout": "6"}  # a file that is not in the module


def make_release(folder: Path, version: str, changes: dict[str, str] | None = None) -> Path:
    """Write the release into `folder/web-greeter`, in place of another; `changes` are values of its manifest.

    Raises DemoFailed where the manifest has no such key.
    """
    target = folder / MODULE
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    manifest = target / "hotswap.yaml"
    text = manifest.read_text("utf-8")
    for key, value in {"version": version, **(changes or {})}.items():
        text = _with_value(text, key, value)
    manifest.write_text(text, "utf-8")
    return target


def _with_value(manifest: str, key: str, value: str) -> str:
    """One value of a manifest replaced, its comments and layout kept; a key stands once in it."""
    changed, count = re.subn(rf"\b({re.escape(key)}:\s*)[^\s,}}]+", lambda found: found[1] + value, manifest)
    if count != 1:
        raise DemoFailed(f"the manifest of {SOURCE} has {key} {count} times, not once")
    return changed
