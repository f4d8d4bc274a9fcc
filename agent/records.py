"""What the journal keeps, as frozen types: releases, sides, modules and operations of this node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache

from agent.commands import KnownOperation
from agent.manifest import Kind
from agent.protocol import Action, Command, Context, ModuleKey, OperationState, Target


class Role(StrEnum):
    """Why a release is on a side of a module."""

    CANDIDATE = "candidate"  # of an operation that has not committed
    PREVIEW = "preview"
    WARM = "warm"
    ACTIVE = "active"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release with everything needed to run it again after a reboot; the rest is its manifest on disk."""

    digest: str
    version: str
    kind: Kind
    environment: str | None = None
    deployment_id: str | None = None
    previous_version: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, command: Command, target: Target, kind: Kind) -> ReleaseRecord:
        """The release as the command wants it run."""
        context = command.context
        return cls(
            digest=target.digest,
            version=target.version,
            kind=kind,
            environment=context.environment,
            deployment_id=context.deployment_id,
            previous_version=context.previous_version,
            settings=dict(command.settings),
        )

    def to_json(self) -> str:
        """For the journal."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ReleaseRecord:
        """From the journal."""
        return _release(text)


@lru_cache(maxsize=32)
def _release(text: str) -> ReleaseRecord:
    """Kept for a while: an operation and each heartbeat ask for the same record several times, and none is changed."""
    said = json.loads(text)
    return ReleaseRecord(**{**said, "kind": Kind(said["kind"])})


@dataclass(frozen=True, slots=True)
class SideRecord:
    """One side of a process module: what runs there and why. `until` is the wall clock's end of warmth."""

    key: ModuleKey
    side: str
    role: Role
    release: ReleaseRecord
    operation_id: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class ModuleRecord:
    """What was committed for a module."""

    key: ModuleKey
    highest_token: int = 0
    active: ReleaseRecord | None = None
    active_side: str | None = None


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation as it is on disk. `result` is the JSON that was or will be answered once it has ended."""

    operation_id: str
    key: ModuleKey | None
    token: int | None
    state: OperationState
    step: str
    command: Command | None
    result: str | None
    accepted_at: float

    @property
    def committed(self) -> bool:
        """Whether it is past the point from which it is finished rather than undone."""
        return self.step in COMMITTED_STEPS

    def known(self) -> KnownOperation:
        """The part of it that the command checks look at."""
        return KnownOperation(
            operation_id=self.operation_id,
            key=self.key,
            token=self.token if self.token is not None else 0,
            content=self.command.content() if self.command is not None else None,
            ended=self.state is not OperationState.RUNNING,
            void=self.state is OperationState.VOID,
            committed=self.committed,
        )


COMMITTED_STEPS = frozenset({"committed", "switched"})


def command_to_json(command: Command) -> str:
    """For the journal."""
    return json.dumps(asdict(command))


def command_from_json(text: str) -> Command:
    """From the journal."""
    said = json.loads(text)
    target = said["target"]
    return Command(
        **{
            **said,
            "key": ModuleKey(*said["key"]),
            "action": Action(said["action"]),
            "target": None if target is None else Target(**target),
            "context": Context(**said["context"]),
        }
    )
