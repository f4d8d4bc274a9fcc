"""`process` modules on a real agent and holder: swaps, bad candidates, previews, crashes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agent.httpget import NoAnswer, get
from agent.main import main
from tests.integration.agent.bench import Bench, asynchronous, bench
from tests.integration.agent.load import Load
from tests.integration.agent.orchestrator import TENANT
from tests.integration.agent.releases import Release, release, service, website

NAME = "web-service"


def port_of(result: dict[str, Any]) -> int:
    return int(result["endpoint"].rsplit(":", 1)[1])


async def ask(port: int, path: str = "/") -> str:
    return (await get(("127.0.0.1", port), path, 10)).body.decode()


def told(at: Bench) -> dict[str, Any]:
    return at.orchestrator.module("qa-1", NAME)


def standing_by(at: Bench) -> list[str] | None:
    """The statuses of the releases beside the active one; None while no heartbeat told of the module."""
    standby = told(at)["standby"]
    return None if standby is None else [each["status"] for each in standby]


@asynchronous
async def test_swap_back_absent_and_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two = service("1.0.0", at.key), service("2.0.0", at.key)
        at.orchestrator.serve(one, two)
        first = await at.orchestrator.do("qa-1", one, 1, settings={"environment": {"LOG_LEVEL": "debug"}})
        assert first["state"] == "succeeded", first
        port = port_of(first)
        assert await ask(port) == "1.0.0"
        environment = dict(line.split("=", 1) for line in (await ask(port, "/environment")).splitlines())
        assert {name: environment[name] for name in ("LOG_LEVEL", "HOTSWAP_MODULE", "HOTSWAP_NODE")} == {
            "LOG_LEVEL": "debug", "HOTSWAP_MODULE": NAME, "HOTSWAP_NODE": "qa-1",
        }  # fmt: skip
        assert "HOTSWAP_AGENT_CRASH_AT" not in environment and "PYTHONPATH" not in environment

        async with Load(port).running() as load:
            second = await at.orchestrator.do("qa-1", two, 2, expectedActive=one.digest)
            assert (second["state"], second["endpoint"]) == ("succeeded", first["endpoint"]), second
            assert await ask(port) == "2.0.0"
            back = await at.orchestrator.do("qa-1", one, 3)
            assert back["state"] == "succeeded"
        assert not load.failures
        assert await ask(port) == "1.0.0"
        await at.orchestrator.until(lambda: standing_by(at) == [] and told(at)["version"] == "1.0.0")

        gone = await at.orchestrator.do("qa-1", None, 4)
        assert (gone["state"], gone["activeDigest"], gone["endpoint"]) == ("succeeded", None, None)
        await at.orchestrator.until(lambda: standing_by(at) == [] and told(at)["status"] == "stopped")
        with pytest.raises(NoAnswer):
            await ask(port)
        again = await at.orchestrator.do("qa-1", two, 5)
        assert (again["state"], port_of(again)) == ("succeeded", port)


# The code, what is said, and `timeout` and `startTimeout` such that a slow start is told from a bad one.
BAD = {
    "unwell": ("never_healthy", "503", 20, 2),
    "exits": ("exited", "no licence found", 1, 30),
    "deaf": ("not_listening", "descriptor 3", 1, 3),
    "closes": ("not_listening", "descriptor 3", 1, 30),
    "shuts": ("not_listening", "descriptor 3", 1, 30),
    "forks": ("exited", "ended", 1, 30),
}


@asynchronous
async def test_bad_candidates_reach_no_user(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        good = service("1.0.0", at.key)
        at.orchestrator.serve(good)
        first = await at.orchestrator.do("qa-1", good, 1)
        async with Load(port_of(first)).running(4) as load:
            for behaviour, (code, said, timeout, start) in BAD.items():
                health = f"health: {{path: /healthz, timeout: {timeout}, interval: 0.05, startTimeout: {start}}}\n"
                bad = service(f"2.0.0-{behaviour}", at.key, behaviour=behaviour, more=health)
                at.orchestrator.serve(bad)
                result = await at.orchestrator.do("qa-1", bad, 2)
                assert result["state"] == "failed", behaviour
                assert result["error"]["code"] == code, result
                assert said in result["outputTail"] + result["error"]["message"], result
                assert result["outputTail"].count(f"starts as {behaviour}") == 1
                assert (result["changed"], result["activeDigest"]) == (False, good.digest)
        assert not load.failures
        assert set(load.answers) == {"1.0.0"}


@asynchronous
async def test_a_candidate_that_ends_at_once_is_started_once(tmp_path: Path) -> None:
    """It may have ended before anybody can look for it."""
    async with bench(tmp_path) as at:
        manifest = 'name: quick\nversion: {}\nkind: process\nrun:\n  command: ["/bin/sh", "-c", "echo begun; exit 3"]\n'
        for number in range(20):
            quick = release(manifest.format(f"1.0.{number}"), key=at.key)
            at.orchestrator.serve(quick)
            result = await at.orchestrator.do("qa-1", quick, number + 1)
            assert result["state"] == "failed"
            assert (result["error"]["code"], result["outputTail"].count("begun")) == ("exited", 1), result


@asynchronous
async def test_what_a_candidate_said_is_told_when_it_is_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        health = "health: {path: /healthz, timeout: 5, interval: 0.05, startTimeout: 60}\n"
        bad = service("1.0.0", at.key, behaviour="unwell", more=health)
        at.orchestrator.serve(bad)
        operation_id, _ = await at.orchestrator.put("qa-1", bad, 1)
        log = at.node.data / "modules" / TENANT / NAME / "log" / "A.log"
        await at.orchestrator.until(lambda: log.exists() and "starts as unwell" in log.read_text())
        resolution = {"tenant": TENANT, "module": NAME, "fencingToken": 2, "wait": 30}
        given_up = await at.orchestrator.call("qa-1", "POST", f"/v1/operations/{operation_id}/resolve", resolution)
        assert (given_up.status, given_up.body["state"]) == (200, "superseded")
        assert "starts as unwell" in given_up.body["outputTail"]


@asynchronous
async def test_a_module_that_ignores_sigterm_is_killed_after_its_drain(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        health = "health: {path: /healthz, interval: 0.05, startTimeout: 20}\ndrain: {timeout: 1}\n"
        one, two = service("1.0.0", at.key, behaviour="stubborn", more=health), service("2.0.0", at.key)
        three = service("3.0.0", at.key)
        at.orchestrator.serve(one, two, three)
        await at.orchestrator.do("qa-1", one, 1)
        swapped = await at.orchestrator.do("qa-1", two, 2)
        assert swapped["state"] == "succeeded"
        third = await at.orchestrator.do("qa-1", three, 3)  # has to wait for the side
        assert third["state"] == "succeeded", third
        assert await ask(port_of(third)) == "3.0.0"


@asynchronous
async def test_preview_warm_and_retire(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two = service("1.0.0", at.key), service("2.0.0", at.key)
        at.orchestrator.serve(one, two)
        first = await at.orchestrator.do("qa-1", one, 1)
        port = port_of(first)
        preview = await at.orchestrator.do("qa-1", two, 2, action="preview")
        assert (preview["state"], preview["changed"], preview["activeDigest"]) == ("succeeded", False, one.digest)
        await at.orchestrator.until(lambda: standing_by(at) == ["preview"])
        assert await ask(port) == "1.0.0"

        await at.orchestrator.do("qa-1", None, 2, action="retire", module=NAME)
        await at.orchestrator.until(lambda: standing_by(at) == [])
        await at.orchestrator.do("qa-1", two, 2, action="preview")
        os.kill(await pid_of(at, two), signal.SIGKILL)  # a preview that dies is gone, and told
        await at.orchestrator.until(lambda: standing_by(at) == [])
        await at.orchestrator.do("qa-1", two, 2, action="preview")
        pid = await pid_of(at, two)
        switched = await at.orchestrator.do("qa-1", two, 2, keepWarm=600)
        assert switched["state"] == "succeeded"
        assert (await ask(port), await pid_of(at, two)) == ("2.0.0", pid)
        await at.orchestrator.until(lambda: standing_by(at) == ["warm"])
        warm = await pid_of(at, one)
        back = await at.orchestrator.do("qa-1", one, 3)
        assert back["state"] == "succeeded"
        assert (await ask(port), await pid_of(at, one)) == ("1.0.0", warm)


async def pid_of(at: Bench, wanted: Release) -> int:
    """The process of a release, as its log says."""
    logs = at.node.data / "modules" / TENANT / NAME / "log"
    lines = [line for file in logs.glob("?.log") for line in file.read_text().splitlines()]
    starts = [line for line in lines if line.startswith(f"{wanted.version} starts")]
    return int(starts[-1].rsplit(" ", 1)[1])


@asynchronous
async def test_a_crashed_module_is_started_again_and_a_loop_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one = service("1.0.0", at.key)
        at.orchestrator.serve(one)
        port = port_of(await at.orchestrator.do("qa-1", one, 1))
        with pytest.raises(NoAnswer):
            await ask(port, "/crash")
        assert await ask(port) == "1.0.0"  # waits in the queue of the listener
        await at.orchestrator.until(lambda: told(at)["restarts"] == 1 and told(at)["status"] == "running")
        assert await ask(port, "/deafen") == "1.0.0"  # it throws its listener away and lives on
        await at.orchestrator.until(lambda: told(at)["restarts"] == 2 and told(at)["status"] == "running")
        assert await ask(port) == "1.0.0"
        for _ in range(4):
            with pytest.raises(NoAnswer):
                await ask(port, "/crash")
        await at.orchestrator.until(lambda: told(at)["status"] == "crashLoop")
        assert await ask(port) == "1.0.0"


@asynchronous
async def test_handover_port(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        releases = [service(f"{number}.0.0", at.key, run="  handover: port\n") for number in (1, 2, 3)]
        at.orchestrator.serve(*releases)
        first = await at.orchestrator.do("qa-1", releases[0], 1)
        assert first["state"] == "succeeded", first
        async with Load(port_of(first)).running(4) as load:
            for token, each in enumerate(releases[1:], 2):
                result = await at.orchestrator.do("qa-1", each, token)
                assert (result["state"], result["endpoint"]) == ("succeeded", first["endpoint"]), result
        assert not load.failures
        assert await ask(port_of(first)) == "3.0.0"


@asynchronous
async def test_handover_none_interrupts_and_comes_back_on_failure(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        none = "  handover: none\n"
        health = "health: {path: /healthz, timeout: 0.5, interval: 0.05, startTimeout: 1}\n"
        one, two = service("1.0.0", at.key, run=none), service("2.0.0", at.key, run=none)
        bad = service("2.0.1", at.key, run=none, behaviour="unwell", more=health)
        at.orchestrator.serve(one, two, bad)
        first = await at.orchestrator.do("qa-1", one, 1)
        assert first["state"] == "succeeded", first
        port = port_of(first)
        assert await ask(port) == "1.0.0"
        failed = await at.orchestrator.do("qa-1", bad, 2)
        assert (failed["state"], failed["error"]["code"]) == ("failed", "never_healthy")
        for _ in range(100):
            try:
                assert await ask(port) == "1.0.0"
                break
            except NoAnswer:
                await asyncio.sleep(0.1)
        else:
            raise AssertionError("the old release did not come back")
        second = await at.orchestrator.do("qa-1", two, 3)
        assert (second["state"], port_of(second)) == ("succeeded", port)
        assert await ask(port) == "2.0.0"


@asynchronous
async def test_a_module_without_a_socket(tmp_path: Path) -> None:
    def worker(version: str, command: str, health: str) -> Release:
        manifest = (
            f"name: web-service\nversion: {version}\nkind: process\nrun: {{command: {command}}}\nhealth: {health}\n"
        )
        return release(manifest, {"work.sh": "#!/bin/sh\necho working $HOTSWAP_VERSION\nexec sleep 1000\n"}, at.key)

    async with bench(tmp_path) as at:
        one = worker("1.0.0", "[./work.sh]", "{aliveFor: 0.2}")
        two = worker("2.0.0", "[./work.sh]", "{command: [sh, -c, exit 0], interval: 0.05}")
        bad = worker(
            "3.0.0",
            "[./work.sh]",
            "{command: [sh, -c, 'echo not yet; exit 1'], interval: 0.05, timeout: 0.4, startTimeout: 1}",
        )
        dies = worker("4.0.0", "[sh, -c, 'echo no queue; exit 4']", "{aliveFor: 5}")
        at.orchestrator.serve(one, two, bad, dies)
        for token, each in enumerate((one, two), 1):
            result = await at.orchestrator.do("qa-1", each, token)
            assert (result["state"], result["endpoint"]) == ("succeeded", None), result
        result = await at.orchestrator.do("qa-1", bad, 3)
        assert result["error"]["code"] == "never_healthy", result["error"]
        assert "not yet" in result["outputTail"]
        result = await at.orchestrator.do("qa-1", dies, 3)
        assert result["error"]["code"] == "exited"
        assert "code 4" in result["error"]["message"] and "no queue" in result["outputTail"]
        await at.orchestrator.until(lambda: told(at)["version"] == "2.0.0" and standing_by(at) == [])


@asynchronous
async def test_agent_and_holder_die_and_nobody_notices(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one = service("1.0.0", at.key)
        at.orchestrator.serve(one)
        first = await at.orchestrator.do("qa-1", one, 1)
        pid = await pid_of(at, one)
        async with Load(port_of(first)).running(4) as load:
            await at.node.kill()
            await at.node.start()
            first_holder = holder_of(at)
            assert first_holder is not None
            os.kill(first_holder, signal.SIGKILL)
            await at.orchestrator.until(lambda: holder_of(at) not in (None, first_holder))
            second_holder = holder_of(at)
            assert second_holder is not None
            os.kill(second_holder, signal.SIGKILL)
            await at.node.kill()
            await at.node.start()
        assert not load.failures
        assert await pid_of(at, one) == pid
        state = await at.orchestrator.call("qa-1", "GET", "/v1/state")
        (module,) = state.body["modules"]
        assert (module["endpoint"], module["status"], module["restarts"]) == (first["endpoint"], "running", 0)
        two = service("2.0.0", at.key)
        at.orchestrator.serve(two)
        second = await at.orchestrator.do("qa-1", two, 2)
        assert (second["state"], second["endpoint"]) == ("succeeded", first["endpoint"])


def holder_of(at: Bench) -> int | None:
    """The pid of the holder of a node, by its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().decode()
            except OSError:
                continue
            if "hotswap-holder" in line and str(at.node.data) in line:
                return int(entry.name)
    return None


