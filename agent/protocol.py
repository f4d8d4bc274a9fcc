"""The messages of docs/agent-protocol.md that change something, as frozen types, and their strict parsing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from agent.attestations import LARGEST as LARGEST_ATTESTATION
from agent.module_names import MODULE_NAME
from agent.refusals import malformed

MAX_TOKEN = 2**63 - 1  # the token comes from a bigint sequence
MAX_TIMEOUT = 24 * 3600.0
MAX_TEXT = 1000
MAX_SETTINGS = 200
MAX_SETTING_VALUE = 32768

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,127}")  # the manifest's own check is the strict one
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Action(StrEnum):
    """What a node operation does."""

    ACTIVATE = "activate"
    PREVIEW = "preview"
    RETIRE = "retire"
    STAGE = "stage"


class OperationState(StrEnum):
    """Running, or one of the four final states."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    VOID = "void"


class ModuleKey(NamedTuple):
    """What tokens, lanes and folders of a node belong to."""

    tenant: str
    module: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.module}"


@dataclass(frozen=True, slots=True)
class Target:
    """The release that an operation is about. `digest` and `size_bytes` are of the archive that is fetched.

    `signature` and `key_id` are the publisher's, over that digest; or, of a release that was built, over
    `source_digest`, and then `attestation` (a sealed text, `agent/attestations.py`) ties the one to the other.
    """

    digest: str
    version: str
    size_bytes: int
    signature: str
    key_id: str
    source_digest: str | None = None
    attestation: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What processes and hooks are told about the deployment (HOTSWAP_ENVIRONMENT and so on)."""

    environment: str | None = None
    deployment_id: str | None = None
    previous_version: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One `PUT /v1/operations/{id}`.

    `expects_active` is False where `expectedActive` was left out (not checked); `expected_active` None
    then means nothing, otherwise "nothing is active". `timeout` and `keep_warm` are seconds.
    """

    operation_id: str
    key: ModuleKey
    token: int
    action: Action
    target: Target | None
    expects_active: bool = False
    expected_active: str | None = None
    force: bool = False
    keep_warm: float = 0.0
    timeout: float = 120.0
    context: Context = field(default_factory=Context)
    settings: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> str:
        """What must be the same when an id is sent again, as a digest.

        The timeout and the context are left out: a later attempt may have less time, and neither decides
        what is changed.
        """
        target = self.target
        built = [target.source_digest, target.attestation] if target is not None and target.attestation else []
        said = {
            "tenant": self.key.tenant,
            "module": self.key.module,
            "token": self.token,
            "action": self.action.value,
            "target": None
            if target is None
            else [target.digest, target.version, target.size_bytes, target.signature, target.key_id, *built],
            "expected": [self.expected_active] if self.expects_active else [],
            "force": self.force,
            "keepWarm": self.keep_warm,
            "settings": dict(self.settings),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """One `POST /v1/operations/{id}/resolve`; `wait` in seconds."""

    operation_id: str
    key: ModuleKey
    token: int
    wait: float = 0.0


class Fields:
    """Reads typed members of a JSON object; everything wrong is a 400 that names the member."""

    def __init__(self, value: object, where: str = "the body") -> None:
        if not isinstance(value, dict):
            raise malformed(f"{where} is not a JSON object")
        self._value: dict[str, object] = value
        self._where = where

    def has(self, name: str) -> bool:
        """Whether the member is there, be it null."""
        return name in self._value

    def refuse_others(self, *known: str) -> None:
        """400 for members nobody reads: a misspelt one would otherwise silently count as left out."""
        strange = sorted(set(self._value) - set(known))
        if strange:
            raise malformed(f"{self._where} has unknown fields: {', '.join(strange)}"[:MAX_TEXT])

    def text(
        self, name: str, pattern: re.Pattern[str] | None = None, *, default: str | None = None, longest: int = MAX_TEXT
    ) -> str:
        """A string of at most `longest` characters, wholly matching `pattern` where one is given."""
        value = self._value.get(name, default)
        if not isinstance(value, str) or len(value) > longest or "\x00" in value:
            raise malformed(f"{name} of {self._where} is not a string of at most {longest} characters")
        if pattern is not None and pattern.fullmatch(value) is None:
            raise malformed(f"{name} of {self._where} does not match {pattern.pattern}")
        return value

    def optional_text(self, name: str, pattern: re.Pattern[str] | None = None) -> str | None:
        """A string, or None where it is null or left out."""
        return None if self._value.get(name) is None else self.text(name, pattern)

    def whole(self, name: str, lowest: int, highest: int) -> int:
        """An integer within bounds, both included."""
        value = self._value.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise malformed(f"{name} of {self._where} is not a whole number between {lowest} and {highest}")
        return value

    def seconds(self, name: str, default: float, highest: float) -> float:
        """A duration in seconds, from 0 to `highest`."""
        value = self._value.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
            raise malformed(f"{name} of {self._where} is not a number of seconds between 0 and {highest:g}")
        return float(value)

    def flag(self, name: str) -> bool:
        """A boolean, False where it is left out."""
        value = self._value.get(name, False)
        if not isinstance(value, bool):
            raise malformed(f"{name} of {self._where} is not true or false")
        return value

    def nested(self, name: str) -> Fields:
        """A nested object; an empty one where it is null or left out."""
        value = self._value.get(name)
        return Fields({} if value is None else value, name)

    def raw(self, name: str) -> object:
        """The member as it was sent."""
        return self._value.get(name)

    def texts(self) -> dict[str, str]:
        """All members, where every one is to be an environment variable."""
        if len(self._value) > MAX_SETTINGS:
            raise malformed(f"{self._where} has more than {MAX_SETTINGS} entries")
        for name, value in self._value.items():
            if ENVIRONMENT_NAME.fullmatch(name) is None or not isinstance(value, str):
                raise malformed(f"{name[:100]!r} of {self._where} is not the name of a variable with a string as value")
            if "\x00" in value or len(value) > MAX_SETTING_VALUE:
                raise malformed(
                    f"{name[:100]!r} of {self._where} is longer than {MAX_SETTING_VALUE} or has a null byte"
                )
        return {name: str(value) for name, value in self._value.items()}


def parse_operation_id(text: str) -> str:
    """The id of the path, or a 400."""
    if IDENTIFIER.fullmatch(text) is None:
        raise malformed("the operation id has forbidden characters")
    return text


def parse_module_key(tenant: str, module: str) -> ModuleKey:
    """Tenant and module as parts of a path, or a 400."""
    key = Fields({"tenant": tenant, "module": module}, "the path")
    return ModuleKey(key.text("tenant", IDENTIFIER), key.text("module", MODULE_NAME))


def _target(fields: Fields) -> Target | None:
    if not fields.has("target"):
        raise malformed("target is missing")
    if fields.raw("target") is None:
        return None
    target = fields.nested("target")
    target.refuse_others("digest", "version", "sizeBytes", "signature", "keyId", "sourceDigest", "attestation")
    built = target.raw("attestation") is not None
    if built is (target.raw("sourceDigest") is None):
        raise malformed("sourceDigest and attestation of target come together, or not at all")
    return Target(
        digest=target.text("digest", DIGEST),
        version=target.text("version", VERSION),
        size_bytes=target.whole("sizeBytes", 1, 2**40),
        signature=target.text("signature"),
        key_id=target.text("keyId", re.compile(r"[0-9a-f]{16}")),
        source_digest=target.text("sourceDigest", DIGEST) if built else None,
        attestation=target.text("attestation", longest=LARGEST_ATTESTATION) if built else None,
    )


def parse_command(operation_id: str, body: object) -> Command:
    """The body of a PUT as a command. Raises `Refusal` (malformed)."""
    fields = Fields(body)
    fields.refuse_others(
        "tenant", "module", "fencingToken", "action", "target", "expectedActive", "force", "timeout", "context",
        "settings", "keepWarm",
    )  # fmt: skip
    try:
        action = Action(fields.text("action"))
    except ValueError:
        raise malformed(f"action is none of {', '.join(Action)}") from None
    target = None if action is Action.RETIRE and not fields.has("target") else _target(fields)
    if target is None and action in (Action.PREVIEW, Action.STAGE):
        raise malformed(f"{action.value} needs a target")
    context = fields.nested("context")
    settings = fields.nested("settings")
    settings.refuse_others("environment")
    return Command(
        operation_id=parse_operation_id(operation_id),
        key=ModuleKey(fields.text("tenant", IDENTIFIER), fields.text("module", MODULE_NAME)),
        token=fields.whole("fencingToken", 0, MAX_TOKEN),
        action=action,
        target=target,
        expects_active=fields.has("expectedActive"),
        expected_active=fields.optional_text("expectedActive", DIGEST),
        force=fields.flag("force"),
        keep_warm=fields.seconds("keepWarm", 0.0, MAX_TIMEOUT),
        timeout=fields.seconds("timeout", 120.0, MAX_TIMEOUT),
        context=Context(
            environment=context.optional_text("environment"),
            deployment_id=context.optional_text("deploymentId"),
            previous_version=context.optional_text("previousVersion"),
        ),
        settings=settings.nested("environment").texts(),
    )


def parse_resolve(operation_id: str, body: object, longest_wait: float) -> ResolveRequest:
    """The body of a resolve. Raises `Refusal` (malformed)."""
    fields = Fields(body)
    fields.refuse_others("tenant", "module", "fencingToken", "wait")
    return ResolveRequest(
        operation_id=parse_operation_id(operation_id),
        key=ModuleKey(fields.text("tenant", IDENTIFIER), fields.text("module", MODULE_NAME)),
        token=fields.whole("fencingToken", 0, MAX_TOKEN),
        wait=min(fields.seconds("wait", 0.0, MAX_TIMEOUT), longest_wait),
    )
