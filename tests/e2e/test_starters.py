"""What `hotswap init` makes goes through the whole pipeline as it is: built, scanned, tested, deployed, answering."""

from __future__ import annotations

from pathlib import Path

from app.cli.init import Language
from tests.e2e.api import Api, stage
from tests.e2e.conftest import NameMaker
from tests.e2e.stack import Stack
from tests.integration.starters.module import SYSTEM_PATH, is_here, search_path


def test_a_template_is_built_tested_and_deployed_as_it_is(
    stack: Stack, api: Api, new_name: NameMaker, tmp_path: Path
) -> None:
    """The two that differ most; what needs a compiler that is not where builds look for it is left out."""
    wanted = (Language.PYTHON, Language.JAVA)
    usable = [each for each in wanted if search_path() == SYSTEM_PATH and is_here(each)]
    submitted = {}
    for language in usable:
        name = new_name(f"started-in-{language.value}")
        stack.cli("init", str(tmp_path / name), "--language", language.value)
        stack.cli("release", "publish", str(tmp_path / name))
        submitted[name] = api.deploy(name, "1.0.0", "Development")
    for name, identity in submitted.items():
        ended = api.finished(identity)
        assert ended["status"] == "Succeeded", ended
        assert {stage(ended, each)["status"] for each in ("Build", "Test", "Security Scan")} == {"Succeeded"}
        assert stage(ended, "Test")["details"]["tests"]["failed"] == 0
        assert stage(ended, "Test")["details"]["tests"]["total"] >= 2
        scan = stage(ended, "Security Scan")["details"]
        assert [each["counts"]["high"] + each["counts"]["critical"] for each in scan.values()] == [0] * len(scan)
        (release,) = api.active("Development", name).values()
        assert release["digest"] == ended["digest"]
        summary = tmp_path / f"{name}.md"
        stack.cli("deployment", "show", identity, "--summary", str(summary))
        told = summary.read_text()
        assert f"### <code>{name} 1.0.0</code> to <code>Development</code>: Succeeded" in told
        assert f"**Tests:** {stage(ended, 'Test')['details']['tests']['total']} passed, 0 failed" in told
        assert "**Findings of the security scan:** " in told
        assert "| <code>nothing</code> | <code>1.0.0</code> | 1 | Succeeded |" in told
