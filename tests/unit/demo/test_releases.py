"""The demo's releases differ from the example in what was asked for, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.manifest import parse_manifest
from examples.demo.errors import DemoFailed
from examples.demo.releases import NEVER_HEALTHY, SOURCE, make_release


def test_a_release_has_another_version_and_the_same_files(tmp_path: Path) -> None:
    folder = make_release(tmp_path, "1.1.0")
    before = (SOURCE / "hotswap.yaml").read_text("utf-8").splitlines()
    after = (folder / "hotswap.yaml").read_text("utf-8").splitlines()
    assert [line for line in after if line not in before] == ["version: 1.1.0"]
    assert (folder / "greeter" / "service.py").read_bytes() == (SOURCE / "greeter" / "service.py").read_bytes()


def test_the_bad_one_asks_for_a_file_that_is_not_in_it(tmp_path: Path) -> None:
    folder = make_release(tmp_path, "1.2.0", NEVER_HEALTHY)
    manifest = parse_manifest((folder / "hotswap.yaml").read_bytes())
    assert manifest.run is not None
    assert not (folder / manifest.run.environment["GREETINGS_FILE"]).exists()


def test_each_one_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    make_release(tmp_path, "1.2.0", NEVER_HEALTHY)
    text = (make_release(tmp_path, "1.3.0") / "hotswap.yaml").read_text("utf-8")
    assert "greetings-2.json" not in text


def test_a_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="0 times"):
        make_release(tmp_path, "1.1.0", {"NO_SUCH_KEY": "1"})
