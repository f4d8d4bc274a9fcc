"""Releases of a module that `hotswap init` made, with what somebody changed in each."""

from __future__ import annotations

import re
from pathlib import Path

from examples.demo.errors import DemoFailed

MODULE = "price-service"
# Put together here, so that this repository itself holds nothing that looks like a key.
_LIKE_A_KEY = "AKIA" + "QYLPMN5HHHFPZAM2"


def set_version(folder: Path, version: str) -> None:
    """Raises DemoFailed where the manifest has no version."""
    change(folder, "hotswap.yaml", r"(?m)^version: \S+", f"version: {version}")


def change(folder: Path, file: str, pattern: str, replacement: str) -> None:
    """Raises DemoFailed unless the pattern is in the file just once."""
    path = folder / file
    changed, count = re.subn(pattern, lambda _: replacement, path.read_text("utf-8"))
    if count != 1:
        raise DemoFailed(f"{path} has {pattern} {count} times, not once")
    path.write_text(changed, "utf-8")


def break_a_test(folder: Path) -> None:
    """Answers 200 for what is not there, which a test of the module forbids."""
    change(folder, "service/answers.py", r"Answer\(404, ", "Answer(200, ")


def mend_the_test(folder: Path) -> None:
    """Takes `break_a_test` back."""
    change(folder, "service/answers.py", r'Answer\(200, "there', 'Answer(404, "there')


def plant_a_secret(folder: Path) -> None:
    """What happens to everybody once."""
    (folder / "service" / "cloud.py").write_text(f'ACCESS_KEY = "{_LIKE_A_KEY}"\n', "utf-8")


def remove_the_secret(folder: Path) -> None:
    """Takes `plant_a_secret` back."""
    (folder / "service" / "cloud.py").unlink()
