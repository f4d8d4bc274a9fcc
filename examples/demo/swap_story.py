"""The story of a swap under load: a good release, and a bad one that no user sees."""

from __future__ import annotations

from typing import Any

from examples.demo.errors import DemoFailed
from examples.demo.fleet import Fleet, fleet_of
from examples.demo.load import Load, Tally
from examples.demo.releases import MODULE, NEVER_HEALTHY, make_release
from examples.demo.story import Scene, Story

NODES = {"development": 2, "qa": 5}
QA_NODES = NODES["qa"]
_BATCHES = [2, 2, 1]  # 25 % of 5 nodes, rounded up
_WARM_UP = 250  # answers before and after a deployment, so that both sides of it are in the figures
_PATIENCE = 60.0  # seconds
_QUIET = 2.0
_DEPLOY_LIMIT = "2m"


class _Telling:
    """Tells it over a stack that is ready."""

    def __init__(self, scene: Scene) -> None:
        self._hotswap = scene.hotswap
        self._folder = scene.folder
        self._narrator = scene.narrator
        self._findings = scene.findings

    def tell(self) -> None:
        """All of it. Raises DemoFailed where it cannot go on."""
        self.first_release()
        before = fleet_of(self._hotswap, "QA", MODULE)
        load = Load(before.endpoints)
        try:
            self.users_arrive(load)
            self.good_release(load)
            self.bad_release(load, before)
        finally:
            load.stop()

    def first_release(self) -> None:
        """1.0.0 to Development and QA."""
        self._narrator.chapter(
            "The first release",
            f"{MODULE} is a small web service in examples/. Publishing packs and signs it; a release never changes "
            "afterwards. Every node checks the signature itself before it runs anything.",
        )
        password = self._folder.password("deployer")
        self._hotswap.show("login", "--username", "deployer", "--password-stdin", stdin=password + "\n")
        self._publish("1.0.0")
        answering = 0
        for environment in ("Development", "QA"):
            self._hotswap.show(*_deploy("1.0.0", environment, "--wait"), telling=[f" in {environment}: "])
            answering += fleet_of(self._hotswap, environment, MODULE).answering("1.0.0")
        self._findings.equal("1.0.0: nodes that answer with it", sum(NODES.values()), answering)

    def users_arrive(self, load: Load) -> None:
        """Load on every node of QA."""
        self._narrator.chapter(
            "Users arrive",
            f"From now on {load.clients} clients ask all {QA_NODES} nodes of QA, half over connections that they keep, "
            "half over a new one each time. They try nothing again: what gets no proper answer counts as failed.",
        )
        load.start()
        self._wait_for_answers(load)

    def good_release(self, load: Load) -> None:
        """1.1.0, rolling, under load."""
        self._narrator.chapter(
            "A good release, under load",
            "QA is rolled over a quarter of its nodes at a time. On a node, the new version starts beside the old one, "
            "is checked where no user reaches it, then takes over the address; the old one finishes what it has.",
        )
        self._publish("1.1.0")
        telling = ["planned:", ": 1.1.0 succeeded", " in QA: "]
        self._hotswap.show(*_deploy("1.1.0", "QA", "--watch"), telling=telling)
        if not load.wait_for_silence_of("1.0.0", _QUIET, _PATIENCE):
            self._narrator.alarm(f"1.0.0 still answers {_PATIENCE:.0f} s later.")
        self._wait_for_answers(load)
        tally = load.cut()
        self._tell(tally)
        shown, after = self._latest_deployment(), fleet_of(self._hotswap, "QA", MODULE)
        found = self._findings
        found.equal("1.1.0: outcome", "Succeeded", shown["status"])
        found.equal("1.1.0: nodes in each batch", _BATCHES, _batches(shown))
        found.at_least("1.1.0: requests answered", 2 * _WARM_UP, tally.answered)
        found.equal("1.1.0: requests failed", 0, self._failed(tally))
        found.equal("1.1.0: nodes that answer with it", QA_NODES, after.answering("1.1.0"))

    def bad_release(self, load: Load, before: Fleet) -> None:
        """1.2.0 starts and never gets healthy."""
        self._narrator.chapter(
            "A bad release, under load",
            "1.2.0 names a file that is not in it, as a careless change would. It starts and listens, but its health "
            "check answers 503, so it gets no user. The rollout stops after its first batch and goes back.",
        )
        self._publish("1.2.0", NEVER_HEALTHY)
        telling = ["planned:", "deployment rolling back", " in QA: ", "    | unhealthy"]
        self._hotswap.show(*_deploy("1.2.0", "QA", "--watch"), telling=telling, expected=1)
        self._wait_for_answers(load)
        tally = load.cut()
        self._tell(tally)
        shown, after = self._latest_deployment(), fleet_of(self._hotswap, "QA", MODULE)
        touched = _touched(shown)
        found = self._findings
        found.equal("1.2.0: outcome", "RolledBack", shown["status"])
        found.equal("1.2.0: nodes on which it was tried", _BATCHES[0], len(touched))
        found.at_least("1.2.0: nodes where it said that it serves", 1, _started(shown))
        found.equal("1.2.0: nodes not touched", QA_NODES - _BATCHES[0], len(set(after.versions) - touched))
        found.equal("1.2.0: versions that answered", {"1.1.0"}, set(tally.versions))
        found.at_least("1.2.0: requests answered", _WARM_UP, tally.answered)
        found.equal("1.2.0: requests failed", 0, self._failed(tally))
        found.equal("1.2.0: nodes that run 1.1.0, as the API says", QA_NODES, after.running("1.1.0"))
        found.equal("1.2.0: nodes that answer with 1.1.0", QA_NODES, after.answering("1.1.0"))
        found.equal("endpoints that changed", 0, len(set(before.endpoints) ^ set(after.endpoints)))

    def _publish(self, version: str, changes: dict[str, str] | None = None) -> None:
        make_release(self._folder.path, version, changes)
        self._hotswap.show("release", "publish", MODULE, telling=["Published"])

    def _wait_for_answers(self, load: Load) -> None:
        """Until every node has had its share of requests since now."""
        if not load.wait_for_more_answers(_WARM_UP, _PATIENCE):
            raise DemoFailed(f"the clients did not get {_WARM_UP} answers within {_PATIENCE:.0f} s")

    def _tell(self, tally: Tally) -> None:
        versions = ", ".join(f"{count:,} by {version}" for version, count in tally.versions.items())
        self._narrator.say(
            f"{tally.answered:,} requests answered ({versions}), {tally.failed:,} failed; the slowest took "
            f"{tally.slowest * 1000:,.0f} ms."
        )

    def _failed(self, tally: Tally) -> int:
        for reason, count in tally.failures.most_common(5):
            self._narrator.alarm(f"failed {count:,} times: {reason}")
        return tally.failed

    def _latest_deployment(self) -> dict[str, Any]:
        latest = self._hotswap.ask("deployment", "list")[0]
        shown: dict[str, Any] = self._hotswap.ask("deployment", "show", str(latest["executionId"]), "--nodes")
        return shown


def _deploy(version: str, environment: str, how: str) -> tuple[str, ...]:
    return ("deploy", MODULE, version, "--to", environment, how, "--timeout", _DEPLOY_LIMIT)


def _batches(shown: dict[str, Any]) -> list[int]:
    return [int(wave["nodes"]) for stage in shown["stages"] for wave in stage["waves"]]


def _touched(shown: dict[str, Any]) -> set[str]:
    """The nodes on which something was begun."""
    return {str(node["hostname"]) for node in shown["nodes"] if node["startTime"] is not None}


def _started(shown: dict[str, Any]) -> int:
    """On how many nodes the output of the failed release has its own word that it serves.

    One that was still trying when the rollout was given up has no output to show.
    """
    serves = f"{MODULE} {shown['version']} serves"
    return len({node["hostname"] for node in shown["nodes"] if serves in (node["outputTail"] or "")})


SWAP = Story(
    "HotSwap: a real module rolls over real nodes, all of it on this machine. About a minute.",
    NODES,
    lambda scene: _Telling(scene).tell(),
)
