"""Log in, publish, deploy to each environment, look at it."""

from __future__ import annotations

import pytest

from tests.e2e.api import Api, Refused, stage
from tests.e2e.probe_module import ProbeModule
from tests.e2e.stack import Stack


def test_a_user_logs_in(stack: Stack) -> None:
    me = stack.api("deployer").get("/authentication/me")
    assert me["username"] == "deployer" and me["roles"] == ["Deployer"]
    with pytest.raises(Refused, match="401"):
        Api(stack.url, "deployer", "not the password")


def test_a_release_goes_through_all_environments(module: ProbeModule, api: Api) -> None:
    version = module.release()
    for environment, nodes in (("Development", 1), ("QA", 5), ("Staging", 4)):
        ended = module.deployed(version, environment)
        # Asked at once: nothing of this may wait for a heartbeat.
        recorded = module.recorded(environment)
        (row,) = [row for row in api.get(f"/modules/{module.name}/environments") if row["environment"] == environment]
        assert recorded == dict.fromkeys(api.nodes(environment), version) and len(recorded) == nodes
        assert (row["version"], row["deployedBy"], row["executionId"], row["pending"], row["drift"]) == (
            version, "deployer", ended["executionId"], [], [],
        )  # fmt: skip
        assert [each["status"] for each in ended["stages"]] == [
            "Skipped", "Succeeded", "Skipped", "Skipped", "Succeeded", "Succeeded",
        ]  # fmt: skip
        assert stage(ended, "Deploy")["nodesDeployed"] == nodes
        assert set(module.answers(environment).values()) == {version}
    again = module.deployed(version, "QA")
    assert "nothing to change" in again["reason"]
    assert stage(again, "Deploy")["nodesSkipped"] == 5
