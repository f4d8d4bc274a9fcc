"""`decide()` under random orders: whatever is lost, late, repeated or dead, the invariants of the design hold.

The machine is the engine, the workers, the nodes and the people at once. `HOTSWAP_HYPOTHESIS=long` makes it look longer
(minutes) and differently each time; by default it is short and plays the same games every time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from app.domain import strategies as wave_strategies
from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentStatus,
    NodeOperation,
    OperationStatus,
    Stage,
    StageKind,
    StageStatus,
    Version,
)
from app.domain.errors import Conflict
from app.domain.events import (
    BudgetSpent,
    CancelRequested,
    ClaimEnded,
    CountStale,
    Event,
    LaneBusy,
    LaneOffered,
    NodeLost,
    NodeReturned,
    OperationReported,
    Outcome,
    Overtaken,
    PauseExpired,
    PauseRequested,
    PromoteRequested,
    ResumeRequested,
    RetryRequested,
    StageReported,
)
from app.domain.policy import StrategyKind
from tests.unit.domain.fleet import ModelNode
from tests.unit.domain.play import NEW, OLD, OTHER, Play, node_id

LONG = os.environ.get("HOTSWAP_HYPOTHESIS") == "long"
NEVER_MANY = 400
"""More rounds than any deployment of the machine needs once all faults have ended."""

ANY = st.integers(0, 10**6)
STATES: list[tuple[Version | None, Version | None]] = [
    (OLD, OLD),
    (OLD, OLD),
    (OLD, OLD),
    (OTHER, OLD),
    (NEW, NEW),
    (NEW, OLD),
    (None, None),
    (OLD, None),
]
"""What runs on a node, and what was decided for it: mostly the same, and sometimes not."""


@dataclass
class Worker:
    """Who once claimed a piece of work. It may act long after it was given up: a process that was stopped."""

    work_id: UUID
    attempt: int
    operation: NodeOperation | None
    resolves: bool
    believed: bool = True


class Engine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.play: Play
        self.fleet: dict[UUID, ModelNode] = {}
        self.workers: list[Worker] = []
        self.history: list[Event] = []
        self.lost: set[UUID] = set()
        self.joined: set[UUID] = set()
        self.endings = 0
        self.wanted: list[Version | None] = [NEW]

    # --- setting out ----------------------------------------------------------------------------------------------

    @initialize(
        states=st.lists(st.tuples(st.sampled_from(STATES), st.integers(0, 11)), min_size=1, max_size=7),
        strategy=st.sampled_from(["direct", "rolling", "rolling"]),
        concurrent=st.integers(1, 4),
        batch=st.sampled_from(["25%", "50%", 1, 2, 3]),
        minimum=st.sampled_from([None, None, 0, 1, 2, "50%"]),
        failed=st.integers(0, 3),
        on_lost=st.sampled_from(["abort", "continue", "pause"]),
        unavailable=st.sampled_from(["skip", "skip", "wait", "fail"]),
        at_start=st.sampled_from(["20%", "50%", "100%"]),
        on_timeout=st.sampled_from(["rollback", "resume"]),
        force=st.sampled_from([False, False, True]),
        at_once=st.sampled_from([True, True, True, False]),
        mixed=st.sampled_from([False, False, True]),
    )
    def submit(
        self,
        states: list[tuple[tuple[Version | None, Version | None], int]],
        strategy: str,
        concurrent: int,
        batch: str | int,
        minimum: str | int | None,
        failed: int,
        on_lost: str,
        unavailable: str,
        at_start: str,
        on_timeout: str,
        force: bool,
        at_once: bool,
        mixed: bool,
    ) -> None:
        self.wanted = [NEW, OTHER, None, OLD] if mixed else [NEW]
        for number, ((active, desired), mood) in enumerate(states, 1):
            self.add(ModelNode(number, active, desired, drained=mood == 0, silent=mood == 1))
        policy = {
            "strategy": strategy,
            "maxConcurrentNodes": concurrent,
            "rolling": {"batch": batch, "minInService": minimum},
            "maxFailedNodes": failed,
            "onNodeLost": on_lost,
            "unavailableNodes": unavailable,
            "maxUnavailableAtStart": at_start,
            "pausedTimeout": "60s",
            "onPausedTimeout": on_timeout,
        }
        self.play = Play(policy, force=force)
        self.check(None)
        if at_once:
            self.work(self.take(self.state.stage(StageKind.SCAN).id))
            self.work(self.take(self.state.stage(StageKind.DEPLOY).id))

    def add(self, node: ModelNode) -> None:
        """What is wanted may differ from node to node: so it does when it goes back to what ran before."""
        node.wanted = self.wanted[node.number % len(self.wanted)]
        self.fleet[node_id(node.number)] = node

    # --- one event ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Deployment:
        return self.play.state

    def send(self, event: Event) -> None:
        before = self.state
        self.play.send(event)
        self.history.append(event)
        self.check(before)

    def ask(self, event: Event, allowed: bool) -> None:
        """A person's request: either it is allowed, or it is refused and changes nothing."""
        before = self.state
        try:
            self.play.send(event)
        except Conflict as refused:
            assert not allowed, f"refused: {refused}"
            assert self.state == before
            assert before.status.value in str(refused)
        else:
            assert allowed, f"{event} was taken in {before.status}"
            self.check(before)

    # --- workers --------------------------------------------------------------------------------------------------

    def claimable(self) -> list[UUID]:
        return [work.id for work in self.works() if work.claimable and (work.due_at or self.play.now) <= self.play.now]

    def works(self) -> list[Stage | NodeOperation]:
        return [*self.state.stages, *self.state.operations]

    def take(self, work_id: UUID) -> Worker:
        assert work_id in self.play.dispatched(), "claimable, and never dispatched"
        stage = self.state.stage_by_id(work_id)
        if stage is not None:
            claimed = self.play.claim_stage(stage.kind)
            worker = Worker(work_id, claimed.attempt, None, resolves=False)
        else:
            operation = self.state.operation(work_id)
            assert operation is not None
            taken = self.play.claim(operation)
            worker = Worker(work_id, taken.attempt, taken, taken.status is OperationStatus.RESOLVING)
        self.workers.append(worker)
        return worker

    def work(self, worker: Worker, *, commits: bool = True, as_void: bool = False) -> None:
        """The worker does its work from beginning to end, if nobody else has done it since."""
        worker.believed = False
        if worker.operation is None:
            self.report_stage(worker, succeeded=True, busy=False)
            return
        self.call(worker, commits=commits, as_void=as_void)
        node = self.fleet[worker.operation.node_id]
        if node.running and node.running.id == worker.work_id and not node.silent:
            node.end(commits=commits, as_void=as_void)
        self.report(worker)

    def pick(self, number: int, which: Callable[[Worker], bool]) -> Worker:
        workers = [worker for worker in self.workers if which(worker)]
        assume(workers)
        return workers[number % len(workers)]

    @precondition(lambda self: self.claimable())
    @rule(number=ANY)
    def work_goes_well(self, number: int) -> None:
        works = self.claimable()
        self.work(self.take(works[number % len(works)]))

    @precondition(lambda self: any(self.state.operation(work_id) for work_id in self.claimable()))
    @rule(number=ANY, as_void=st.booleans())
    def work_goes_badly(self, number: int, as_void: bool) -> None:
        works = [work_id for work_id in self.claimable() if self.state.operation(work_id)]
        self.work(self.take(works[number % len(works)]), commits=False, as_void=as_void)

    @precondition(lambda self: self.claimable())
    @rule(number=ANY)
    def claim(self, number: int) -> None:
        works = self.claimable()
        self.take(works[number % len(works)])

    @precondition(lambda self: any(worker.operation for worker in self.workers))
    @rule(number=ANY, commits=st.booleans(), as_void=st.booleans())
    def worker_calls_its_node(self, number: int, commits: bool, as_void: bool) -> None:
        worker = self.pick(number, lambda worker: worker.operation is not None)
        self.call(worker, commits=commits, as_void=as_void)

    def call(self, worker: Worker, *, commits: bool, as_void: bool) -> None:
        assert worker.operation is not None
        node = self.fleet[worker.operation.node_id]
        if node.silent or self.state.terminal:
            return
        if worker.resolves:
            node.resolve(worker.operation, commits=commits, as_void=as_void)
        else:
            node.put(worker.operation)

    @precondition(lambda self: any(worker.operation for worker in self.workers))
    @rule(number=ANY, stays=st.booleans(), knows=st.booleans())
    def worker_reports(self, number: int, stays: bool, knows: bool) -> None:
        """What its node says, or that it does not know. One that `stays` may say it again later."""
        worker = self.pick(number, lambda worker: worker.operation is not None)
        self.report(worker, knows=knows)
        if not stays:
            self.workers.remove(worker)

    def report(self, worker: Worker, *, knows: bool = True) -> None:
        assert worker.operation is not None
        node = self.fleet[worker.operation.node_id]
        answer = node.answers.get(worker.work_id)
        worker.believed = False
        if answer is None or node.silent or not knows:
            self.send(OperationReported(worker.work_id, worker.attempt, Outcome.UNKNOWN, error="no answer"))
        else:
            error = None if answer.outcome is Outcome.SUCCEEDED else "it did not work"
            self.send(OperationReported(worker.work_id, worker.attempt, answer.outcome, answer.active, error))

    @precondition(lambda self: any(worker.believed for worker in self.workers))
    @rule(number=ANY, poison=st.booleans(), dead=st.booleans())
    def claim_is_lost(self, number: int, poison: bool, dead: bool) -> None:
        worker = self.pick(number, lambda worker: worker.believed)
        worker.believed = False
        if dead:
            self.workers.remove(worker)
        self.send(ClaimEnded(worker.work_id, worker.attempt, poison, "its process is gone"))

    @precondition(lambda self: any(worker.believed for worker in self.workers))
    @rule(number=ANY)
    def budget_is_spent(self, number: int) -> None:
        worker = self.pick(number, lambda worker: worker.believed)
        worker.believed = False
        self.send(BudgetSpent(worker.work_id, worker.attempt))

    @precondition(lambda self: any(worker.operation is None for worker in self.workers))
    @rule(number=ANY, succeeded=st.sampled_from([True] * 5 + [False]), busy=st.booleans())
    def stage_worker_reports(self, number: int, succeeded: bool, busy: bool) -> None:
        worker = self.pick(number, lambda worker: worker.operation is None)
        self.workers.remove(worker)
        self.report_stage(worker, succeeded=succeeded, busy=busy)

    def report_stage(self, worker: Worker, *, succeeded: bool, busy: bool) -> None:
        stage = self.state.stage_by_id(worker.work_id)
        assert stage is not None
        if stage.kind is not StageKind.DEPLOY or not succeeded:
            self.send(StageReported(stage.id, worker.attempt, succeeded, "as reported"))
        elif busy:
            retry_at = self.play.now + timedelta(seconds=5)
            self.send(LaneBusy(stage.id, worker.attempt, retry_at, "held by another", UUID(int=1)))
        else:
            granted = self.state.granted
            facts = tuple(node.fact() for node in self.fleet.values())
            self.send(LaneOffered(stage.id, worker.attempt, facts))
            if self.state.granted and not granted:
                self.joined = set(self.fleet)

    @precondition(lambda self: self.history)
    @rule(number=ANY)
    def something_is_told_twice(self, number: int) -> None:
        event = self.history[number % len(self.history)]
        assume(not isinstance(event, NodeLost | NodeReturned | Overtaken | PauseExpired | LaneOffered | LaneBusy))
        self.send(event)

    @precondition(lambda self: self.history)
    @rule(number=ANY)
    def a_lane_is_offered_again(self, number: int) -> None:
        offers = [event for event in self.history if isinstance(event, LaneOffered)]
        assume(offers and self.state.granted)
        before = self.state
        self.send(offers[number % len(offers)])
        assert self.state == before

    # --- nodes ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(node.running and not node.silent for node in self.fleet.values()))
    @rule(number=ANY, commits=st.sampled_from([True, True, False]), as_void=st.booleans())
    def node_finishes(self, number: int, commits: bool, as_void: bool) -> None:
        busy = [node for node in self.fleet.values() if node.running and not node.silent]
        busy[number % len(busy)].end(commits=commits, as_void=as_void)

    @rule(number=ANY)
    def node_falls_silent(self, number: int) -> None:
        nodes = list(self.fleet.values())
        assume(sum(node.silent for node in nodes) < 3)
        nodes[number % len(nodes)].silent = True

    @precondition(lambda self: any(node.silent for node in self.fleet.values()))
    @rule(number=ANY)
    def node_is_lost(self, number: int) -> None:
        silent = [key for key, node in self.fleet.items() if node.silent]
        self.lose(silent[number % len(silent)])

    def lose(self, key: UUID) -> None:
        self.lost.add(key)
        self.send(NodeLost(key))

    @precondition(lambda self: any(node.silent for node in self.fleet.values()))
    @rule(number=ANY, commits=st.booleans(), as_void=st.booleans(), rebooted=st.booleans())
    def node_returns(self, number: int, commits: bool, as_void: bool, rebooted: bool) -> None:
        """What ran there went on while nobody could hear of it, or ended, one way or the other."""
        silent = [node for node in self.fleet.values() if node.silent]
        node = silent[number % len(silent)]
        node.silent = False
        if rebooted and node.running:
            node.end(commits=commits, as_void=as_void)
        self.hear_from(node)

    def hear_from(self, node: ModelNode) -> None:
        key = node_id(node.number)
        if self.state.granted:
            self.joined.add(key)
        self.send(NodeReturned(node.fact()))
        self.lost.discard(key)

    @rule(number=ANY)
    def node_is_heard_from(self, number: int) -> None:
        nodes = [node for node in self.fleet.values() if not node.silent]
        assume(nodes)
        self.hear_from(nodes[number % len(nodes)])

    @precondition(lambda self: len(self.fleet) < 10)
    @rule(drained=st.booleans(), state=st.sampled_from(STATES))
    def node_is_new(self, drained: bool, state: tuple[Version | None, Version | None]) -> None:
        node = ModelNode(len(self.fleet) + 1, *state, drained=drained)
        self.add(node)
        self.hear_from(node)

    @rule(number=ANY)
    def node_is_drained_or_not(self, number: int) -> None:
        node = list(self.fleet.values())[number % len(self.fleet)]
        node.drained = not node.drained

    # --- people and time ------------------------------------------------------------------------------------------

    @rule(rollback=st.booleans(), serious=st.sampled_from([False] * 7 + [True]))
    def cancel(self, rollback: bool, serious: bool) -> None:
        assume(serious or self.state.terminal or self.state.course is not Course.FORWARD)
        self.ask(CancelRequested(rollback, "ann"), not self.state.terminal and self.state.course is Course.FORWARD)

    @rule()
    def pause(self) -> None:
        self.ask(PauseRequested("ann"), self.state.deploying() and not self.state.paused)

    @rule()
    def resume(self) -> None:
        self.ask(ResumeRequested("ann"), self.state.status is DeploymentStatus.PAUSED)

    @rule()
    def retry(self) -> None:
        self.ask(RetryRequested("ann"), self.state.status is DeploymentStatus.PAUSED)

    @rule()
    def promote(self) -> None:
        self.ask(PromoteRequested("ann"), False)

    @rule(really=st.sampled_from([False] * 9 + [True]))
    def overtaken(self, really: bool) -> None:
        assume(really or self.state.granted or self.state.terminal)
        self.send(Overtaken(UUID(int=2), "superseded by another"))

    @rule(seconds=st.sampled_from([1, 5, 61]))
    def time_passes(self, seconds: int) -> None:
        self.play.wait(seconds)
        self.send(PauseExpired())

    @rule(seed=st.integers(0, 2**32), steps=st.integers(10, 60))
    def many_things_happen(self, seed: int, steps: int) -> None:
        """A long stretch in one step: deep states are rare in the few dozen steps that hypothesis itself takes."""
        chance = Random(seed)
        for _ in range(steps):
            if self.state.terminal:
                return
            with suppress(UnsatisfiedAssumption):
                self.something_happens(chance)

    def something_happens(self, chance: Random) -> None:
        number, commits, as_void = chance.randrange(10**6), chance.random() < 0.7, chance.random() < 0.5
        claimed = [worker for worker in self.workers if worker.operation]
        believed = any(worker.believed for worker in self.workers)
        silent = any(node.silent for node in self.fleet.values())
        busy = any(node.running and not node.silent for node in self.fleet.values())
        stages = any(worker.operation is None for worker in self.workers)
        likely: list[tuple[float, bool, Callable[[], None]]] = [
            (8, bool(self.claimable()), lambda: self.claim(number)),
            (8, bool(claimed), lambda: self.worker_calls_its_node(number, commits, as_void)),
            (8, bool(claimed), lambda: self.worker_reports(number, stays=as_void, knows=chance.random() < 0.9)),
            (5, busy, lambda: self.node_finishes(number, commits, as_void)),
            (4, stages, lambda: self.stage_worker_reports(number, chance.random() < 0.9, chance.random() < 0.1)),
            (2, believed, lambda: self.claim_is_lost(number, poison=as_void, dead=commits)),
            (1, believed, lambda: self.budget_is_spent(number)),
            (1, True, lambda: self.node_falls_silent(number)),
            (1, silent, lambda: self.node_is_lost(number)),
            (3, silent, lambda: self.node_returns(number, commits, as_void, rebooted=chance.random() < 0.5)),
            (0.5, len(self.fleet) < 10, lambda: self.node_is_new(False, chance.choice(STATES))),
            (0.5, True, lambda: self.node_is_drained_or_not(number)),
            (1, True, lambda: self.node_is_heard_from(number)),
            (0.5, True, self.pause),
            (3, self.state.paused, self.resume),
            (2, self.state.paused, self.retry),
            (0.3, True, lambda: self.cancel(rollback=commits, serious=True)),
            (1, True, lambda: self.time_passes(chance.choice([1, 5]))),
            (0.5, bool(self.history), lambda: self.something_is_told_twice(number)),
        ]
        possible = [(weight, action) for weight, can, action in likely if can]
        (action,) = chance.choices([action for _, action in possible], [weight for weight, _ in possible])
        action()

    # --- what must hold -------------------------------------------------------------------------------------------

    def check(self, before: Deployment | None) -> None:
        state = self.state
        if before is not None and before.terminal:
            assert state == before, "it left its terminal state"
            assert all(isinstance(command, CountStale) for command in self.play.last)
            return
        self.check_lane()
        self.check_works()
        self.check_window(before)
        self.check_nodes(before)
        self.check_status()
        if state.terminal:
            self.endings += 1
            assert self.endings == 1
            self.check_end()

    def check_lane(self) -> None:
        assert self.play.grants() <= 1
        assert self.play.releases() == (1 if self.state.terminal else 0) * self.play.grants()
        assert self.state.granted == (self.play.grants() == 1 and not self.state.terminal)
        assert bool(self.state.operations) == (self.play.grants() == 1)

    def check_works(self) -> None:
        dispatched = self.play.dispatched()
        for work in self.works():
            assert not work.claimable or work.id in dispatched
        for operation in self.state.operations:
            waits = operation.status is OperationStatus.DISPATCHED
            assert operation.claimable or not waits, "dispatched, and nobody may claim it"
            assert not operation.claimable or operation.status.in_flight

    def check_window(self, before: Deployment | None) -> None:
        state = self.state
        let_in = self.let_in(before)
        changing = [op for op in state.operations if op.status in (OperationStatus.DISPATCHED, OperationStatus.RUNNING)]
        assert len(changing) <= state.policy.max_concurrent_nodes
        if not let_in:
            return
        in_flight = [op for op in state.operations if op.status.in_flight]
        assert len(in_flight) <= state.policy.max_concurrent_nodes, "the window is overfull"
        if state.course is Course.FORWARD:
            assert len({op.wave for op in in_flight}) == 1, "two waves at a time"
            assert not state.paused, "let in while paused"
            self.check_waves()
            self.check_in_service()

    def let_in(self, before: Deployment | None) -> list[NodeOperation]:
        """The operations that entered the window with the last event."""
        known = {op.id: op.status for op in before.operations} if before else {}
        return [
            op
            for op in self.state.operations
            if op.status is OperationStatus.DISPATCHED and known.get(op.id) in (None, OperationStatus.PENDING)
        ]

    def check_waves(self) -> None:
        state = self.state
        if state.strategy is not StrategyKind.ROLLING:
            return
        planned = [op for op in state.forward() if op.status is not OperationStatus.SKIPPED]
        size = wave_strategies.wave_size(state.strategy, len({op.node_id for op in planned}), state.policy)
        for wave in {op.wave for op in planned}:
            assert len({op.node_id for op in planned if op.wave == wave}) <= size
        let_in = min(op.wave for op in state.forward() if op.status.in_flight)
        assert not any(op.wave < let_in and op.status is OperationStatus.PENDING for op in planned)

    def check_in_service(self) -> None:
        minimum = self.state.min_in_service()
        if minimum is None:
            return
        latest = self.state.latest_by_node().values()
        serving = [
            op
            for op in latest
            if op.status in (OperationStatus.PENDING, OperationStatus.SUCCEEDED)
            or (op.status is OperationStatus.SKIPPED and op.error == "already runs it")
        ]
        assert len(serving) >= minimum.of(len(latest)), "fewer in service than minInService"

    def check_nodes(self, before: Deployment | None) -> None:
        """Never two at a time on one node, and nothing new before what was sent is resolved."""
        open_nodes = [op.node_id for op in self.state.operations if op.status.open]
        assert len(open_nodes) == len(set(open_nodes)), "two open operations on one node"
        known = {op.id for op in before.operations} if before else set()
        for operation in self.state.operations:
            if operation.id in known:
                continue
            earlier = [op for op in self.state.operations if op.node_id == operation.node_id and op.id != operation.id]
            assert all(not op.status.open and op.status is not OperationStatus.LOST for op in earlier)

    def check_status(self) -> None:
        state = self.state
        if state.terminal:
            return
        if state.course is Course.FORWARD:
            assert state.paused == (state.status is DeploymentStatus.PAUSED)
        else:
            cancelling = state.ending is DeploymentStatus.CANCELLED
            assert state.status is (DeploymentStatus.CANCELLING if cancelling else DeploymentStatus.ROLLING_BACK)
            assert not any(op.status is OperationStatus.PENDING for op in state.operations)

    def check_end(self) -> None:
        state = self.state
        assert all(stage.status.ended for stage in state.stages)
        assert not any(op.status.open for op in state.operations), "it ended with an operation unresolved"
        assert not any(work.claimable for work in self.works())
        lost = {op.node_id for op in state.operations if op.status is OperationStatus.LOST}
        assert lost <= self.lost, "recorded as lost, and never was"
        for key, node in self.fleet.items():
            assert node.running is None or key in lost, "it ended while a node is still at it"
        if self.play.grants():
            self.check_desired()

    def check_desired(self) -> None:
        """I5: every node of the cluster has a desired state, and runs it or is named with the reason."""
        recorded = self.play.desired()
        assert {node_id(number) for number in recorded} == self.joined
        told = self.state.reason or ""
        for number, wanted in recorded.items():
            node = self.fleet[node_id(number)]
            assert node.active == wanted or f"qa-{number}: " in told, f"qa-{number} is not named in {told!r}"
            if self.state.status is DeploymentStatus.SUCCEEDED:
                assert wanted == node.wanted
            elif self.state.status is DeploymentStatus.ROLLED_BACK:
                assert node.active == wanted or node.active == node.at_first, "rolled back, but not there"

    # --- progress -------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """With all faults ended, and every piece of open work done, it ends: no dead end, no circle."""
        if not hasattr(self, "play"):
            return
        rounds = 0
        while not self.state.terminal:
            rounds += 1
            assert rounds < NEVER_MANY, f"it never ends: {self.state}"
            self.quiet_round()

    def quiet_round(self) -> None:
        works = self.claimable()
        if works:
            self.take(works[0])
        elif any(worker.believed for worker in self.workers):
            self.work(next(worker for worker in self.workers if worker.believed))
        elif self.state.paused:
            self.play.send(ResumeRequested("ann"))
        else:
            self.play.wait(61)
            for key, node in list(self.fleet.items()):
                in_flight = any(op.node_id == key and op.status.in_flight for op in self.state.operations)
                waits = self.state.stage(StageKind.DEPLOY).status is StageStatus.WAITING
                if node.silent and in_flight:
                    self.lose(key)
                elif node.silent and waits:
                    node.silent = False


def _profile() -> dict[str, Any]:
    if LONG:
        return {"max_examples": 3000, "stateful_step_count": 60, "derandomize": False}
    return {"max_examples": 150, "stateful_step_count": 20, "derandomize": True}


TestDecide = pytest.mark.timeout(7200 if LONG else 600)(Engine.TestCase)
TestDecide.settings = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True, **_profile()
)
