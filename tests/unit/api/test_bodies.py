"""Places for bodies: how many there are, and that each is given back."""

from __future__ import annotations

import pytest

from app.api.bodies import Bodies
from app.domain.errors import Unavailable


@pytest.mark.parametrize(("threads", "places"), [(1, 1), (2, 1), (4, 1), (8, 3), (32, 12)])
def test_streams_and_bodies_together_leave_a_thread(threads: int, places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.bodies._WAIT_SECONDS", 0.01)
    bodies = Bodies(threads, 10)
    for _ in range(2):
        for _ in range(places):
            bodies.enter()
        for _ in range(3):
            with pytest.raises(Unavailable) as refused:
                bodies.enter()
            assert refused.value.retry_after >= 1
        for _ in range(places):
            bodies.leave()
