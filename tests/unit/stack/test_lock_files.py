"""The lock files fit what they were made from."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def names(file: str) -> set[str]:
    lines = (ROOT / file).read_text().splitlines()
    found = (re.match(r"[A-Za-z][A-Za-z0-9._-]*", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


@pytest.mark.parametrize("stem", ["requirements", "requirements-dev"])
def test_all_that_is_asked_for_is_locked(stem: str) -> None:
    assert names(f"{stem}.in") - names(f"{stem}.txt") == set(), "run make lock"


@pytest.mark.parametrize("stem", ["requirements", "requirements-dev"])
def test_every_pin_has_a_hash_and_no_index_is_named(stem: str) -> None:
    text = (ROOT / f"{stem}.txt").read_text()
    pins = [each for each in re.split(r"\n(?=\S)", text) if "==" in each.split("\n")[0]]
    assert pins
    assert [each for each in pins if "--hash=sha256:" not in each] == []
    assert "://" not in text
    assert "--index" not in text
