"""Decoders of the manifest's sections. The bounds stand here, in one place; the reasons are in the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.manifest import values
from agent.manifest.model import (
    Address,
    Build,
    Check,
    Drain,
    Files,
    Handover,
    Health,
    Hook,
    HookEvent,
    Kind,
    Listener,
    Metrics,
    Resources,
    Run,
    Test,
)
from agent.manifest.place import Decode, Place, Section, Wrong, decoded, described, pairs
from agent.manifest.scalars import parse_address
from agent.manifest.tree import Entries, Node, Scalar, ScalarKind
from agent.manifest.versions import VersionRange
from agent.module_names import is_module_name

NO_COMMAND = ("",)
_LISTENER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_SET_BY_AGENT = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_COMMAND_TIMEOUT = values.duration(1, 86400)
_NO_LISTENER: tuple[Listener, ...] = ()
_SOME_LISTENER: tuple[Listener, ...] = (Listener("http", Address("0.0.0.0", 0)),)
_ALIVE_SECONDS_BY_DEFAULT = 5.0
_START_TIMEOUT = 60.0


def resources(node: Node, place: Place) -> Resources:
    section = Section(node, place)
    result = Resources(
        memory_mb=section.optional("memoryMB", values.mebibytes, None),
        cpu_cores=section.optional("cpuCores", values.number(0.01, 1024), None),
        disk_mb=section.optional("diskMB", values.mebibytes, None),
    )
    section.close()
    return result


def build(node: Node, place: Place) -> Build:
    section = Section(node, place)
    result = Build(
        command=section.required("command", values.command, NO_COMMAND, 'command: ["make", "build"]'),
        output=section.required("output", values.relative_folder, "", "output: dist"),
        timeout=section.optional("timeout", _COMMAND_TIMEOUT, 600.0),
    )
    section.close()
    return result


def test(node: Node, place: Place) -> Test:
    section = Section(node, place)
    result = Test(
        command=section.required("command", values.command, NO_COMMAND, 'command: ["pytest", "-q"]'),
        timeout=section.optional("timeout", _COMMAND_TIMEOUT, 600.0),
        report=section.optional("report", values.path_pattern, None),
    )
    section.close()
    return result


def run(node: Node, place: Place) -> Run:
    section = Section(node, place)
    # Where an address is given and wrong, one stands in for it, so that nothing else is blamed for its absence.
    listeners = section.optional("listen", listen, _SOME_LISTENER if section.given("listen") else _NO_LISTENER)
    handover = section.optional("handover", values.one_of(Handover), Handover.SOCKET)
    if handover is Handover.PORT and not section.given("listen"):
        section.refuse("handover", "says how users reach a port, and 'run.listen' asks for none; add listen")
    if handover is not Handover.SOCKET and len(listeners) > 1:
        section.refuse("handover", f"{handover} passes a single PORT; with several addresses in 'listen' use socket")
    result = Run(
        command=section.required("command", values.command, NO_COMMAND, 'command: ["python3", "server.py"]'),
        listen=listeners,
        handover=handover,
        environment=section.optional("environment", environment(handover, listens=bool(listeners)), {}),
        user=section.optional("user", values.account, None),
    )
    section.close()
    return result


def listen(node: Node, place: Place) -> tuple[Listener, ...]:
    """One address, which is called `http`, or several by name."""
    if isinstance(node, Scalar):
        return (Listener("http", _address(node, place)),)
    if not isinstance(node, Entries):
        raise Wrong(f'must be an address like "0.0.0.0:8080", or several by name, not {described(node)}')
    found: list[Listener] = []
    for key, value in pairs(node, place):
        at = place.child(key.text)
        if not _LISTENER_NAME.fullmatch(key.text):
            at.report(key, "is no name for an address: a-z, then at most 31 of a-z, 0-9, '_' and '-'")
        address = decoded(value, at, _address, None)
        same = [other.name for other in found if address is not None and other.address == address and address.port]
        if same:
            at.report(value, f"is the same address as '{same[0]}'")
        if address is not None:
            found.append(Listener(key.text, address))
    if not 1 <= len(node.pairs) <= 16:
        raise Wrong(f"has {len(node.pairs)} addresses; 1 to 16 are allowed")
    return tuple(found)


def _address(node: Node, _place: Place) -> Address:
    if not isinstance(node, Scalar) or node.kind is ScalarKind.EMPTY:
        raise Wrong(f'must be an address like "0.0.0.0:8080", not {described(node)}')
    try:
        return parse_address(node.text)
    except ValueError as error:
        raise Wrong(str(error)) from error


def environment(handover: Handover, *, listens: bool) -> Decode[Mapping[str, str]]:
    """The variables a module sets for itself; those the agent sets are refused, since they would be overwritten."""

    takes_port = listens and handover is not Handover.SOCKET

    def check(name: str) -> str | None:
        if not _VARIABLE.fullmatch(name):
            return "is no name for a variable: a letter or '_', then at most 127 letters, digits and '_'"
        if name in _SET_BY_AGENT or name.startswith("HOTSWAP_") or (name == "PORT" and takes_port):
            return "is set by the agent; choose another name"
        return None

    return values.named(check, values.written, "", 256, "a mapping of variables (NAME: value)")


def health(node: Node, place: Place) -> Health:
    """The check of a process: one of path, command, aliveFor."""
    section = Section(node, place)
    path = section.optional("path", values.url_path, None)
    command = section.optional("command", values.command, None)
    alive_for = section.optional("aliveFor", values.duration(0.1, 3600), None)
    given = [key for key in ("path", "command", "aliveFor") if section.given(key)]
    if not given:
        place.report(node, "needs one of path (a request), command (exit code 0) and aliveFor (seconds)")
    for extra in given[1:]:
        section.refuse(extra, f"cannot stand beside '{given[0]}'; a module has one health check")
    start_timeout = _START_TIMEOUT if alive_for is None else max(_START_TIMEOUT, alive_for + 10)
    result = Health(
        path=path,
        command=command,
        alive_for=alive_for,
        timeout=section.optional("timeout", values.duration(0.05, 300), 2.0),
        interval=section.optional("interval", values.duration(0.05, 300), 0.5),
        successes=section.optional("successes", values.integer(1, 100), 2),
        start_timeout=section.optional("startTimeout", values.duration(1, 3600), start_timeout),
    )
    section.close()
    _refuse_never_healthy(section, result)
    return result


def _refuse_never_healthy(section: Section, check: Health) -> None:
    needed = check.alive_for if check.alive_for is not None else (check.successes - 1) * check.interval
    if needed >= check.start_timeout:
        section.refuse("startTimeout", f"is {check.start_timeout:g} s, and the check needs at least {needed:g} s: "
                                       f"such a module never gets healthy")


def default_health() -> Health:
    """What is asked of a process that says nothing about health: that it stays alive."""
    return Health(alive_for=_ALIVE_SECONDS_BY_DEFAULT)


def metrics(node: Node, place: Place) -> Metrics:
    section = Section(node, place)
    result = Metrics(path=section.required("path", values.url_path, "/", "path: /metrics"))
    section.close()
    return result


def drain(node: Node, place: Place) -> Drain:
    section = Section(node, place)
    result = Drain(timeout=section.optional("timeout", values.duration(0, 3600), 30.0))
    section.close()
    return result


def hooks(node: Node, place: Place) -> Mapping[HookEvent, Hook]:
    section = Section(node, place)
    found: dict[HookEvent, Hook] = {}
    for event in HookEvent:
        hook = section.optional(event.value, _hook, None)
        if hook is not None:
            found[event] = hook
    section.close()
    return found


def _hook(node: Node, place: Place) -> Hook | None:
    section = Section(node, place, 'a mapping like {command: ["./migrate"], timeout: 60}')
    result = Hook(
        command=section.required("command", values.command, NO_COMMAND, 'command: ["./migrate"]'),
        timeout=section.optional("timeout", _COMMAND_TIMEOUT, 300.0),
    )
    section.close()
    return result


def files(node: Node, place: Place) -> Files:
    section = Section(node, place)
    result = Files(
        destination=section.optional("destination", values.destination, None),
        owner=section.optional("owner", values.owner, None),
        mode=section.optional("mode", values.mode, None),
    )
    section.close()
    return result


def shared(node: Node, place: Place) -> tuple[str, ...]:
    """Folders, none of which is or holds another."""
    folders = values.items(values.relative_folder, "", 64, "a list of folders")(node, place)
    for index, folder in enumerate(folders):
        for other in folders[:index]:
            if folder and other and (folder == other or f"{folder}/".startswith(f"{other}/")
                                     or f"{other}/".startswith(f"{folder}/")):
                place.item(index).report(node, f"is {folder!r}, which is, holds or is within {other!r}")
    return folders


def validate(node: Node, place: Place) -> tuple[Check, ...]:
    return values.items(_check, Check("/"), 50, "a list of checks like [{path: /healthz}]")(node, place)


def _check(node: Node, place: Place) -> Check:
    section = Section(node, place, "a mapping like {path: /healthz, status: 200}")
    result = Check(
        path=section.required("path", values.url_path, "/", "path: /healthz"),
        status=section.optional("status", values.integer(100, 599), 200),
        max_latency_ms=section.optional("maxLatencyMs", values.number(1, 600_000), None),
    )
    section.close()
    return result


def placement(node: Node, place: Place) -> Mapping[str, str]:
    """Labels that a node must have, all of them."""

    def check(name: str) -> str | None:
        return None if _LABEL.fullmatch(name) else "is no name for a label"

    return values.named(check, values.written, "", 64, "a mapping of labels (role: web)")(node, place)


def requires(node: Node, place: Place) -> Mapping[str, VersionRange]:
    """Other modules and the versions of them that will do."""

    def check(name: str) -> str | None:
        return None if is_module_name(name) else "is no name of a module"

    anything = VersionRange.parse("*")
    wanted = 'a mapping of modules to versions (user-directory: ">=1.4, <3")'
    return values.named(check, values.version_range, anything, 64, wanted)(node, place)


KIND = values.one_of(Kind)