@asynchronous
async def test_stop_with_and_without_modules(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one = service("1.0.0", at.key)
        at.orchestrator.serve(one)
        port = port_of(await at.orchestrator.do("qa-1", one, 1))
        await at.node.stop(modules=False)
        assert await ask(port) == "1.0.0"
        await at.node.start()
        assert await asyncio.to_thread(main, ["stop", "--config", str(at.node.config), "--modules"]) == 0
        await at.node.died()
        assert await asyncio.to_thread(main, ["stop", "--config", str(at.node.config)]) == 1
        with pytest.raises(NoAnswer):
            await ask(port)
        await at.node.start()  # what was active runs again, at its port
        assert await ask(port) == "1.0.0"
        holder = holder_of(at)
        assert holder is not None
        os.kill(holder, signal.SIGKILL)
        await at.node.stop(modules=True)  # the next holder ends what this one left
        with pytest.raises(NoAnswer):
            await ask(port)


@asynchronous
async def test_after_a_reboot_exactly_the_active_releases_run(tmp_path: Path) -> None:
    """A reboot ends everything at once and keeps the disk: so do four kill -9."""
    async with bench(tmp_path) as at:
        one, two, site = service("1.0.0", at.key), service("2.0.0", at.key), website("1.0.0", at.key)
        at.orchestrator.serve(one, two, site)
        await at.orchestrator.do("qa-1", site, 1)
        await at.orchestrator.do("qa-1", one, 1)
        port = port_of(await at.orchestrator.do("qa-1", two, 2, keepWarm=600))
        await at.orchestrator.until(lambda: standing_by(at) == ["warm"])
        modules = [await pid_of(at, one), await pid_of(at, two)]
        holder = holder_of(at)
        assert holder is not None
        os.kill(at.node.pid, signal.SIGKILL)
        for pid in (holder, *modules):
            os.kill(pid, signal.SIGKILL)
        await at.node.died()
        with pytest.raises(NoAnswer):
            await ask(port)
        await at.node.start()
        await at.orchestrator.until(lambda: (told(at)["status"], told(at)["standby"]) == ("running", []))
        assert await ask(port) == "2.0.0"
        assert await pid_of(at, one) == modules[0]  # it was not started again
        assert at.orchestrator.module("qa-1", "web-site")["digest"] == site.digest


@asynchronous
async def test_kill_at_every_step(tmp_path: Path) -> None:
    outcomes = {
        "accepted": "failed",
        "starting": "failed",
        "started": "failed",
        "healthy": "failed",
        "before-commit": "failed",
        "committed": "succeeded",
        "switched": "succeeded",
        "finished": "succeeded",
    }
    async with bench(tmp_path) as at:
        releases = [service(f"1.0.{number}", at.key) for number in range(len(outcomes) + 1)]
        at.orchestrator.serve(*releases)
        active = releases.pop(0)
        port = port_of(await at.orchestrator.do("qa-1", active, 1))
        async with Load(port).running(4) as load:
            for token, (point, state) in enumerate(outcomes.items(), 2):
                await at.node.kill()
                await at.node.start(crash_at=point)
                new = releases.pop(0)
                try:
                    await at.orchestrator.put("qa-1", new, token, operation_id=point)
                except OSError:
                    assert point == "accepted"
                await at.node.died()
                await at.node.start()
                result = await at.orchestrator.result("qa-1", point)
                assert result["state"] == state, (point, result)
                active = new if state == "succeeded" else active
                assert result["activeVersion"] == active.version
                assert await ask(port) == active.version
                if state == "failed":
                    assert new.version not in load.answers
        assert not load.failures
