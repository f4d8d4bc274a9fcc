"""One stack for all end-to-end tests of a session. Each test deploys a module of its own, so that none meets another's
lane; what a test does to nodes and processes, it undoes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.collector import Collector
from tests.e2e.api import Api
from tests.e2e.probe_module import ProbeModule
from tests.e2e.source_module import SourceModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

NODES = "development=1,qa=5,staging=4,production=2"
_numbers = itertools.count(1)

PLANTED = "planted-in-the-environment-f1d0a7"
"""A secret in the environment of every process of the stack, under a name that no list of secrets has."""

LONGEST = 900  # seconds for a test on a slow machine; what it waits for has shorter deadlines of its own

ModuleMaker = Callable[..., ProbeModule]
NameMaker = Callable[[str], str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the whole stack to start, others for workers that start anew."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Takes the traces of the stack."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """The running stack, with a collector of its traces. At the end it must stop as asked, and leave nothing."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={collector.key}",
        "WAREHOUSE_DOOR": PLANTED,
        "HOTSWAP_TRACE_URL": "http://traces.example/trace/{trace_id}",
    }
    running = Stack(tmp_path_factory.mktemp("e2e"), NODES, settings)
    try:
        running.start()
        yield running
        assert running.stop() == 0, running.said
        until(lambda: not running.survivors(), f"all has ended: {running.survivors()}")
    finally:
        running.clear_away()


@pytest.fixture
def api(stack: Stack) -> Api:
    """The API as a deployer."""
    return stack.api()


@pytest.fixture
def new_name() -> NameMaker:
    """Makes names of modules that nobody else has."""
    return lambda kind: f"{kind}-{next(_numbers)}"


@pytest.fixture
def new_module(stack: Stack, new_name: NameMaker, tmp_path: Path) -> ModuleMaker:
    """Makes probe modules."""

    def make(**options: object) -> ProbeModule:
        name = new_name("probe")
        return ProbeModule(stack, name, tmp_path / name, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def module(new_module: ModuleMaker) -> ProbeModule:
    """One such module."""
    return new_module()


@pytest.fixture
def source(stack: Stack, new_name: NameMaker, tmp_path: Path) -> SourceModule:
    """A module that is built and tested."""
    name = new_name("built")
    return SourceModule(stack, name, tmp_path / name)
