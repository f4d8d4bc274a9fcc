"""A manifest as JSON, with the keys of the file, for a JSONB column and for the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.manifest.model import Build, Check, Files, Health, Hook, Manifest, Resources, Run, Test


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values with the keys of the file: times in seconds, memory and disk in MiB.

    What was left out of the file stands here with its default, so that a later default changes no release that
    exists; `from_json(to_json(m)) == m`.
    """
    return _without_empty(
        {
            "name": manifest.name,
            "version": manifest.version,
            "kind": manifest.kind.value,
            "placement": dict(manifest.placement),
            "requires": {name: wanted.text for name, wanted in manifest.requires.items()},
            "resources": _resources(manifest.resources),
            "build": _build(manifest.build) if manifest.build else None,
            "test": _test(manifest.test) if manifest.test else None,
            "run": _run(manifest.run) if manifest.run else None,
            "health": _health(manifest.health) if manifest.health else None,
            "metrics": {"path": manifest.metrics.path} if manifest.metrics else None,
            "drain": {"timeout": manifest.drain.timeout} if manifest.run else None,
            "hooks": {event.value: _bounded(hook) for event, hook in manifest.hooks.items()},
            "files": _files(manifest.files) if manifest.files else None,
            "shared": list(manifest.shared),
            "validate": [_check(check) for check in manifest.validate],
        }
    )


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != {} and value != []}


def _resources(resources: Resources) -> dict[str, Any]:
    return _without_empty(
        {"memoryMB": resources.memory_mb, "cpuCores": resources.cpu_cores, "diskMB": resources.disk_mb}
    )


def _build(build: Build) -> dict[str, Any]:
    return {"command": list(build.command), "output": build.output, "timeout": build.timeout}


def _test(test: Test) -> dict[str, Any]:
    return _without_empty({"command": list(test.command), "timeout": test.timeout, "report": test.report})


def _bounded(command: Hook) -> dict[str, Any]:
    return {"command": list(command.command), "timeout": command.timeout}


def _run(run: Run) -> dict[str, Any]:
    listen: dict[str, str] = {listener.name: str(listener.address) for listener in run.listen}
    return _without_empty(
        {
            "command": list(run.command),
            "listen": listen,
            "handover": run.handover.value,
            "environment": dict(run.environment),
            "user": run.user,
        }
    )


def _health(health: Health) -> dict[str, Any]:
    return _without_empty(
        {
            "path": health.path,
            "command": list(health.command) if health.command is not None else None,
            "aliveFor": health.alive_for,
            "timeout": health.timeout,
            "interval": health.interval,
            "successes": health.successes,
            "startTimeout": health.start_timeout,
        }
    )


def _files(files: Files) -> dict[str, Any]:
    mode = f"0{files.mode:03o}" if files.mode is not None else None
    return _without_empty({"destination": files.destination, "owner": files.owner, "mode": mode})


def _check(check: Check) -> dict[str, Any]:
    return _without_empty({"path": check.path, "status": check.status, "maxLatencyMs": check.max_latency_ms})
