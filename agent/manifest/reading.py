"""From the bytes of `hotswap.yaml` to a `Manifest`, and from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from agent.manifest import sections, values
from agent.manifest.errors import ManifestInvalid, Problem
from agent.manifest.model import Drain, Files, Kind, Manifest, Resources
from agent.manifest.place import Place, Problems, Section, Wrong
from agent.manifest.tree import MAXIMUM_MANIFEST_BYTES, Node, read_json, read_yaml

__all__ = ["MANIFEST_NAME", "MAXIMUM_MANIFEST_BYTES", "from_json", "parse_manifest"]

MANIFEST_NAME = "hotswap.yaml"

# Sections that mean nothing for a kind, and where to go instead.
_NOT_FOR_FILES = {
    "run": "is for kind: process; a module of files has nothing to run",
    "health": "is for kind: process; for files use hooks.validateService",
    "metrics": "is for kind: process; files answer no requests",
    "drain": "is for kind: process; files have nothing to drain",
    "validate": "is for kind: process; files answer no requests, so use hooks.validateService",
}
_NOT_FOR_PROCESS = {
    "files": "is for kind: files; a process runs in the folder of its release",
    "hooks": "are for kind: files; a process is started, checked and stopped by run, health and drain",
}


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest; raises `ManifestInvalid` with every problem found, never anything else.

    `content` is YAML in UTF-8, at most 64 KiB, one document, without tags, anchors and aliases.
    """
    return _of_yaml(content)


@lru_cache(maxsize=32)
def _of_yaml(content: bytes) -> Manifest:
    """Kept for a while: one activation asks for the same manifest several times. What is refused is not kept."""
    return _manifest(read_yaml(content))


def from_json(value: Mapping[str, Any]) -> Manifest:
    """The manifest of what `to_json` gave; raises `ManifestInvalid` (lines are 0)."""
    return _manifest(read_json(value))


def _manifest(root: Node) -> Manifest:
    problems = Problems()
    place = Place("", problems)
    try:
        section = Section(root, place, "a mapping that starts like 'name: my-module'")
    except Wrong as error:
        raise ManifestInvalid([Problem(root.line, "", str(error))]) from error
    manifest = _read(section, problems)
    section.close()
    problems.raise_if_any()
    return manifest


def _read(section: Section, problems: Problems) -> Manifest:
    kind = section.required("kind", sections.KIND, None, "kind: process")
    manifest = Manifest(
        name=section.required("name", values.module_name, "", "name: payment-processor"),
        version=section.required("version", values.version, "", "version: 1.0.0"),
        kind=kind or Kind.PROCESS,
        placement=section.optional("placement", sections.placement, {}),
        requires=section.optional("requires", sections.requires, {}),
        resources=section.optional("resources", sections.resources, Resources()),
        build=section.optional("build", sections.build, None),
        test=section.optional("test", sections.test, None),
        run=section.optional("run", sections.run, None),
        health=section.optional("health", sections.health, sections.default_health() if kind is Kind.PROCESS else None),
        metrics=section.optional("metrics", sections.metrics, None),
        drain=section.optional("drain", sections.drain, Drain()),
        hooks=section.optional("hooks", sections.hooks, {}),
        files=section.optional("files", sections.files, Files() if kind is Kind.FILES else None),
        shared=section.optional("shared", sections.shared, ()),
        validate=section.optional("validate", sections.validate, ()),
    )
    if manifest.name in manifest.requires:
        section.refuse("requires", f"names {manifest.name} itself")
    if kind is Kind.FILES:
        _refuse_given(section, _NOT_FOR_FILES)
    elif kind is Kind.PROCESS:
        _refuse_given(section, _NOT_FOR_PROCESS)
        _check_process(section, manifest)
    return manifest


def _refuse_given(section: Section, reasons: Mapping[str, str]) -> None:
    for key, reason in reasons.items():
        if section.given(key):
            section.refuse(key, reason)


def _check_process(section: Section, manifest: Manifest) -> None:
    if not section.given("run"):
        section.refuse("run", "is missing; a process needs for example 'run: {command: [\"python3\", \"server.py\"]}'")
    if manifest.run is None or manifest.run.listen:
        return
    # Nothing can be asked over HTTP of a process that listens nowhere.
    if manifest.health is not None and manifest.health.path is not None:
        section.refuse("health", "asks a path, and 'run.listen' names no address; use health.command or aliveFor")
    for key in ("metrics", "validate"):
        if section.given(key):
            section.refuse(key, "asks a path, and 'run.listen' names no address")
