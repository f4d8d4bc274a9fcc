"""Good manifests: what they become, and that JSON keeps all of it."""

from __future__ import annotations

import json

import pytest

from agent.manifest import (
    Address,
    Check,
    Files,
    Handover,
    Health,
    HealthKind,
    Hook,
    HookEvent,
    Kind,
    Listener,
    Manifest,
    Resources,
    from_json,
    parse_manifest,
    to_json,
)

EVERYTHING = """
name: payment-processor
version: 2.1.0
kind: process                # or: files
placement: {role: web}       # node labels it goes to; without it, every node of the environment
requires:  {user-directory: ">=1.4, <3"}                 # other modules, checked per environment
resources: {memoryMB: 512, cpuCores: 1.0, diskMB: 100}   # checked against the node
build:    {command: ["make", "build"], output: dist, timeout: 600}   # optional: the archive is source
test:     {command: ["pytest", "-q"], timeout: 600}
run:
  command: ["gunicorn", "--threads", "8", "app:wsgi"]    # inherits the socket as fd 3
  listen: "0.0.0.0:8080"                                 # optional; or several: {http: ..., admin: ...}
  handover: socket                                       # socket | port | none
  environment: {LOG_LEVEL: info}                         # plus what is configured
  user: www-data                                         # when the agent may change user
health:   {path: /healthz, timeout: 2, interval: 0.5, successes: 2, startTimeout: 60}    # or: command, aliveFor
metrics:  {path: /metrics}
drain:    {timeout: 30}
shared:   [uploads]          # folders that outlive releases
validate: [{path: /healthz, status: 200, maxLatencyMs: 500}]
"""

SITE = """
name: site
version: 1.0.0-rc.1+build.5
kind: Files
hooks:
  beforeInstall: {command: ["./check"], timeout: 5m}
  afterInstall: {command: ["sh", "-c", "true"]}
  applicationStart: {command: ["a"]}
  validateService: {command: ["b"]}
  applicationStop: {command: ["c"]}
files: {destination: /srv/site/, owner: "www-data:www-data", mode: "0750"}
"""


def parsed(text: str) -> Manifest:
    """The manifest of a text, which survives JSON."""
    manifest = parse_manifest(text.encode())
    assert from_json(json.loads(json.dumps(to_json(manifest)))) == manifest
    return manifest


def process(more: str = "", run: str = "") -> Manifest:
    """A small process with more lines."""
    return parsed(f"name: abc\nversion: 1.0.0\nkind: process\nrun:\n  command: [x]\n{run}{more}")


def test_the_whole_of_it() -> None:
    manifest = parsed(EVERYTHING)
    assert (manifest.name, manifest.version, manifest.kind) == ("payment-processor", "2.1.0", Kind.PROCESS)
    assert manifest.placement == {"role": "web"}
    assert manifest.requires["user-directory"].allows("2.9.9")
    assert manifest.resources == Resources(512, 1.0, 100)
    assert manifest.build is not None
    assert (manifest.build.command, manifest.build.output) == (("make", "build"), "dist")
    assert manifest.test is not None
    assert manifest.run is not None
    assert manifest.run.command == ("gunicorn", "--threads", "8", "app:wsgi")
    assert manifest.listeners == (Listener("http", Address("0.0.0.0", 8080)),)
    assert manifest.run.handover is Handover.SOCKET
    assert manifest.run.environment == {"LOG_LEVEL": "info"}
    assert manifest.run.user == "www-data"
    assert manifest.health == Health(path="/healthz")
    assert manifest.health.kind is HealthKind.HTTP
    assert manifest.metrics is not None
    assert manifest.drain.timeout == 30
    assert manifest.shared == ("uploads",)
    assert manifest.validate == (Check("/healthz", 200, 500),)


def test_files_with_hooks() -> None:
    manifest = parsed(SITE)
    assert manifest.kind is Kind.FILES
    assert manifest.files == Files("/srv/site", "www-data:www-data", 0o750)
    assert list(manifest.hooks) == list(HookEvent)
    assert manifest.hooks[HookEvent.BEFORE_INSTALL] == Hook(("./check",), 300.0)
    assert manifest.listeners == ()


