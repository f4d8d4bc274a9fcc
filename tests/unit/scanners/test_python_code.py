"""Python code, by bandit's rules."""

from __future__ import annotations

from pathlib import Path

from app.infrastructure.scanners.report import Reason
from tests.unit.scanners.looked_at import found, left_out, looked_at


def test_what_bandit_is_sure_of_is_as_grave_as_it_says(tmp_path: Path) -> None:
    code = "import subprocess\nsubprocess.call(x, shell=True)\nassert x\n"
    assert found(looked_at(tmp_path, {"app.py": code}), "bandit.") == [
        ("bandit.B602", "high", "app.py", 2),
        ("bandit.B404", "low", "app.py", 1),
        ("bandit.B101", "low", "app.py", 3),
    ]


def test_what_it_is_less_sure_of_is_less_grave(tmp_path: Path) -> None:
    # B201 is of high severity and medium confidence.
    code = "from flask import Flask\napp = Flask('x')\napp.run(debug=True)\n"
    assert ("bandit.B201", "medium", "app.py", 3) in found(looked_at(tmp_path, {"app.py": code}), "bandit.")


def test_weak_hashes_are_common_and_not_of_high_severity(tmp_path: Path) -> None:
    report = looked_at(tmp_path, {"app.py": "import hashlib\nname = hashlib.md5(text).hexdigest()\n"})
    assert found(report, "bandit.") == [("bandit.B324", "medium", "app.py", 2)]


def test_neither_marks_nor_configuration_in_the_tree_count(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "app.py": "import subprocess\nsubprocess.call(x, shell=True)  # nosec B602\n",
        ".bandit": "[bandit]\nskips: B602\nexclude: .\n",
        "pyproject.toml": "[tool.bandit]\nskips = ['B602']\n",
        "bandit.yaml": "skips: [B602]\n",
    }
    assert ("bandit.B602", "high", "app.py", 2) in found(looked_at(tmp_path, files), "bandit.")


def test_what_is_no_python_is_counted(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "old.py": "print 'hello'\n",
        "deep.py": "(" * 5000 + ")" * 5000,
        "null.py": b"x = 1\0\n",
        "odd.py": b"# coding: no-such\nx = 1\n",
        "fine.py": "eval(x)\n",
    }
    report = looked_at(tmp_path, files)
    assert [each[2] for each in found(report, "bandit.")] == ["fine.py"]
    unparsed = left_out(report, Reason.UNPARSED)
    assert unparsed is not None
    assert unparsed.count == 4


def test_the_code_of_dependencies_is_left_to_the_vulnerability_data(tmp_path: Path) -> None:
    """Also where `pip install --target` put it beside the module's own."""
    shell = "import subprocess\nsubprocess.call(x, shell=True)\n"
    files: dict[str, str | bytes] = {
        "app.py": shell,
        "other/own.py": shell,
        "lib/requests/api.py": shell,
        "lib/six.py": shell,
        "lib/mine.py": shell,
        "lib/requests-2.0.dist-info/METADATA": "Name: requests\nVersion: 2.0\n",
        "lib/requests-2.0.dist-info/RECORD": "requests/api.py,sha256=x,1\n../../bin/x,,\n",
        "lib/six-1.0.dist-info/METADATA": "Name: six\nVersion: 1.0\n",
        "lib/six-1.0.dist-info/RECORD": "six.py,sha256=x,1\n",
        ".venv/lib/python3.11/site-packages/a.py": shell,
    }
    report = looked_at(tmp_path, files)
    assert [each[2] for each in found(report, "bandit.B602")] == ["app.py", "lib/mine.py", "other/own.py"]
    of_dependencies = left_out(report, Reason.OF_DEPENDENCY)
    assert of_dependencies is not None
    assert of_dependencies.count == 3
