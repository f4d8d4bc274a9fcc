"""Policies as YAML: what people write, also without quotes, becomes JSON, and no text of theirs is lost."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from app.cli import environment, policy_file
from app.cli.errors import UsageProblem
from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import Api, answer, hotswap

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "scanning.md"
QA = {"name": "QA", "order": 2, "strategy": "rolling"}


@pytest.fixture
def api() -> Api:
    api = Api()
    api.on("GET", "/environments/QA", answer(QA, headers={"ETag": '"1"'}))
    api.on("PUT", "/environments/QA", answer(QA))
    return api


def printed_in_the_guide() -> str:
    """The YAML of docs/guides/scanning.md as it stands there."""
    (block,) = re.findall(r"^    scan:\n(?:    .*\n|\n(?=    ))+", GUIDE.read_text(), re.MULTILINE)
    return textwrap.dedent(block)


def test_the_guides_own_policy_is_sent_as_it_reads(tmp_path: Path, api: Api) -> None:
    file = tmp_path / "qa.yaml"
    file.write_text("name: QA\n" + printed_in_the_guide())
    assert hotswap("environment", "apply", str(file), home=tmp_path, api=api) == 0
    (sent,) = api.bodies("PUT", "/environments/QA")
    assert [each["until"] for each in sent["scan"]["exceptions"]] == ["2027-03-31", "2026-12-31"]


@pytest.mark.parametrize("text", ["2027-03-31", "!!timestamp 2027-03-31", "2027-03-31T10:00:00Z"])
def test_a_time_is_a_text(text: str) -> None:
    until = policy_file.parsed(f"until: {text}", "policy")["until"]
    assert until == text.removeprefix("!!timestamp ")
    assert policy_file.parsed(policy_file.text_of({"until": until}), "policy") == {"until": until}


@pytest.mark.parametrize("text", ["!!binary aGVsbG8=", ".nan", ".inf", "!!set {a, b}"])
def test_what_json_has_not_is_told(text: str) -> None:
    with pytest.raises(UsageProblem, match="JSON has not"):
        policy_file.parsed(f"a: {text}", "policy")


def editing(tmp_path: Path, script: str) -> dict[str, str]:
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    return {"EDITOR": str(editor), "VISUAL": ""}


def test_an_editor_draws_where_no_answer_is_spoilt(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], api: Api
) -> None:
    variables = editing(tmp_path, 'echo drawing; echo "locked: [strategy]" >> "$1"')
    assert hotswap("environment", "edit", "QA", "-o", "json", home=tmp_path, api=api, environment=variables) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == QA
    assert err == "drawing\n"
    assert hotswap("environment", "edit", "QA", home=tmp_path, api=api, environment=variables) == 0
    assert capfd.readouterr().out.startswith("drawing\n")  # for people it has the terminal


def test_with_json_a_text_that_was_not_sent_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], api: Api
) -> None:
    for script, code in (("exit 3", 2), ('echo "a: .nan" >> "$1"', 2)):
        variables = editing(tmp_path, script)
        done = hotswap("environment", "edit", "QA", "-o", "json", home=tmp_path, api=api, environment=variables)
        assert done == code
        kept = Path(json.loads(capfd.readouterr().err)["keptFile"])
        assert kept.read_text().startswith("name: QA\n")
        kept.unlink()


def test_also_a_fault_of_our_own_keeps_the_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise TypeError("not serializable")

    monkeypatch.setattr(environment, "_put", broken)
    variables = editing(tmp_path, 'echo "locked: [strategy]" >> "$1"')
    code = hotswap("environment", "edit", "QA", home=tmp_path, api=api, environment=variables)
    assert code == ExitCode.DEFECT
    kept = Path(capfd.readouterr().err.splitlines()[0].rpartition(" ")[2])
    assert "locked: [strategy]" in kept.read_text()
    kept.unlink()
