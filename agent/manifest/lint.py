"""What is allowed in a manifest and is probably not meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from posixpath import normpath

from agent.manifest.model import Command, Handover, HealthKind, Kind, Manifest, Run

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"})
_WRAPPERS = frozenset({"su", "sudo", "runuser", "nohup", "setsid", "timeout", "script", "npm", "yarn", "pnpm", "npx"})
_CREDENTIAL_WORDS = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "PRIVATE_KEY")


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice: the field's path, and a sentence that says what will happen and what to write instead."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def lint(manifest: Manifest, files: Mapping[str, bool] | None = None) -> list[Finding]:
    """Advice on a valid manifest; with `files` also on those beside it: path -> whether it can be executed."""
    findings = list(_on_health(manifest))
    if manifest.run is not None:
        findings += _on_run(manifest.run)
        findings += _on_drain(manifest)
    if manifest.kind is Kind.FILES and not manifest.hooks and manifest.files and manifest.files.destination is None:
        findings.append(
            Finding("files.destination", "is not given and there are no hooks: the release is only put in the module's "
                    "own folder, as 'current', where nothing is told about it")
        )
    if manifest.build is not None and manifest.test is None:
        findings.append(Finding("test", "is not given: what was built goes to nodes untested"))
    if files is not None:
        findings += _on_files(manifest, files)
    return findings


def _on_run(run: Run) -> Iterator[Finding]:
    program = run.command[0].rpartition("/")[2]
    if program in _SHELLS and _forks(run.command):
        yield Finding(
            "run.command",
            f"is a shell ({program}) without exec: the shell stays in front of the program, LISTEN_PID is not the "
            f"program's and SIGTERM does not reach it; end the script with 'exec program ...'",
        )
    if program in _WRAPPERS:
        yield Finding(
            "run.command",
            f"starts through {program}, which stays in front of the program or changes its pid; start the program "
            f"itself (for another user, use run.user)",
        )
    if run.listen and run.handover is Handover.NONE:
        yield Finding("run.handover", "none stops the old release before the new one starts: each swap interrupts")
    for name in run.environment:
        if any(word in name.upper() for word in _CREDENTIAL_WORDS):
            yield Finding(
                f"run.environment.{name}",
                "looks like a secret, and everybody who can read the archive can read it; configure it for the module "
                "in its environment instead",
            )


def _forks(command: Command) -> bool:
    """Whether a shell's command line leaves the shell in front: `-c` whose last command is no exec."""
    for option, script in pairwise(command):
        if option.startswith("-") and not option.startswith("--") and option.endswith("c"):
            return "exec " not in script.replace("\n", ";").rpartition(";")[2]
    return False


def _on_health(manifest: Manifest) -> Iterator[Finding]:
    if manifest.health is not None and manifest.health.kind is HealthKind.ALIVE and manifest.listeners:
        yield Finding(
            "health",
            f"asks nothing: a release that stays alive for {manifest.health.alive_for:g} s gets the traffic, whatever "
            f"it answers; add 'health: {{path: /healthz}}'",
        )
    if manifest.listeners and manifest.metrics is None:
        yield Finding("metrics", "is not given: nothing but health checks can tell that a release makes errors")


def _on_drain(manifest: Manifest) -> Iterator[Finding]:
    if manifest.listeners and manifest.drain.timeout < 1:
        yield Finding("drain.timeout", "is under a second: requests that run are cut off at each swap")


def _on_files(manifest: Manifest, files: Mapping[str, bool]) -> Iterator[Finding]:
    for path, command in _commands(manifest):
        program = command[0]
        if "/" not in program or program.startswith("/"):
            continue
        executable = files.get(normpath(program))
        if executable is False:
            yield Finding(path, f"runs {program!r}, which is not executable; chmod +x it")
        elif executable is None and manifest.build is None:
            yield Finding(path, f"runs {program!r}, which is not in the folder")


def _commands(manifest: Manifest) -> Iterator[tuple[str, Command]]:
    if manifest.run is not None:
        yield "run.command", manifest.run.command
    if manifest.health is not None and manifest.health.command is not None:
        yield "health.command", manifest.health.command
    for event, hook in manifest.hooks.items():
        yield f"hooks.{event.value}.command", hook.command
