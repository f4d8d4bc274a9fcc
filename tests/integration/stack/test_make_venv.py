"""What is missing for the virtual environment is one line that says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def refusal(wrapper: Path, *script: str) -> str:
    """What .ci/make-venv of a copy of it (so that nothing here is touched) says with that interpreter."""
    clone = wrapper.parent / "clone"
    (clone / ".ci").mkdir(parents=True)
    (clone / ".ci" / "make-venv").write_text((ROOT / ".ci" / "make-venv").read_text())
    wrapper.write_text("\n".join(("#!/bin/sh", *script, f'exec {sys.executable} "$@"')) + "\n")
    wrapper.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(clone / ".ci" / "make-venv"), "requirements.txt"],
        env={**os.environ, "PYTHON": str(wrapper)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("hotswap: ")
    assert done.stderr.count("\n") == 1
    assert not (clone / ".venv").exists()
    return done.stderr


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    return tmp_path / "python3"


def test_an_old_python(wrapper: Path) -> None:
    assert "install Python 3.11 or newer" in refusal(wrapper, 'case "$*" in *version_info*) echo 310; exit;; esac')


def test_a_shim_that_does_not_run(wrapper: Path) -> None:
    assert "does not run" in refusal(wrapper, "echo 'python3: command not found' >&2; exit 127")


def test_no_venv_module(wrapper: Path) -> None:
    said = refusal(wrapper, 'case "$*" in *"import ensurepip"*) exit 1;; esac')
    assert f"python3.{sys.version_info.minor}-venv" in said


@pytest.mark.parametrize(("answer", "advice"), [("None", "musl"), ("'glibc 2.27'", "too old"), ("'musl 1.2'", "musl")])
def test_an_unsupported_libc(wrapper: Path, answer: str, advice: str) -> None:
    """The interpreter reads the check from its input: there the answer of the C library is replaced."""
    program = f"import os; os.confstr = lambda name: {answer}"
    said = refusal(wrapper, f'if [ "$1" = - ]; then (echo "{program}"; cat) | {sys.executable} -; exit; fi')
    assert advice in said
