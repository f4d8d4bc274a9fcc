"""The command checks: every decision by example, and their order against a second, plain statement of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import commands
from agent.commands import KnownOperation, ModuleView
from agent.protocol import Action, Command, Context, ModuleKey, ResolveRequest, Target

KEY = ModuleKey("11111111-1111-7111-8111-111111111111", "payment-processor")
OTHER_KEY = ModuleKey(KEY.tenant, "user-directory")
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64
TARGET = Target(DIGEST, "1.1.0", 123, "c2ln", "0123456789abcdef")


def command(operation_id: str = "op", token: int = 5, **others: Any) -> Command:
    made = Command(operation_id=operation_id, key=KEY, token=token, action=Action.ACTIVATE, target=TARGET)
    return replace(made, **others)


def known(
    operation_id: str = "op", token: int = 5, content: str | None = None, *, ended: bool = False, void: bool = False,
    committed: bool = False, key: ModuleKey | None = KEY,
) -> KnownOperation:  # fmt: skip
    return KnownOperation(operation_id, key, token, content, ended, void, committed)


CONTENT = command().content()


class TestCheck:
    def test_new_operation_on_a_new_module_is_accepted(self) -> None:
        assert commands.check(command(), ModuleView(0, None)) == commands.Accept(())

    def test_equal_token_with_nothing_running_is_accepted(self) -> None:
        assert commands.check(command(), ModuleView(5, DIGEST)) == commands.Accept(())

    def test_same_id_with_other_content_is_a_mismatch_even_when_void(self) -> None:
        view = ModuleView(5, None, known(content="something else", void=True, ended=True))
        assert commands.check(command(), view) == commands.RefuseMismatch()

    def test_void_id_is_refused(self) -> None:
        view = ModuleView(0, None, known(content=None, void=True, ended=True))
        assert commands.check(command(), view) == commands.RefuseVoid()

    def test_void_id_that_was_once_accepted_is_refused_for_the_same_content(self) -> None:
        view = ModuleView(0, None, known(content=CONTENT, void=True, ended=True))
        assert commands.check(command(), view) == commands.RefuseVoid()

    @pytest.mark.parametrize(("highest", "outdated"), [(5, False), (6, True)])
    def test_recorded_id_answers_its_result(self, highest: int, outdated: bool) -> None:
        wanted = command(expects_active=True)
        view = ModuleView(highest, OTHER_DIGEST, known(content=wanted.content(), ended=True))
        assert commands.check(wanted, view) == commands.AnswerRecorded(outdated)

    @pytest.mark.parametrize(("highest", "outdated"), [(5, False), (6, True)])
    def test_running_id_answers_that_it_runs(self, highest: int, outdated: bool) -> None:
        running = known(content=CONTENT)
        view = ModuleView(highest, None, running, (running,))
        assert commands.check(command(), view) == commands.AnswerRunning(outdated)

    def test_lower_token_is_stale_and_told_the_highest(self) -> None:
        view = ModuleView(6, None, None, (known("other", 6),))
        assert commands.check(command(expects_active=True, expected_active=DIGEST), view) == commands.RefuseStale(6)

    def test_another_id_under_an_equal_token_is_busy(self) -> None:
        view = ModuleView(5, None, None, (known("first", 4), known("second", 5)))
        decision = commands.check(command(expects_active=True, expected_active=DIGEST), view)
        assert decision == commands.RefuseBusy("second")

    def test_higher_token_supersedes_everything_unfinished(self) -> None:
        view = ModuleView(4, None, None, (known("first", 3), known("second", 4)))
        assert commands.check(command(), view) == commands.Accept(("first", "second"))

    @pytest.mark.parametrize(
        ("expects", "expected", "active", "decision"),
        [
            (False, None, DIGEST, commands.Accept(())),
            (True, None, None, commands.Accept(())),
            (True, None, DIGEST, commands.RefuseUnexpected(DIGEST)),
            (True, DIGEST, DIGEST, commands.Accept(())),
            (True, DIGEST, OTHER_DIGEST, commands.RefuseUnexpected(OTHER_DIGEST)),
            (True, DIGEST, None, commands.RefuseUnexpected(None)),
        ],
    )
    def test_expected_active(
        self, expects: bool, expected: str | None, active: str | None, decision: commands.Decision
    ) -> None:
        wanted = command(expects_active=expects, expected_active=expected)
        assert commands.check(wanted, ModuleView(5, active)) == decision


TOKENS = st.integers(0, 6)
DIGESTS = st.sampled_from([None, DIGEST, OTHER_DIGEST])
COMMANDS = st.builds(
    command, token=TOKENS, expects_active=st.booleans(), expected_active=DIGESTS, force=st.booleans()
)  # fmt: skip


@st.composite
def views(draw: st.DrawFn) -> tuple[Command, ModuleView]:
    wanted = draw(COMMANDS)
    content = draw(st.sampled_from([None, wanted.content(), "other"]))
    same = draw(
        st.one_of(
            st.none(),
            st.builds(
                known, content=st.just(content), ended=st.booleans(), void=st.booleans(), token=st.just(wanted.token)
            ),
        )
    )
    rivals = draw(st.lists(st.builds(known, operation_id=st.sampled_from(["x", "y"]), token=TOKENS), max_size=2))
    highest = draw(TOKENS)
    return wanted, ModuleView(highest, draw(DIGESTS), same, tuple(rivals))


def as_the_protocol_says(wanted: Command, view: ModuleView) -> str:
    """The order of docs/agent-protocol.md once more, as a list of conditions."""
    same = view.same_id
    rules = [
        (same is not None and same.content not in (None, wanted.content()), "mismatch"),
        (same is not None and same.void, "void"),
        (same is not None and same.ended, "recorded"),
        (same is not None, "running"),
        (wanted.token < view.highest_token, "stale"),
        (any(other.token >= wanted.token for other in view.unfinished), "busy"),
        (wanted.expects_active and wanted.expected_active != view.active_digest, "unexpected"),
    ]
    return next((name for holds, name in rules if holds), "accept")


NAMES = {
    commands.Accept: "accept", commands.AnswerRecorded: "recorded", commands.AnswerRunning: "running",
    commands.RefuseMismatch: "mismatch", commands.RefuseVoid: "void", commands.RefuseStale: "stale",
    commands.RefuseBusy: "busy", commands.RefuseUnexpected: "unexpected",
}  # fmt: skip


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PATIENT
@given(views())
def test_the_first_rule_that_holds_decides(case: tuple[Command, ModuleView]) -> None:
    wanted, view = case
    assert NAMES[type(commands.check(wanted, view))] == as_the_protocol_says(wanted, view)


@PATIENT
@given(views())
def test_nothing_below_the_highest_token_is_ever_accepted(case: tuple[Command, ModuleView]) -> None:
    wanted, view = case
    if isinstance(commands.check(wanted, view), commands.Accept):
        assert wanted.token >= view.highest_token
        assert view.same_id is None


@PATIENT
@given(views())
def test_what_was_accepted_is_not_accepted_again(case: tuple[Command, ModuleView]) -> None:
    wanted, view = case
    if isinstance(commands.check(wanted, view), commands.Accept):
        recorded = known(wanted.operation_id, wanted.token, wanted.content())
        after = ModuleView(max(view.highest_token, wanted.token), view.active_digest, recorded, (recorded,))
        assert isinstance(commands.check(wanted, after), commands.AnswerRunning)


class TestContent:
    @pytest.mark.parametrize(
        "change",
        [
            {"key": OTHER_KEY},
            {"key": ModuleKey("22222222-2222-7222-8222-222222222222", KEY.module)},
            {"token": 6},
            {"action": Action.PREVIEW},
            {"target": None},
            {"target": replace(TARGET, digest=OTHER_DIGEST)},
            {"target": replace(TARGET, version="1.1.1")},
            {"target": replace(TARGET, size_bytes=124)},
            {"target": replace(TARGET, signature="c2lo")},
            {"target": replace(TARGET, key_id="0123456789abcdee")},
            {"expects_active": True},
            {"expects_active": True, "expected_active": DIGEST},
            {"force": True},
            {"keep_warm": 1.0},
            {"settings": {"LOG_LEVEL": "info"}},
        ],
    )
    def test_what_decides_the_change_is_content(self, change: dict[str, Any]) -> None:
        assert command(**change).content() != command().content()

    def test_expecting_nothing_differs_from_expecting_a_digest(self) -> None:
        nothing = command(expects_active=True, expected_active=None)
        assert nothing.content() != command(expects_active=True, expected_active=DIGEST).content()

    @pytest.mark.parametrize(
        "change", [{"operation_id": "other"}, {"timeout": 1.0}, {"context": Context("QA", "d", "1.0.0")}]
    )
    def test_what_a_later_attempt_may_change_is_not(self, change: dict[str, Any]) -> None:
        assert command(**change).content() == command().content()


def resolve(token: int = 5, key: ModuleKey = KEY) -> ResolveRequest:
    return ResolveRequest("op", key, token)


class TestResolve:
    @pytest.mark.parametrize(("highest", "raised"), [(4, 5), (5, None)])
    def test_unseen_id_becomes_void(self, highest: int, raised: int | None) -> None:
        assert commands.check_resolve(resolve(), ModuleView(highest, None)) == commands.RecordVoid(raised)

    def test_unseen_id_with_a_lower_token_is_stale(self) -> None:
        assert commands.check_resolve(resolve(), ModuleView(6, None)) == commands.RefuseStale(6)

    @pytest.mark.parametrize(("highest", "raised"), [(4, 5), (5, None), (6, None)])
    def test_running_id_is_stopped_whatever_the_token(self, highest: int, raised: int | None) -> None:
        view = ModuleView(highest, None, known(content=CONTENT))
        assert commands.check_resolve(resolve(), view) == commands.StopAndWait(raised)

    @pytest.mark.parametrize(("highest", "raised"), [(4, 5), (5, None), (6, None)])
    def test_committed_id_is_let_finish(self, highest: int, raised: int | None) -> None:
        view = ModuleView(highest, None, known(content=CONTENT, committed=True))
        assert commands.check_resolve(resolve(), view) == commands.LetFinish(raised)

    @pytest.mark.parametrize("same", [known(ended=True), known(void=True), known(ended=True, committed=True)])
    @pytest.mark.parametrize(("highest", "raised"), [(4, 5), (5, None), (6, None)])
    def test_ended_or_void_id_answers_what_it_was(self, same: KnownOperation, highest: int, raised: int | None) -> None:
        assert commands.check_resolve(resolve(), ModuleView(highest, None, same)) == commands.AnswerFinal(raised)

    def test_an_id_of_another_module_is_a_mismatch(self) -> None:
        view = ModuleView(0, None, known(content=CONTENT, key=OTHER_KEY))
        assert commands.check_resolve(resolve(), view) == commands.RefuseMismatch()

    def test_an_id_voided_without_its_module_belongs_to_any(self) -> None:
        view = ModuleView(0, None, known(void=True, ended=True, key=None))
        assert commands.check_resolve(resolve(), view) == commands.AnswerFinal(5)


class TestCommitAndPrune:
    @pytest.mark.parametrize(("own", "highest", "may"), [(5, 4, True), (5, 5, True), (5, 6, False)])
    def test_commit_needs_the_highest_token(self, own: int, highest: int, may: bool) -> None:
        assert commands.may_commit(own, highest) is may

    @pytest.mark.parametrize(
        ("token", "highest", "may"), [(4, 5, True), (5, 5, False), (6, 5, False), (None, 5, False)]
    )
    def test_only_ids_below_the_highest_token_are_forgotten(self, token: int | None, highest: int, may: bool) -> None:
        assert commands.may_prune(token, highest) is may
