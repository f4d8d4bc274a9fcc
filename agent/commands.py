"""Which commands a node carries out: the checks of docs/agent-protocol.md, pure, in the protocol's order.

Nothing here reads a clock, a file or a socket. The engine gathers a `ModuleView`, asks `check` or
`check_resolve`, and does what the decision says in the same turn of the event loop, so that nothing moves in
between. These functions are what keeps invariant I3 (at most once per id, never below the highest token).
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.protocol import Command, ModuleKey, ResolveRequest


@dataclass(frozen=True, slots=True)
class KnownOperation:
    """What is recorded under an operation id.

    `content` is None where the id was only ever given up; `key` is None where even its module was not told.
    """

    operation_id: str
    key: ModuleKey | None
    token: int
    content: str | None
    ended: bool
    void: bool
    committed: bool = False


@dataclass(frozen=True, slots=True)
class ModuleView:
    """A module of this node as a command finds it.

    `same_id` is what is recorded under the command's own id; `unfinished` are the module's operations that were
    accepted and have not ended: the running one and at most one that waits for it.
    """

    highest_token: int
    active_digest: str | None
    same_id: KnownOperation | None = None
    unfinished: tuple[KnownOperation, ...] = ()


@dataclass(frozen=True, slots=True)
class Accept:
    """Carry it out, as soon as the operations in `supersedes` have ended."""

    supersedes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerRecorded:
    """It has ended: answer its result. `outdated`: its token is below the module's highest (it is counted)."""

    outdated: bool


@dataclass(frozen=True, slots=True)
class AnswerRunning:
    """It runs: answer a snapshot. `outdated` as above."""

    outdated: bool


@dataclass(frozen=True, slots=True)
class RefuseMismatch:
    """422: this id was sent with other content."""


@dataclass(frozen=True, slots=True)
class RefuseVoid:
    """409: this id was given up."""


@dataclass(frozen=True, slots=True)
class RefuseStale:
    """409: the token is lower than the highest seen."""

    highest_token: int


@dataclass(frozen=True, slots=True)
class RefuseBusy:
    """409: another id runs under an equal token."""

    operation_id: str


@dataclass(frozen=True, slots=True)
class RefuseUnexpected:
    """412: something else is active than the command expects."""

    active_digest: str | None


Decision = (
    Accept | AnswerRecorded | AnswerRunning | RefuseMismatch | RefuseVoid | RefuseStale | RefuseBusy | RefuseUnexpected
)


def check(command: Command, view: ModuleView) -> Decision:
    """What becomes of a PUT, in the order that docs/agent-protocol.md fixes."""
    same = view.same_id
    if same is not None and same.content is not None and same.content != command.content():
        return RefuseMismatch()
    if same is not None and same.void:
        return RefuseVoid()
    if same is not None and same.ended:
        return AnswerRecorded(outdated=command.token < view.highest_token)
    if same is not None:
        return AnswerRunning(outdated=command.token < view.highest_token)
    if command.token < view.highest_token:
        return RefuseStale(view.highest_token)
    rival = next((other for other in view.unfinished if other.token >= command.token), None)
    if rival is not None:
        return RefuseBusy(rival.operation_id)
    if command.expects_active and command.expected_active != view.active_digest:
        return RefuseUnexpected(view.active_digest)
    return Accept(supersedes=tuple(other.operation_id for other in view.unfinished))


@dataclass(frozen=True, slots=True)
class StopAndWait:
    """It runs and has not committed: raise the token, stop it at its next step, answer its result."""

    raise_token_to: int | None


@dataclass(frozen=True, slots=True)
class LetFinish:
    """It is past its commit: raise the token, let it finish, answer its result."""

    raise_token_to: int | None


@dataclass(frozen=True, slots=True)
class AnswerFinal:
    """It has ended or is void already: raise the token, answer that."""

    raise_token_to: int | None


@dataclass(frozen=True, slots=True)
class RecordVoid:
    """It was never seen: raise the token and record the id as void, both in one transaction."""

    raise_token_to: int | None


ResolveDecision = StopAndWait | LetFinish | AnswerFinal | RecordVoid | RefuseStale | RefuseMismatch


def check_resolve(request: ResolveRequest, view: ModuleView) -> ResolveDecision:
    """What becomes of a resolve.

    A token below the highest is stale only for an id that was never seen: giving up something that is recorded
    changes nothing that a newer holder of the lane decided.
    """
    raised = request.token if request.token > view.highest_token else None
    same = view.same_id
    if same is None:
        if request.token < view.highest_token:
            return RefuseStale(view.highest_token)
        return RecordVoid(raised)
    if same.key is not None and same.key != request.key:
        return RefuseMismatch()
    if same.ended or same.void:
        return AnswerFinal(raised)
    if same.committed:
        return LetFinish(raised)
    return StopAndWait(raised)


def may_commit(operation_token: int, highest_token: int) -> bool:
    """The check of the commit that switches: no higher token came while the operation was under way."""
    return operation_token >= highest_token


def may_prune(token: int | None, highest_token: int) -> bool:
    """Whether an ended or void id may be forgotten: a late request for it must still find it refused.

    Ids without a token (given up by a heartbeat's answer before any request came) are kept for ever.
    """
    return token is not None and token < highest_token
