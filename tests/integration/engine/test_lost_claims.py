"""An attempt that loses its claim after its command has ended, and before it reports, changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import ClaimEnded
from app.infrastructure.sandbox.spec import SandboxOutcome
from app.orchestrator import building, testing
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.stage_commands import run_command
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, SCAN, TEST, Works

LOST = pytest.mark.parametrize("taken", [False, True], ids=["open again", "taken by another"])


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 1)
    return Works(lab, tmp_path)


def losing(
    works: Works, deployment: Any, claimed: ClaimedStage, run: Callable[..., SandboxOutcome], *, taken: bool
) -> Callable[..., SandboxOutcome]:
    """`run`, and the claim is gone when it returns."""

    def run_and_lose(*arguments: Any) -> SandboxOutcome:
        outcome = run(*arguments)
        ended = ClaimEnded(claimed.stage_id, claimed.attempt, poison=False, why="its process stood still")
        works.lab.happen(deployment, ended)
        if taken:
            works.lab.make_due(deployment)
            assert works.claim(deployment, claimed.kind).attempt == claimed.attempt + 1
        return outcome

    return run_and_lose


def again(works: Works, deployment: Any, claimed: ClaimedStage, *, taken: bool) -> None:
    """The attempt that follows reports as ever."""
    if taken:
        works.lab.happen(
            deployment, ClaimEnded(claimed.stage_id, claimed.attempt + 1, poison=False, why="its process stood still")
        )
    works.lab.make_due(deployment)
    works.execute(deployment, claimed.kind)
    assert works.stage(deployment, claimed.kind)["status"] == "Succeeded"


@LOST
def test_its_build_counts_for_nothing(works: Works, monkeypatch: pytest.MonkeyPatch, *, taken: bool) -> None:
    works.publish(build="mkdir dist && head -c 32 /dev/urandom > dist/random", test="true")
    deployment = works.lab.submit("1.0.0")
    claimed = works.claim(deployment, BUILD)
    with monkeypatch.context() as patched:
        patched.setattr(
            building, "run_command", losing(works, deployment, claimed, run_command, taken=taken)
        )
        building.build(works.lab.orchestrator, claimed)
    assert works.lab.sql("select digest from built_artifacts") == []
    assert works.lab.events(deployment).count("report.refused") == 1
    assert works.stage(deployment, BUILD)["status"] != "Succeeded"
    again(works, deployment, claimed, taken=taken)
    assert works.lab.sql("select digest from built_artifacts") == [(works.digest(deployment),)]


@LOST
def test_its_tests_count_for_nothing(works: Works, monkeypatch: pytest.MonkeyPatch, *, taken: bool) -> None:
    works.publish(test="test -f dist/server.py")
    deployment = works.lab.submit("1.0.0")
    works.lab.pass_stage(deployment, SCAN)
    works.execute(deployment, BUILD)
    claimed = works.claim(deployment, TEST)
    with monkeypatch.context() as patched:
        patched.setattr(testing, "run_command", losing(works, deployment, claimed, run_command, taken=taken))
        testing.run_tests(works.lab.orchestrator, claimed)
    assert works.lab.sql("select * from passed_tests") == []
    assert works.lab.sql("select tree_digest is not null from built_artifacts") == [(True,)], "Test needs it again"
    assert works.lab.events(deployment).count("report.refused") == 1
    again(works, deployment, claimed, taken=taken)
    assert works.lab.sql("select deployment_id from passed_tests") == [(deployment,)]
