"""Model nodes: what agents do with operations, as docs/agent-protocol.md has it, reduced to digests."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from app.domain.deployment import NodeOperation, Version
from app.domain.events import NodeFact, Outcome
from tests.unit.domain.play import NEW, node_id


@dataclass(frozen=True)
class Answer:
    """A final word of an agent about an operation id. `active` is what it names as active, None also for "unsaid"."""

    outcome: Outcome
    active: str | None


@dataclass
class ModelNode:
    number: int
    active: Version | None
    desired: Version | None
    wanted: Version | None = NEW
    drained: bool = False
    silent: bool = False
    running: NodeOperation | None = None
    answers: dict[UUID, Answer] = field(default_factory=dict)
    at_first: Version | None = None

    def __post_init__(self) -> None:
        self.at_first = self.active

    @property
    def digest(self) -> str | None:
        return self.active.digest if self.active else None

    def fact(self) -> NodeFact:
        return NodeFact(
            node_id(self.number),
            f"qa-{self.number}",
            not self.silent,
            self.active,
            self.desired,
            self.wanted,
            self.drained,
        )

    def put(self, operation: NodeOperation) -> None:
        """The command to change arrives (again). An id that is known never starts a second time."""
        if operation.id in self.answers or (self.running and self.running.id == operation.id):
            return
        assert self.running is None, "two operations on one node"
        assert operation.active == self.digest, "the node does not run what the command expects there"
        self.running = operation

    def resolve(self, operation: NodeOperation, *, commits: bool, as_void: bool) -> None:
        """An operation is given up: it ends now if it runs, and can never start if it is not known."""
        if self.running and self.running.id == operation.id:
            self.end(commits=commits, as_void=as_void)
        elif operation.id not in self.answers:
            self.answers[operation.id] = Answer(Outcome.VOID, None)

    def end(self, *, commits: bool, as_void: bool = False) -> None:
        """What runs commits, or is undone: then it failed, or counts as void because it was only interrupted."""
        operation = self.running
        assert operation is not None
        self.running = None
        if commits:
            self.active = operation.target
            self.answers[operation.id] = Answer(Outcome.SUCCEEDED, self.digest)
        else:
            self.answers[operation.id] = Answer(Outcome.VOID if as_void else Outcome.FAILED, self.digest)
