"""The gate that people open: how many, who, until when; and that it is decided once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.deployment import DeploymentStatus, StageKind, StageStatus, WaitingKind
from app.domain.errors import Conflict, Gone, HotSwapError, NotPermitted
from app.domain.events import ApprovalExpired, ApprovalGiven, ApprovalRejected, ClaimEnded, Dispatch
from tests.unit.domain.play import START, Play, nodes

APPROVAL, DEPLOY = StageKind.APPROVAL, StageKind.DEPLOY


def waiting(**approvals: Any) -> Play:
    """A deployment whose scan has passed and that waits for people."""
    play = Play({"strategy": "direct", "approvals": {"timeout": "1h", **approvals}}, approvals=True)
    play.run_stage(StageKind.SCAN)
    return play


def refused(play: Play, kind: type[HotSwapError], ask: Callable[[], object]) -> str:
    """The sentence of the refusal, once it is sure that nothing changed."""
    before = play.state
    with pytest.raises(kind) as refusal:
        ask()
    assert play.state == before
    return str(refusal.value)


def test_it_waits_and_nobody_works() -> None:
    play = waiting()
    stage = play.stage(APPROVAL)
    assert (play.status(), stage.status, stage.waiting) == (
        DeploymentStatus.PENDING_APPROVAL, StageStatus.WAITING, WaitingKind.APPROVAL
    )  # fmt: skip
    assert not stage.claimable and stage.id not in play.dispatched()
    assert stage.approval is not None and stage.approval.until == stage.due_at
    assert stage.due_at == START + timedelta(hours=1)
    assert stage.message == "waits for 1 person who may approve (Approver)"


def test_it_is_asked_once_all_before_it_have_passed() -> None:
    play = Play({"approvals": {"required": 1}}, approvals=True, builds=True, tests=True)
    play.run_stage(StageKind.SCAN)
    play.run_stage(StageKind.BUILD)
    assert play.stage(APPROVAL).status is StageStatus.PENDING
    play.run_stage(StageKind.TEST)
    assert play.stage(APPROVAL).status is StageStatus.PENDING
    play.run_stage(StageKind.SCAN)  # of what was built
    assert play.stage(APPROVAL).status is StageStatus.WAITING


def test_one_approval_opens_it() -> None:
    play = waiting()
    commands = play.send(ApprovalGiven("bob", own=False, reason="looks good"))
    assert play.stage(APPROVAL).status is StageStatus.SUCCEEDED
    assert play.stage(APPROVAL).message == "approved by bob"
    assert Dispatch(play.stage(DEPLOY).id) in commands
    assert play.emitted("approval.given")[0].body == {"by": "bob", "reason": "looks good", "given": 1, "required": 1}
    assert play.status() is DeploymentStatus.RUNNING
    play.offer_lane(nodes(1))
    assert play.state.granted


def test_several_people_must_approve_each_once() -> None:
    play = waiting(required=2)
    assert play.send(ApprovalGiven("bob", own=False))[-1] == play.emitted("approval.given")[0]
    assert play.stage(APPROVAL).message == "approved by bob, waits for 1 person who may approve (Approver)"
    said = refused(play, Conflict, lambda: play.send(ApprovalGiven("bob", own=False)))
    assert said == "bob has approved it already; 1 more must do so."
    play.send(ApprovalGiven("eve", own=False))
    assert play.stage(APPROVAL).message == "approved by bob, eve"


def test_one_no_is_enough() -> None:
    play = waiting(required=2)
    play.send(ApprovalGiven("bob", own=False))
    play.send(ApprovalRejected("eve", own=False, reason="not on a Friday"))
    assert (play.status(), play.state.reason) == (DeploymentStatus.REJECTED, "rejected by eve: not on a Friday")
    assert play.stage(APPROVAL).status is StageStatus.FAILED
    assert play.stage(DEPLOY).status is StageStatus.SKIPPED
    assert play.grants() == 0
    said = refused(play, Conflict, lambda: play.send(ApprovalGiven("ann", own=False)))
    assert "is Rejected (rejected by eve: not on a Friday) waits for no approval" in said


def test_it_expires_at_its_deadline_and_not_before() -> None:
    play = waiting(required=2)
    play.send(ApprovalGiven("bob", own=False))
    play.wait(3599)
    assert play.send(ApprovalExpired()) == ()
    play.wait(1)
    late = refused(play, Gone, lambda: play.send(ApprovalGiven("eve", own=False)))
    assert late == "It could be decided until 2026-01-01 01:00:00 UTC."
    play.send(ApprovalExpired())
    assert (play.status(), play.state.reason) == (
        DeploymentStatus.EXPIRED, "1 of 2 approvals until 2026-01-01 01:00:00 UTC"
    )  # fmt: skip
    assert play.send(ApprovalExpired()) == ()
    assert "It has expired" in refused(play, Gone, lambda: play.send(ApprovalRejected("eve", own=False)))


def test_four_eyes_forbid_one_s_own() -> None:
    play = waiting(fourEyes=True)
    for event in (ApprovalGiven("ann", own=True), ApprovalRejected("ann", own=True)):
        assert "four eyes" in refused(play, NotPermitted, lambda event=event: play.send(event))  # type: ignore[misc]
    play.send(ApprovalGiven("bob", own=False))
    assert play.stage(APPROVAL).status is StageStatus.SUCCEEDED
    relaxed = waiting()
    relaxed.send(ApprovalGiven("ann", own=True))
    assert relaxed.stage(APPROVAL).status is StageStatus.SUCCEEDED


def test_what_waits_for_no_approval_says_so() -> None:
    play = Play()
    assert "is Queued waits for no approval" in refused(
        play, Conflict, lambda: play.send(ApprovalGiven("bob", own=False))
    )
    assert play.send(ApprovalExpired()) == ()
    decided = waiting()
    decided.send(ApprovalGiven("bob", own=False))
    assert "(approved by bob)" in refused(decided, Conflict, lambda: decided.send(ApprovalRejected("eve", own=False)))


def test_a_cancel_while_it_waits_ends_it() -> None:
    play = waiting()
    play.cancel()
    assert play.status() is DeploymentStatus.CANCELLED
    assert play.stage(APPROVAL).status is StageStatus.CANCELLED
    assert play.send(ApprovalExpired()) == ()


def test_a_worker_that_claims_to_hold_it_is_stale() -> None:
    play = waiting()
    stage = play.stage(APPROVAL)
    play.send(ClaimEnded(stage.id, 0, poison=True, why="its process died"))
    assert play.stage(APPROVAL) == stage
    assert [refusal.work_id for refusal in play.stale()] == [stage.id]


PEOPLE = st.sampled_from(["ann", "bob", "eve", "zoe"])
DEEDS = st.one_of(
    st.builds(lambda by, own: ApprovalGiven(by, own), PEOPLE, st.booleans()),
    st.builds(lambda by, own: ApprovalRejected(by, own), PEOPLE, st.booleans()),
    st.just(ApprovalExpired()),
    st.integers(1, 2000),
)


@given(st.lists(DEEDS, max_size=12), st.integers(1, 3), st.booleans())
def test_it_is_decided_once_and_by_enough(deeds: list[Any], required: int, four_eyes: bool) -> None:
    play = waiting(required=required, fourEyes=four_eyes)
    decided: list[StageStatus] = []
    for deed in deeds:
        if isinstance(deed, int):
            play.wait(deed)
            continue
        before = play.state
        try:
            play.send(deed)
        except (Conflict, Gone, NotPermitted):
            assert play.state == before
        stage = play.stage(APPROVAL)
        approval = stage.approval
        assert approval is not None
        assert len(set(approval.given)) == len(approval.given) <= required
        assert (stage.status is StageStatus.SUCCEEDED) == (len(approval.given) == required)
        if stage.status.ended and not decided:
            decided.append(stage.status)
        assert not decided or decided == [stage.status]
        assert play.state.terminal == (stage.status is StageStatus.FAILED)
