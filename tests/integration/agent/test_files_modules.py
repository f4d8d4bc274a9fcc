"""`files` modules on a real agent: hooks in their order, atomic rename, going back, kill -9 at each step."""

from __future__ import annotations

import contextlib
from pathlib import Path

import aiohttp

from tests.integration.agent.bench import Bench, asynchronous, bench
from tests.integration.agent.orchestrator import TENANT
from tests.integration.agent.releases import Release, website

EVENTS = ("beforeInstall", "afterInstall", "applicationStart", "validateService", "applicationStop")
SAY = '#!/bin/sh\necho "$HOTSWAP_EVENT $HOTSWAP_VERSION" >> "$HOTSWAP_DATA_DIR/events"\n'


def hooked(version: str, key: object, fails: str = "", more: str = "") -> Release:
    hooks = "".join(f"  {event}: {{command: [./say.sh], timeout: 20}}\n" for event in EVENTS if event != fails)
    if fails:
        hooks += f'  {fails}: {{command: [sh, -c, "./say.sh; echo cannot {fails}; exit 7"]}}\n'
    manifest = f"hooks:\n{hooks}files: {{destination: /srv/site}}\n{more}"
    return website(version, key, manifest, {"say.sh": SAY})  # type: ignore[arg-type]


def events(at: Bench) -> list[str]:
    file = at.node.data / "modules" / TENANT / "web-site" / "data" / "events"
    said = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return said


def served(at: Bench) -> str | None:
    page = at.node.data / "root/srv/site/index.html"
    return page.read_text() if page.exists() else None


