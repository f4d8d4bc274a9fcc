"""The lock files fit what they were made from."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_a_pin_names_the_extras_that_others_ask_for() -> None:
    """pip 23 applies the pin of `name` to no requirement of `name[extra]`: with a newer release nothing installs."""
    pins = [
        Requirement(line.removesuffix("\\").strip())
        for file in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / file).read_text().splitlines()
        if re.match(r"[A-Za-z]", line)
    ]
    locked = {(canonicalize_name(pin.name), extra) for pin in pins for extra in pin.extras}
    pinned = {canonicalize_name(pin.name) for pin in pins}
    asked = {
        (canonicalize_name(requirement.name), extra)
        for distribution in distributions()
        if canonicalize_name(distribution.metadata["Name"]) in pinned
        for requirement in map(Requirement, distribution.requires or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        for extra in requirement.extras
    }
    assert ("coverage", "toml") in asked
    assert asked - locked == set(), "run make lock"
