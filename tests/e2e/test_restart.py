"""kill -9 of `hotswap up` in the middle of a rollout over many nodes, and a new start over the same data folder."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until
from tests.load import Load

NODES = 20


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that nobody else uses, and its nodes are all of one environment."""
    running = Stack(tmp_path_factory.mktemp("restart"), f"production={NODES}")
    try:
        running.start()
        yield running
        assert running.stop() == 0, running.said
        until(lambda: not running.survivors(), "all has ended")
    finally:
        running.clear_away()


def test_a_rollout_survives_kill_9_of_the_whole_stacks_supervisor(own_stack: Stack) -> None:
    module = ProbeModule(own_stack, "probe", own_stack.folder.parent / "probe")
    before = module.served("Production")
    endpoints = module.endpoints("Production")
    assert len(endpoints) == NODES
    moment = random.randrange(1, NODES - 5)  # so many nodes are switched at the time; some are on their way
    with Load(endpoints, pause=0.2) as load:
        load.start(keep_alive=1, one_shot=1)
        load.wait_for(2)
        version = module.release(Manner.SLOW)
        execution_id = module.deploy(version, "Production")
        switched = 0
        for event in module.api.events(execution_id):
            switched += event["type"] == "operation.succeeded"
            if switched == moment:
                break
        own_stack.kill()
        own_stack.start()
        ended = module.api.finished(execution_id)
        load.wait_for(2)
    assert ended["status"] == "Succeeded", (moment, ended, module.api.operations(execution_id))
    assert module.endpoints("Production") == endpoints
    assert set(module.answers("Production").values()) == {version}
    starts = {name: own_stack.node(name).starts(module.name) for name in endpoints}
    assert {name: those for name, those in starts.items() if those != [before, version]} == {}, moment
    assert load.tally.failures == {} and set(load.tally.versions) == {before, version}