@asynchronous
async def test_a_site_is_installed_replaced_and_taken_away(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two = hooked("1.0.0", at.key), hooked("2.0.0", at.key)
        at.orchestrator.serve(one, two)
        result = await at.orchestrator.do("qa-1", one, 1, expectedActive=None)
        assert (result["state"], result["changed"], result["activeDigest"]) == ("succeeded", True, one.digest)
        assert served(at) == "1.0.0"
        installed = ["beforeInstall", "afterInstall", "applicationStart", "validateService"]
        assert events(at) == [f"{event} 1.0.0" for event in installed]

        result = await at.orchestrator.do("qa-1", two, 2, expectedActive=one.digest)
        assert result["activeVersion"] == "2.0.0"
        assert served(at) == "2.0.0"
        assert events(at) == ["applicationStop 1.0.0", *(f"{event} 2.0.0" for event in installed)]
        await at.orchestrator.until(lambda: at.orchestrator.module("qa-1", "web-site").get("version") == "2.0.0")
        told = at.orchestrator.module("qa-1", "web-site")
        assert (told["status"], told["digest"], told["endpoint"]) == ("installed", two.digest, None)

        again = await at.orchestrator.do("qa-1", two, 2)
        assert (again["state"], again["changed"]) == ("succeeded", False)
        assert events(at) == []

        gone = await at.orchestrator.do("qa-1", None, 3, module="web-site")
        assert (gone["state"], gone["activeDigest"]) == ("succeeded", None)
        assert served(at) is None
        assert events(at) == ["applicationStop 2.0.0"]


@asynchronous
async def test_a_failing_hook_brings_everything_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one = hooked("1.0.0", at.key)
        at.orchestrator.serve(one)
        await at.orchestrator.do("qa-1", one, 1)
        events(at)
        back = ["afterInstall 1.0.0", "applicationStart 1.0.0"]
        expected = {
            "beforeInstall": ["beforeInstall 2.0.0", "applicationStart 1.0.0"],
            "afterInstall": ["beforeInstall 2.0.0", "afterInstall 2.0.0", *back],
            "validateService": [
                *(f"{event} 2.0.0" for event in EVENTS[:4]),
                "applicationStop 2.0.0",
                *back,
            ],
        }
        for hook, said in expected.items():
            bad = hooked("2.0.0", at.key, fails=hook, more=f"shared: [x{hook.lower()}]\n")
            at.orchestrator.serve(bad)
            result = await at.orchestrator.do("qa-1", bad, 2)
            assert (result["state"], result["error"]["code"], result["step"]) == ("failed", "hook_failed", hook)
            assert f"cannot {hook}" in result["outputTail"]
            assert (result["changed"], result["activeDigest"]) == (False, one.digest)
            assert served(at) == "1.0.0"
            assert events(at) == ["applicationStop 1.0.0", *said]


@asynchronous
async def test_a_failing_stop_of_the_old_release_only_warns(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two = hooked("1.0.0", at.key, fails="applicationStop"), hooked("2.0.0", at.key)
        at.orchestrator.serve(one, two)
        await at.orchestrator.do("qa-1", one, 1)
        result = await at.orchestrator.do("qa-1", two, 2)
        assert result["state"] == "succeeded"
        assert "warning: the hook applicationStop of 1.0.0" in result["outputTail"]
        log = await at.orchestrator.call("qa-1", "GET", f"/v1/modules/{TENANT}/web-site/log")
        assert "cannot applicationStop" in log.body["text"]


@asynchronous
async def test_shared_folders_outlive_releases(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        shared = "shared: [uploads]\n"
        one = website("1.0.0", at.key, shared, {"uploads/first.txt": "shipped"})
        two = website("2.0.0", at.key, shared)
        at.orchestrator.serve(one, two)
        await at.orchestrator.do("qa-1", one, 1)
        current = at.node.data / "modules" / TENANT / "web-site" / "current"
        (current / "uploads/second.txt").write_text("uploaded")
        await at.orchestrator.do("qa-1", two, 2)
        assert (current / "index.html").read_text() == "2.0.0"
        assert sorted(file.name for file in (current / "uploads").iterdir()) == ["first.txt", "second.txt"]


@asynchronous
async def test_the_last_releases_stay_on_disk(tmp_path: Path) -> None:
    async with bench(tmp_path, "keep_releases = 2\n") as at:
        made = [website(f"1.0.{number}", at.key) for number in range(5)]
        at.orchestrator.serve(*made)
        for token, each in enumerate(made, 1):
            await at.orchestrator.do("qa-1", each, token)
        releases = at.node.data / "modules" / TENANT / "web-site" / "releases"
        kept = sorted(place.name.split("-")[0] for place in releases.iterdir())
        assert kept == ["1.0.2", "1.0.3", "1.0.4"]
        back = await at.orchestrator.do("qa-1", made[2], 6)
        assert back["state"] == "succeeded"
        assert len(at.orchestrator.artifacts[made[2].digest].ranges) == 1  # it was not fetched again


@asynchronous
async def test_kill_at_every_step(tmp_path: Path) -> None:
    outcomes = {
        "accepted": "failed",
        "installing": "failed",
        "linked": "failed",
        "before-commit": "failed",
        "committed": "succeeded",
        "finished": "succeeded",
    }
    async with bench(tmp_path) as at:
        releases = [hooked(f"1.0.{number}", at.key) for number in range(len(outcomes) + 1)]
        at.orchestrator.serve(*releases)
        active = releases.pop(0)
        await at.orchestrator.do("qa-1", active, 1)
        await at.node.stop(modules=False)
        for token, (point, state) in enumerate(outcomes.items(), 2):
            if not at.node.ended():
                await at.node.kill()
            await at.node.start(crash_at=point)
            events(at)
            new = releases.pop(0)
            with contextlib.suppress(aiohttp.ClientError):
                await at.orchestrator.put("qa-1", new, token, operation_id=point)
            await at.node.died()
            await at.node.start()
            result = await at.orchestrator.result("qa-1", point)
            assert result["state"] == state, point
            assert (result["error"] or {}).get("code") == ("interrupted" if state == "failed" else None)
            if point in ("installing", "linked", "before-commit"):
                assert events(at)[-2:] == [f"afterInstall {active.version}", f"applicationStart {active.version}"]
            if state == "succeeded":
                active = new
            assert result["activeVersion"] == active.version
            assert served(at) == active.version
            _, again = await at.orchestrator.put("qa-1", new, token, operation_id=point)
            assert (again.status, again.body["state"]) == (200, state)
