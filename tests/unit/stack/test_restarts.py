"""When a service that died starts again."""

from deploy.local.service import Restarts


def test_back_off_doubles_up_to_two_seconds_and_is_never_given_up() -> None:
    restarts = Restarts()
    waits = [restarts.died(started=float(at), now=at + 0.5) for at in range(40)]
    assert waits[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert set(waits[6:]) == {2.0}


def test_one_that_ran_for_a_while_starts_at_once() -> None:
    restarts = Restarts()
    for at in range(8):
        restarts.died(started=float(at), now=at + 0.5)
    assert restarts.died(started=10.0, now=21.0) == 0.1


def test_a_crash_loop_is_reported_once_a_minute() -> None:
    restarts = Restarts()
    reported = []
    for at in range(130):
        restarts.died(started=float(at), now=float(at))
        if restarts.loops(float(at)):
            reported.append(at)
    assert reported == [4, 64, 124]


def test_rare_deaths_are_no_crash_loop() -> None:
    restarts = Restarts()
    for at in range(0, 1000, 20):
        restarts.died(started=float(at), now=float(at))
        assert not restarts.loops(float(at))
