"""The example modules as they would be deployed: packed, unpacked, and run from the release with a bare environment."""

from __future__ import annotations

import http.client
import io
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.archive import pack_bytes, unpack
from agent.manifest import HookEvent, Manifest
from agent.signatures import Digest

EXAMPLES = Path(__file__).parent.parent.parent.parent / "examples"
# What an agent gives its modules: the system's own path, nothing of ours.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON = shutil.which("python3", path=SYSTEM_PATH) or sys.executable
DEADLINE = 60.0


def released(name: str, tmp_path: Path) -> tuple[Manifest, Path]:
    """The example as a release on disk, by way of its archive."""
    archive = pack_bytes(EXAMPLES / name)
    found = unpack(io.BytesIO(archive), tmp_path / "release", expected=Digest.of_bytes(archive))
    (tmp_path / "data").mkdir()
    return found.manifest, tmp_path / "release"


def environment(manifest: Manifest, tmp_path: Path) -> dict[str, str]:
    """What the agent sets for every process and hook."""
    return {
        "PATH": f"{Path(PYTHON).parent}:{SYSTEM_PATH}",
        "HOTSWAP_MODULE": manifest.name,
        "HOTSWAP_VERSION": manifest.version,
        "HOTSWAP_DATA_DIR": str(tmp_path / "data"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.parametrize("name", ["web-greeter", "queue-worker"])
def test_an_examples_own_tests_pass(name: str) -> None:
    done = subprocess.run(
        [PYTHON, "-B", "-W", "error", "-m", "unittest"],
        cwd=EXAMPLES / name, env={"PATH": SYSTEM_PATH}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stderr.splitlines()[-1]


def test_the_web_service_is_started_as_its_manifest_says(tmp_path: Path) -> None:
    manifest, release = released("web-greeter", tmp_path)
    assert manifest.run is not None
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        process = _start_on_socket(manifest, release, tmp_path, listener)
        try:
            for check in manifest.validate:
                assert _get(listener.getsockname()[1], check.path)[0] == check.status
            status, version, body = _get(listener.getsockname()[1], "/")
            assert (status, version, body) == (200, "1.0.0", "Hello, world! (version 1.0.0)\n")
        finally:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, output


def _start_on_socket(
    manifest: Manifest, release: Path, tmp_path: Path, listener: socket.socket
) -> subprocess.Popen[str]:
    """Descriptor 3 is put in place in a process that then becomes the module, as the agent's shim does."""
    assert manifest.run is not None
    shim = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        "os.environ['LISTEN_PID'] = str(os.getpid()); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    return subprocess.Popen(
        [PYTHON, "-c", shim, str(listener.fileno()), *manifest.run.command],
        cwd=release,
        env={**environment(manifest, tmp_path), **manifest.run.environment, "LISTEN_FDS": "1"},
        pass_fds=[listener.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _get(port: int, path: str) -> tuple[int, str | None, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers.get("X-Module-Version"), response.read().decode()
    finally:
        connection.close()


def _hook(event: HookEvent, manifest: Manifest, release: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    hook = manifest.hooks[event]
    return subprocess.run(
        list(hook.command), cwd=release, env={**environment(manifest, tmp_path), "HOTSWAP_EVENT": event.value},
        capture_output=True, text=True, check=False, timeout=hook.timeout,
    )  # fmt: skip


def test_the_sites_hooks_run_in_their_order_and_more_than_once(tmp_path: Path) -> None:
    manifest, release = released("static-site", tmp_path)
    for event in HookEvent:
        for _ in range(2):
            done = _hook(event, manifest, release, tmp_path)
            assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "releases.txt").read_text() == "installed 1.0.0\nstarted 1.0.0\nstopped 1.0.0\n"
    assert '"version": "1.0.0"' in (release / "public" / "version.json").read_text()


def test_a_site_with_a_broken_link_is_not_valid(tmp_path: Path) -> None:
    manifest, release = released("static-site", tmp_path)
    page = release / "public" / "index.html"
    page.write_text(page.read_text().replace("about.html", "abuot.html"))
    assert _hook(HookEvent.BEFORE_INSTALL, manifest, release, tmp_path).returncode == 0
    done = _hook(HookEvent.VALIDATE_SERVICE, manifest, release, tmp_path)
    assert (done.returncode, done.stderr) == (1, "broken links: index.html -> abuot.html\n")


def test_the_worker_is_well_by_its_own_command(tmp_path: Path) -> None:
    manifest, release = released("queue-worker", tmp_path)
    assert manifest.run is not None
    assert manifest.health is not None
    assert manifest.health.command is not None
    variables = environment(manifest, tmp_path)
    process = subprocess.Popen(list(manifest.run.command), cwd=release, env=variables, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE
        check = list(manifest.health.command)
        while subprocess.run(check, cwd=release, env=variables, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline
            assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0


def test_the_java_service_is_whole(tmp_path: Path) -> None:
    """On a machine with Java it is run, too: it answers, and answers once more after SIGTERM."""
    manifest, release = released("java-greeter", tmp_path)
    assert manifest.run is not None
    assert (release / "Server.java").is_file()
    java = shutil.which("java", path=SYSTEM_PATH)
    if java is not None and _understands_source_files(java):
        _run_java(manifest, release, tmp_path)


def _understands_source_files(java: str) -> bool:
    """A JDK of 17 or newer: a JRE has no compiler."""
    done = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False, timeout=DEADLINE)
    modules = done.stdout
    release = [line for line in modules.splitlines() if line.startswith("jdk.compiler@")]
    return bool(release) and int(release[0].partition("@")[2].partition(".")[0].partition("-")[0]) >= 17


def _run_java(manifest: Manifest, release: Path, tmp_path: Path) -> None:
    assert manifest.run is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        list(manifest.run.command), cwd=release, env={**environment(manifest, tmp_path), "PORT": str(port)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "serves on port" in process.stdout.readline()
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        kept.request("GET", "/")
        assert kept.getresponse().read() == b"Hello from Java! (version 1.0.0)\n"
        assert _get(port, "/healthz") == (200, "1.0.0", "ok (version 1.0.0)\n")
        assert 'http_requests_total{code="200"} 1' in _get(port, "/metrics")[2]
        process.send_signal(signal.SIGTERM)
        closing = None
        while closing != "close":  # the signal takes a moment; each answer until then keeps the connection
            kept.request("GET", "/")
            response = kept.getresponse()
            assert response.read() == b"Hello from Java! (version 1.0.0)\n"
            closing = response.headers.get("Connection")
        kept.close()
        assert "ends" in process.communicate(timeout=DEADLINE)[0]
    finally:
        process.kill()
        process.communicate()


def test_a_release_that_never_gets_healthy_is_a_setting_away(tmp_path: Path) -> None:
    """What the demonstration does for its third release."""
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLES / "web-greeter", copy)
    text = (copy / "hotswap.yaml").read_text()
    changed = text.replace("version: 1.0.0", "version: 1.2.0").replace(": greetings.json", ": greetings-2.json")
    (copy / "hotswap.yaml").write_text(changed)
    archive = pack_bytes(copy)
    manifest = unpack(io.BytesIO(archive), tmp_path / "release").manifest
    (tmp_path / "data").mkdir()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        process = _start_on_socket(manifest, tmp_path / "release", tmp_path, listener)
        try:
            status, version, body = _get(listener.getsockname()[1], "/healthz")
            assert (status, version) == (503, "1.2.0")
            assert "cannot read the greetings in greetings-2.json" in body
        finally:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=DEADLINE)
        assert "unhealthy: cannot read the greetings in greetings-2.json" in output