def test_the_least_of_a_process_and_of_files() -> None:
    least = process()
    assert least.health is not None
    assert (least.health.kind, least.health.alive_for) == (HealthKind.ALIVE, 5.0)
    assert (least.files, least.metrics, least.listeners) == (None, None, ())
    files = parsed("name: abc\nversion: 1.0.0\nkind: files\n")
    assert (files.files, files.health, files.run) == (Files(), None, None)


def test_a_worker_that_never_runs_twice() -> None:
    manifest = process(run="  handover: none\n  environment: {PORT: 80}\n")
    assert manifest.run is not None
    assert (manifest.run.handover, manifest.run.environment) == (Handover.NONE, {"PORT": "80"})


def test_several_sockets_keep_their_order() -> None:
    manifest = process(run='  listen: {web: "[::]:80", admin: "127.0.0.1:0"}\n')
    found = [(one.name, str(one.address)) for one in manifest.listeners]
    assert found == [("web", "[::]:80"), ("admin", "127.0.0.1:0")]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30", 30), ("0.5", 0.5), ("90s", 90), ("5m", 300), ("250ms", 0.25), ('"1m30s"', 90), ("00:01:30.250", 90.25),
     ('"45"', 45), ("1:00:00", 3600)],
)
def test_durations(written: str, seconds: float) -> None:
    assert process(f"drain: {{timeout: {written}}}\n").drain.timeout == seconds


@pytest.mark.parametrize(("written", "mebibytes"), [("512", 512), ("512MiB", 512), ("1.5GiB", 1536), ('"1GB"', 954)])
def test_sizes(written: str, mebibytes: int) -> None:
    assert process(f"resources: {{memoryMB: {written}}}\n").resources.memory_mb == mebibytes


def test_variables_are_what_stands_in_the_file() -> None:
    """YAML 1.1 would make 8, 493, True, 90 and a date of these."""
    written = {"A": "010", "B": "0755", "C": "yes", "D": "1:30", "E": "2026-01-02", "F": "1.10", "G": "no", "H": "1_0"}
    lines = "".join(f"    {name}: {value}\n" for name, value in written.items())
    manifest = process(run=f"  environment:\n{lines}    EMPTY:\n    QUOTED: \"\"\n")
    assert manifest.run is not None
    assert manifest.run.environment == {**written, "EMPTY": "", "QUOTED": ""}


def test_labels_are_what_stands_in_the_file() -> None:
    assert process("placement: {ssd: yes, zone: 1}\n").placement == {"ssd": "yes", "zone": "1"}


@pytest.mark.parametrize(("written", "mode"), [("0755", 0o755), ('"0700"', 0o700), ("755", 0o755), ("0o640", 0o640)])
def test_modes(written: str, mode: int) -> None:
    files = parsed(f"name: abc\nversion: 1.0.0\nkind: files\nfiles: {{mode: {written}}}\n").files
    assert files is not None
    assert files.mode == mode


def test_waiting_longer_than_the_start_timeout_moves_it() -> None:
    health = process("health: {aliveFor: 90}\n").health
    assert health is not None
    assert (health.alive_for, health.start_timeout) == (90, 100)


def test_byte_order_marks_and_windows_lines_are_read() -> None:
    text = "\ufeffname: abc\r\nversion: 1.0.0\r\nkind: files\r\n"
    assert parse_manifest(text.encode()).version == "1.0.0"


def test_json_names_everything_that_matters() -> None:
    value = to_json(parsed(EVERYTHING))
    assert list(value) == [
        "name", "version", "kind", "placement", "requires", "resources", "build", "test", "run", "health", "metrics",
        "drain", "shared", "validate",
    ]  # fmt: skip
    assert value["run"]["listen"] == {"http": "0.0.0.0:8080"}
    assert to_json(parsed(SITE))["files"] == {
        "destination": "/srv/site", "owner": "www-data:www-data", "mode": "0750",
    }  # fmt: skip
