"""The story of the pipeline: built once, tested, looked through, approved; and what is stopped on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.demo import starter
from examples.demo.fleet import Fleet, fleet_of
from examples.demo.starter import MODULE
from examples.demo.story import Scene, Story

NODES = {"development": 1, "qa": 2, "staging": 1, "production": 1}
ENVIRONMENTS = ("Development", "QA", "Staging", "Production")
WAITS_FOR_A_PERSON = 7
_DEPLOY_LIMIT = "2m"


class _Telling:
    def __init__(self, scene: Scene) -> None:
        self._hotswap = scene.hotswap
        self._folder = scene.folder
        self._narrator = scene.narrator
        self._findings = scene.findings

    @property
    def _source(self) -> Path:
        return self._folder.path / MODULE

    def tell(self) -> None:
        """All of it. Raises DemoFailed where it cannot go on."""
        self.built_once()
        self.failing_test()
        self.planted_secret()
        self.approval()

    def built_once(self) -> None:
        """1.0.0 from its source to all four environments."""
        self._narrator.chapter(
            "From source, once",
            "What is published now is source. It is built and tested in a sandbox without network, and looked through "
            "before and after. What was built is attested, and goes to every environment as it is: same bytes, no "
            "second build.",
        )
        self._log_in("deployer")
        self._hotswap.show("init", MODULE, "--language", "python")
        self._publish("1.0.0")
        telling = ["Build succeeded", "Test succeeded", "Security Scan succeeded", " in Development: "]
        self._hotswap.show(*_deploy("1.0.0", "Development", "--watch"), telling=telling)
        first = self._latest()
        reused: list[str] = []
        fleets = [self._fleet("Development")]
        for environment in ENVIRONMENTS[1:]:
            self._hotswap.show(*_deploy("1.0.0", environment, "--wait"), telling=[f" in {environment}: "])
            reused += _statuses(self._latest(), "Build", "Test")
            fleets.append(self._fleet(environment))
        found = self._findings
        found.equal("1.0.0: Build, Test and Security Scan", ["Succeeded"] * 3, _statuses(first, *_BEFORE_DEPLOY))
        found.equal("1.0.0: tests that passed", _tests(first)["total"], _tests(first)["passed"])
        found.at_least("1.0.0: tests", 1, _tests(first)["total"])
        found.equal("1.0.0: Build and Test in the other three", ["Skipped"] * 6, reused)
        found.equal("1.0.0: digests on all nodes", 1, len(frozenset().union(*(each.digests for each in fleets))))
        found.equal("1.0.0: nodes that answer with it", sum(NODES.values()), self._answering("1.0.0"))

    def failing_test(self) -> None:
        """1.1.0 breaks one of its tests."""
        self._narrator.chapter(
            "A test that fails", "Somebody answers 200 for a page that is not there. A test knows better."
        )
        starter.break_a_test(self._source)
        self._stopped("1.1.0", "Test")
        self._findings.equal("1.1.0: tests that failed", 2, _tests(self._latest())["failed"])
        starter.mend_the_test(self._source)

    def planted_secret(self) -> None:
        """1.2.0 carries a key."""
        self._narrator.chapter("A secret in the source", "A key of a cloud account was left in a file.")
        starter.plant_a_secret(self._source)
        self._stopped("1.2.0", "Security Scan")
        places = {f"{each['file']}:{each['line']}" for each in _findings(self._latest()) if each["stops"]}
        self._findings.equal("1.2.0: where the scan stopped it", {"service/cloud.py:1"}, places)
        starter.remove_the_secret(self._source)

    def approval(self) -> None:
        """1.3.0 waits for a person."""
        self._narrator.chapter(
            "Somebody has to say yes",
            "For Production an approval is asked for. Nobody works while it waits: it is a row with a deadline.",
        )
        self._publish("1.3.0")
        command = (*_deploy("1.3.0", "Production", "--wait")[:-2], "--require-approval")
        self._hotswap.show(*command, telling=["approve"], expected=WAITS_FOR_A_PERSON)
        waiting = self._latest()
        identity = str(waiting["executionId"])
        self._findings.equal("1.3.0: status before anybody said yes", "PendingApproval", waiting["status"])
        self._findings.equal("1.3.0: nodes that ran it then", 0, self._fleet("Production").running("1.3.0"))
        self._log_in("approver")
        self._hotswap.show("approval", "approve", identity, "--reason", "looks good", telling=["Approved"])
        self._hotswap.show("deployment", "watch", identity, telling=[" in Production: "])
        found = self._findings
        found.equal("1.3.0: outcome", "Succeeded", self._latest()["status"])
        found.equal("1.3.0: nodes that answer with it", 1, self._fleet("Production").saying(f"{MODULE} 1.3.0"))

    def _stopped(self, version: str, stage: str) -> None:
        """Publish it, deploy it to QA, and see it stopped by that stage before any node."""
        self._publish(version)
        telling = [f"  {stage} failed: ", " in QA: "]
        self._hotswap.show(*_deploy(version, "QA", "--watch"), telling=telling, expected=1)
        shown = self._latest()
        found = self._findings
        found.equal(f"{version}: outcome", "Failed", shown["status"])
        found.equal(f"{version}: stopped by", stage, _failed_stage(shown))
        found.equal(f"{version}: nodes touched", 0, len(shown["nodes"]))
        found.equal(
            f"{version}: nodes that answer with 1.0.0", NODES["qa"], self._fleet("QA").saying(f"{MODULE} 1.0.0")
        )

    def _log_in(self, user: str) -> None:
        password = self._folder.password(user)
        self._hotswap.show("login", "--username", user, "--password-stdin", stdin=password + "\n")

    def _publish(self, version: str) -> None:
        starter.set_version(self._source, version)
        self._hotswap.show("release", "publish", MODULE, telling=["Published"])

    def _fleet(self, environment: str) -> Fleet:
        return fleet_of(self._hotswap, environment, MODULE)

    def _answering(self, version: str) -> int:
        return sum(self._fleet(environment).saying(f"{MODULE} {version}") for environment in ENVIRONMENTS)

    def _latest(self) -> dict[str, Any]:
        latest = self._hotswap.ask("deployment", "list")[0]
        shown: dict[str, Any] = self._hotswap.ask("deployment", "show", str(latest["executionId"]), "--nodes")
        return shown


_BEFORE_DEPLOY = ("Build", "Test", "Security Scan")


def _deploy(version: str, environment: str, how: str) -> tuple[str, ...]:
    return ("deploy", MODULE, version, "--to", environment, how, "--timeout", _DEPLOY_LIMIT)


def _stage(shown: dict[str, Any], name: str) -> dict[str, Any]:
    stage: dict[str, Any] = next(stage for stage in shown["stages"] if stage["name"] == name)
    return stage


def _statuses(shown: dict[str, Any], *names: str) -> list[str]:
    return [str(_stage(shown, name)["status"]) for name in names]


def _failed_stage(shown: dict[str, Any]) -> str:
    return ", ".join(str(stage["name"]) for stage in shown["stages"] if stage["status"] == "Failed")


def _tests(shown: dict[str, Any]) -> dict[str, int]:
    tests: dict[str, int] = _stage(shown, "Test")["details"]["tests"]
    return tests


def _findings(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for part in _stage(shown, "Security Scan")["details"].values() for each in part["findings"]]


PIPELINE = Story(
    "HotSwap: a release from its source to production, and what is stopped on the way. About a minute.",
    NODES,
    lambda scene: _Telling(scene).tell(),
)
