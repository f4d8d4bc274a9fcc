"""What dead processes counted goes on counting; their files go; a fold that is cut neither loses nor doubles."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict

from app.infrastructure import metric_files
from app.infrastructure.metric_files import MetricFiles, fold

ROOT = Path(__file__).resolve().parents[3]
COUNTING = """
import sys
from app.infrastructure.work_metrics import BREAKERS, STAGE_SECONDS, SWAPS
SWAPS.labels("forward").inc(3)
STAGE_SECONDS.labels("Test", "Succeeded").observe(0.3)
BREAKERS.labels("open").inc()
sys.stdout.write("counted\\n")
sys.stdout.flush()
if len(sys.argv) > 1:
    sys.stdin.read()
"""


def _count(folder: Path) -> None:
    """A process that counts and ends."""
    subprocess.run([sys.executable, "-c", COUNTING], cwd=ROOT, env=_environment(folder), check=True, timeout=60)


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}


def _values(folder: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    samples = [sample for metric in MetricFiles(folder).collect() for sample in metric.samples]
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


@pytest.fixture(autouse=True)
def _look_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_files, "FOLD_EVERY", 0.0)


def test_the_dead_go_on_counting_and_leave_two_files(tmp_path: Path) -> None:
    _count(tmp_path)
    _count(tmp_path)
    for _ in range(3):
        values = _values(tmp_path)
        assert values["hotswap_swaps_total", ("forward",)] == 6
        assert values["hotswap_stage_duration_seconds_count", ("Succeeded", "Test")] == 2
        assert values["hotswap_stage_duration_seconds_bucket", ("Succeeded", "Test", "1.0")] == 2
        assert values["hotswap_stage_duration_seconds_bucket", ("Succeeded", "Test", "0.2")] == 0
        assert ("hotswap_breakers", ("open",)) not in values
    assert {file.name for file in tmp_path.glob("*.db")} == {"counter_dead.db", "histogram_dead.db"}


def test_the_living_keep_their_files_and_gauges(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNTING, "stay"]
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as living:
        assert living.stdout is not None and living.stdout.readline() == b"counted\n"
        _count(tmp_path)
        assert _values(tmp_path)["hotswap_breakers", ("open",)] == 1
        assert _values(tmp_path)["hotswap_swaps_total", ("forward",)] == 6
        assert (tmp_path / f"counter_{living.pid}.db").exists()
        living.kill()
    assert ("hotswap_breakers", ("open",)) not in _values(tmp_path)
    assert _values(tmp_path)["hotswap_swaps_total", ("forward",)] == 6


@pytest.mark.parametrize("cut", ["_write", "names", "rename", "unlink"])
def test_a_fold_that_is_cut_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    _count(tmp_path)
    fold(tmp_path)
    _count(tmp_path)

    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if cut == "_write":
            patch.setattr(MmapedDict, "close", killed)
        elif cut == "names":
            patch.setattr(Path, "write_text", killed)
        elif cut == "rename":
            real = Path.rename
            patch.setattr(Path, "rename", lambda self, to: killed() if self.suffix == ".new" else real(self, to))
        else:
            gone = Path.unlink
            patch.setattr(Path, "unlink", lambda self, **how: killed() if self.suffix == ".db" else gone(self, **how))
        fold(tmp_path)
    for _ in range(2):
        fold(tmp_path)
        assert _values(tmp_path)["hotswap_swaps_total", ("forward",)] == 6


def test_nobody_folds_while_somebody_reads(tmp_path: Path) -> None:
    _count(tmp_path)
    before = {file.name for file in tmp_path.glob("*.db")}
    with (tmp_path / "lock").open("w") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        fold(tmp_path)
        assert {file.name for file in tmp_path.glob("*.db")} == before
    fold(tmp_path)
    assert {file.name for file in tmp_path.glob("*.db")} == {"counter_dead.db", "histogram_dead.db"}


def test_a_file_that_was_just_opened_is_no_error(tmp_path: Path) -> None:
    (tmp_path / f"counter_{os.getpid()}.db").touch()
    (tmp_path / f"histogram_{2**22 + 1}.db").touch()  # above the highest process id
    assert _values(tmp_path) == {}
