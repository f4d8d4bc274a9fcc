"""The tasks' base class: whatever a task raises, its claim is given up."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from celery import Celery

from tasks.base import Work
from workers import process


@dataclass
class _Here:
    let_go_of: list[tuple[UUID, Exception]] = field(default_factory=list)

    def let_go(self, work_id: UUID, error: Exception) -> None:
        self.let_go_of.append((work_id, error))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> _Here:
    current = _Here()
    monkeypatch.setattr(process, "current", lambda: current)
    return current


def _task(outcome: Exception | None) -> Work:
    def run(*_ids: str) -> str:
        if outcome is not None:
            raise outcome
        return "done"

    task: Work = Celery("test").task(run, base=Work, name="test.run")
    return task


def test_a_task_that_raises_lets_go_of_its_work(here: _Here) -> None:
    deployment, work, error = uuid4(), uuid4(), RuntimeError("unforeseen")
    with pytest.raises(RuntimeError):
        _task(error)(str(deployment), str(work))
    assert here.let_go_of == [(work, error)]


def test_a_task_that_ends_well_keeps_out_of_it(here: _Here) -> None:
    assert _task(None)(str(uuid4()), str(uuid4())) == "done"
    assert here.let_go_of == []


def test_a_tick_has_no_work_to_let_go_of(here: _Here) -> None:
    with pytest.raises(RuntimeError):
        _task(RuntimeError("unforeseen"))()
    assert here.let_go_of == []
