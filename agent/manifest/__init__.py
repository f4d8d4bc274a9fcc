"""`hotswap.yaml`: what a module says about itself, read safely, with every error at once.

    manifest = parse_manifest(text)           # bytes of the file; raises ManifestInvalid(problems)
    row = to_json(manifest)                   # for a JSONB column
    manifest == from_json(row)
    findings = lint(manifest)                 # what is allowed and probably not meant
"""

from agent.manifest.errors import ManifestInvalid, Problem
from agent.manifest.json_form import to_json
from agent.manifest.lint import Finding, lint
from agent.manifest.model import (
    Address,
    Build,
    Check,
    Command,
    Drain,
    Files,
    Handover,
    Health,
    HealthKind,
    Hook,
    HookEvent,
    Kind,
    Listener,
    Manifest,
    Metrics,
    Resources,
    Run,
    Test,
)
from agent.manifest.reading import MANIFEST_NAME, MAXIMUM_MANIFEST_BYTES, from_json, parse_manifest
from agent.manifest.scalars import parse_duration, parse_size
from agent.manifest.versions import VersionInvalid, VersionRange, parse_version

__all__ = [
    "MANIFEST_NAME",
    "MAXIMUM_MANIFEST_BYTES",
    "Address",
    "Build",
    "Check",
    "Command",
    "Drain",
    "Files",
    "Finding",
    "Handover",
    "Health",
    "HealthKind",
    "Hook",
    "HookEvent",
    "Kind",
    "Listener",
    "Manifest",
    "ManifestInvalid",
    "Metrics",
    "Problem",
    "Resources",
    "Run",
    "Test",
    "VersionInvalid",
    "VersionRange",
    "from_json",
    "lint",
    "parse_duration",
    "parse_manifest",
    "parse_size",
    "parse_version",
    "to_json",
]
