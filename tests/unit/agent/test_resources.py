"""A manifest's `resources` against the node: what fits, what does not, and control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from agent.archive import Limits
from agent.failures import FailureCode, OperationFailed
from agent.manifest import Resources
from agent.paths import ModuleFolder
from agent.releases import install
from agent.resources import MIB, check_resources, memory_limits, memory_mb
from tests.unit.agent.test_releases import archive


def test_what_fits_passes(tmp_path: Path) -> None:
    check_resources(Resources(), tmp_path)
    check_resources(Resources(memory_mb(), float(len(os.sched_getaffinity(0))), 1), tmp_path)
    assert 0 < memory_mb() <= psutil.virtual_memory().total // MIB


def test_all_that_does_not_fit_is_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed) as refused:
        check_resources(Resources(10**8, 4096.5, 10**9), tmp_path)
    assert refused.value.code is FailureCode.INSUFFICIENT_RESOURCES
    for part in (f"memoryMB 100000000 of {memory_mb()}", "cpuCores 4096.5 of ", "diskMB 1000000000 of ", " free"):
        assert part in refused.value.message
    with pytest.raises(OperationFailed, match=r"has: cpuCores 4096.5 of \d+$"):
        check_resources(Resources(1, 4096.5, 1), tmp_path)


def test_a_release_that_does_not_fit_is_not_installed(tmp_path: Path) -> None:
    folder = ModuleFolder(tmp_path / "module")
    packed, target = archive(tmp_path, "1.0.0", more="resources: {memoryMB: 16777216}\n")
    with pytest.raises(OperationFailed, match="memoryMB 16777216 of"):
        install(packed, target, "web-site", folder, Limits())
    assert list(folder.releases.iterdir()) == []


def test_the_lowest_limit_of_the_control_groups_counts(tmp_path: Path) -> None:
    inner = tmp_path / "system.slice" / "agent.service"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1000\n")
    assert min(memory_limits("0::/system.slice/agent.service\n", tmp_path)) == 1000
    assert min(memory_limits("0::/\n", tmp_path), default=None) is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("500\n")
    # As in a container: the group's path is that of the host, and what is mounted is the container's own.
    assert min(memory_limits("4:memory:/docker/1234\n1:cpu:/\n0::/\n", tmp_path)) == 500
