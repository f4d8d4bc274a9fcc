"""`hotswap environment ... --module`: what is sent, and what is shown of the answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import Api, answer, hotswap, problem

PATH = "/modules/web/policy/QA"
SHOWN = {
    "moduleName": "web",
    "environment": "QA",
    "overrides": {"rolling": {"batch": "10%"}, "strategy": "direct"},
    "effective": {"strategy": "rolling", "rolling": {"batch": "10%", "minInService": None}, "maxFailedNodes": 0},
    "locked": ["strategy", "freeze"],
    "ignored": ["strategy"],
    "version": 4,
}


@pytest.fixture
def api() -> Api:
    scripted = Api()
    scripted.on("GET", PATH, answer(SHOWN, headers={"ETag": '"4"'}))
    scripted.on("PUT", PATH, answer(SHOWN))
    return scripted


def test_show_prints_what_apply_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str], api: Api) -> None:
    assert hotswap("environment", "show", "QA", "--module", "web", home=tmp_path, api=api) == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out) == {"name": "QA", "module": "web", **SHOWN["overrides"]}  # type: ignore[dict-item]
    assert "# Locked by QA, counts for nothing: strategy\n" in out
    assert "# Locked by QA, cannot be overridden: strategy, freeze\n" in out
    assert "#   maxFailedNodes: 0\n" in out
    file = tmp_path / "web.yaml"
    file.write_text(out)
    assert hotswap("environment", "apply", str(file), "--reason", "why", home=tmp_path, api=api) == 0
    assert api.bodies("PUT", PATH) == [{**SHOWN["overrides"], "reason": "why"}]  # type: ignore[dict-item]
    assert api.requests[-1].headers["If-Match"] == '"4"'
    assert "What web overrides in QA is changed." in capsys.readouterr().out


def test_a_flag_says_whose_overrides_a_file_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], api: Api
) -> None:
    file = tmp_path / "fast.yaml"
    file.write_text("name: QA\nmaxFailedNodes: 3\n")
    assert hotswap("environment", "apply", str(file), "--module", "web", home=tmp_path, api=api) == 0
    assert api.bodies("PUT", PATH) == [{"maxFailedNodes": 3}]
    file.write_text("name: QA\nmodule: web\n")
    code = hotswap("environment", "apply", str(file), "--module", "other", home=tmp_path, api=api)
    assert code == ExitCode.USAGE
    assert "web" in capsys.readouterr().err
    file.write_text("name: QA\nmodule: [web]\n")
    assert hotswap("environment", "apply", str(file), home=tmp_path, api=api) == ExitCode.USAGE
    assert hotswap("environment", "show", "--module", "web", home=tmp_path, api=api) == ExitCode.USAGE
    assert len(api.bodies("PUT", PATH)) == 1


def test_no_module_is_made_by_a_policy(tmp_path: Path, api: Api) -> None:
    file = tmp_path / "none.yaml"
    file.write_text("name: QA\nmodule: none\n")
    api.on("GET", "/modules/none/policy/QA", problem(404, "There is no module none."))
    assert hotswap("environment", "apply", str(file), home=tmp_path, api=api) == ExitCode.REFUSED
    assert not [each for each in api.requests if each.method == "PUT"]


def test_edit_sends_what_the_editor_left(tmp_path: Path, capsys: pytest.CaptureFixture[str], api: Api) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/10%/20%/; /^strategy/d" "$1"\n')
    editor.chmod(0o700)
    command = ("environment", "edit", "QA", "--module", "web")
    assert hotswap(*command, home=tmp_path, api=api, environment={"EDITOR": str(editor)}) == 0
    assert api.bodies("PUT", PATH) == [{"rolling": {"batch": "20%"}}]
    api.on("PUT", PATH, problem(400, "no", {"rolling.batch": ["no"]}))
    assert hotswap(*command, home=tmp_path, api=api, environment={"EDITOR": str(editor)}) == ExitCode.REFUSED
    kept = Path(capsys.readouterr().err.split("hotswap environment apply ")[1].split()[0])
    # It says itself whose overrides it has.
    assert yaml.safe_load(kept.read_text())["module"] == "web"
    kept.unlink()
