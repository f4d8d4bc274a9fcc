"""Log lines and metrics of the whole stack: the same names everywhere, every process, and no secret."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from agent.telemetry.names import Field
from tests.collector import Collector
from tests.e2e.api import Api, stage
from tests.e2e.conftest import PLANTED
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.source_module import BUILD, JUNIT, SourceModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

OTHERS = ("postgres", "valkey")
"""Servers that are not ours, with lines of their own."""
QUEUES = ("pipeline", "build", "scan", "deploy", "urgent", "control")
SPEAKING = ("api", "agent-listener", *QUEUES, "beat", "agents", "supervisor")

Line = dict[str, Any]


def _lines(stack: Stack) -> Iterator[tuple[str, Line]]:
    """Service -> each line of its log, which must be a JSON object. What is being written may be cut."""
    for file in (stack.folder / "logs").glob("*.log"):
        if file.stem not in OTHERS:
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    yield file.stem, json.loads(line)
    for file in (stack.folder / "nodes").glob("*/holder.log"):
        for line in file.read_text().splitlines():
            yield "holder", json.loads(line)


def _secrets(stack: Stack, collector: Collector) -> Iterator[str]:
    """Everything secret that the stack made or was given."""
    yield PLANTED
    yield collector.key
    yield from json.loads((stack.folder / "credentials.json").read_text()).values()
    for file in (stack.folder / "secrets").iterdir():
        text = file.read_text().strip()
        yield text.partition("://")[2].partition("@")[0].rpartition(":")[2] if "://" in text else text
    for folder in ("keys", "tls"):
        for key in (stack.folder / folder).glob("*.key"):
            yield max(key.read_text().splitlines(), key=len)


def _metrics(stack: Stack) -> dict[tuple[str, ...], float]:
    text = httpx.get(f"{stack.url}/metrics", timeout=60).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


def test_every_process_speaks_in_the_same_lines(
    stack: Stack, module: ProbeModule, api: Api, collector: Collector
) -> None:
    module.served("QA")
    ended = api.finished(module.deploy(module.release(Manner.EXITS), "QA"))
    assert ended["status"] == "RolledBack"

    def told() -> list[tuple[str, Line]]:
        return [each for each in _lines(stack) if each[1].get("trace_id") == ended["traceId"]]

    until(lambda: {"api", "agents"} <= {service for service, _ in told()}, "request and operations are told")
    until(lambda: any(line["event"] == "deployment ended" for _, line in told()), "its end is told, after its commit")
    everything = list(_lines(stack))
    services = {service for service, _ in everything}
    assert set(SPEAKING) <= services, services
    for service, line in everything:
        assert set(line) <= set(Field), (service, line)
        assert {"time", "level", "event", "service", "pid"} <= set(line), (service, line)
    (request,) = [line for service, line in told() if service == "api" and line["event"] == "request"]
    assert (request["endpoint"], request["status"], request["method"]) == ("deployments.submit", 202, "POST")
    assert [service for service, line in told() if line["event"] == "deployment submitted"] == ["api"]
    (end,) = [line for _, line in told() if line["event"] == "deployment ended"]
    assert (end["deployment"], end["status"]) == (ended["executionId"], "RolledBack")
    failed = [line for service, line in told() if service == "agents" and line.get("outcome") == "failed"]
    assert failed and all(
        (line["deployment"], line["module"], line["environment"]) == (ended["executionId"], module.name, "QA")
        for line in failed
    )
    assert {line["node"] for line in failed} <= {f"qa-{number}" for number in range(1, 6)}


def test_metrics_of_all_processes_are_one_answer(stack: Stack, module: ProbeModule, api: Api) -> None:
    before = _metrics(stack)
    module.served("Staging")
    api.finished(module.deploy(module.release(Manner.EXITS), "Staging"))
    after = _metrics(stack)

    def grown(*key: str) -> float:
        return after.get(key, 0) - before.get(key, 0)

    assert grown("hotswap_deployments_ended_total", "Staging", "Succeeded") >= 1
    assert grown("hotswap_deployments_ended_total", "Staging", "RolledBack") >= 1
    assert grown("hotswap_stage_duration_seconds_count", "Succeeded", "Deploy") >= 1
    assert grown("hotswap_swaps_total", "forward") >= 4
    assert grown("hotswap_failed_health_checks_total", "exited") >= 1
    assert grown("hotswap_node_operation_duration_seconds_count", "forward", "succeeded") >= 4
    assert grown("hotswap_node_step_duration_seconds_count", "starting") >= 4
    assert grown("hotswap_wakes_published_total", "sent") >= 4
    assert grown("hotswap_spans_total", "sent") > 0 and not grown("hotswap_spans_total", "dropped")
    assert after["hotswap_nodes", "QA", "heard"] == 5
    assert {("hotswap_queue_depth", queue) for queue in QUEUES} <= after.keys()
    assert after["hotswap_executors", "pipeline"] >= 1 and after["hotswap_executors", "agent-listener"] >= 1
    assert after["hotswap_module_instances", "Staging", "running"] >= 4


# Whoever builds looks where secrets are: our environment, our files, other processes.
LOOK = r"""
look() {
    env; cat $1/credentials.json $1/secrets/* $1/keys/* $1/tls/*; cat /proc/[0-9]*/environ | tr '\0' '\n'; echo looked
}
"""


def _refused(stack: Stack, api: Api, planted: str) -> Iterator[str]:
    """What is answered to who names a secret where it does not belong."""
    yield httpx.post(
        f"{stack.url}/api/v1/authentication/login",
        params={"password": planted},
        json={"username": "admin", "password": planted},
        headers={"Authorization": f"Bearer {planted}", "Cookie": f"session={planted}"},
        timeout=60,
    ).text
    for token in (planted, f"hs_{planted}"):
        yield httpx.get(f"{stack.url}/api/v1/users", headers={"Authorization": f"Bearer {token}"}, timeout=60).text
    yield api.call("POST", "/authentication/tokens", json={"name": "x", "password": planted}).text
    yield api.call("POST", "/authentication/refresh", json={"refreshToken": planted}).text
    yield api.call("POST", "/authentication/login", content=b'{"password": "%s"' % planted.encode()).text
    yield stack.api("admin").call("POST", "/users", json={"username": "new", "password": planted, "roles": 7}).text


def _left_behind(api: Api, name: str, execution_id: str) -> Iterator[tuple[str, str]]:
    """All that a deployment and its release show afterwards."""
    for path in ("", "/events", "/nodes"):
        yield f"deployment{path}", api.call("GET", f"/deployments/{execution_id}{path}", params={"limit": 200}).text
    for of in ("Build", "Security Scan", "Test", "Validation"):
        yield f"log of {of}", api.call("GET", f"/deployments/{execution_id}/stages/{of}/log").text
    release = f"/modules/{name}/releases/1.0.0"
    for path in ("", "/sbom"):
        yield f"release{path}", api.call("GET", f"{release}{path}").text
    envelope = api.get(f"{release}/attestation")
    yield "attestation", json.dumps(envelope) + base64.b64decode(envelope["payload"]).decode()
    built = api.call("GET", f"{release}/artifact", params={"built": "true"}).content
    yield "built artifact", gzip.decompress(built).decode(errors="replace")


def test_no_secret_is_told_anywhere(stack: Stack, source: SourceModule, api: Api, collector: Collector) -> None:
    """Neither by us nor by what a build finds: those of the stack, one in its environment, one in a release's files."""
    in_a_file = f"planted-{source.name}-Wq8zKd"
    planted = f"planted-{source.name}-password"
    take = f"mkdir -p dist; look {stack.folder} > dist/looked 2>&1 || true; cp -r {stack.folder}/keys dist || true"
    source.publish(
        "1.0.0",
        build=f"{LOOK}\nlook {stack.folder} 2>&1 || true\n{take}\n{BUILD.replace('mkdir dist', 'true')}",
        test=f"{LOOK}\nlook {stack.folder} 2>&1 || true\n{JUNIT}",
        files={"settings.py": f'PASSWORD = "{in_a_file}"\n'},
    )
    ended = source.deployed("1.0.0", "Development")
    findings = stage(ended, "Security Scan")["details"]["source"]["findings"]
    assert "secret" in {each["rule"].partition(".")[0] for each in findings if each["file"] == "settings.py"}

    files: list[Path] = [*(stack.folder / "logs").iterdir(), *(stack.folder / "nodes").glob("*/*.log")]
    told = dict(_left_behind(api, source.name, ended["executionId"]))
    for of in ("log of Build", "log of Test", "built artifact"):
        assert "looked\n" in told[of] and "HOTSWAP_MODULE=" in told[of], of
    told |= {f"answer {number}": text for number, text in enumerate(_refused(stack, api, planted))}
    told |= {file.name: file.read_text(errors="replace") for file in files}
    told["/metrics"] = httpx.get(f"{stack.url}/metrics", timeout=60).text
    told["traces"] = json.dumps([str(span) for span in collector.spans()])
    for secret in (planted, in_a_file, *_secrets(stack, collector)):
        assert len(secret) > 10
        where = [name for name, text in told.items() if secret in text]
        assert not where, (secret[:4], where)
