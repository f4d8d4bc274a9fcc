"""What beat sends is there to be done, and a tick that comes late is none."""

from __future__ import annotations

from importlib import import_module

from workers.schedule import SCHEDULE


def test_every_tick_is_a_task_of_the_control_queue() -> None:
    control = import_module("tasks.control")
    tasks = {task.name: task for task in vars(control).values() if hasattr(task, "name") and hasattr(task, "delay")}
    for tick in SCHEDULE.values():
        assert tasks[tick["task"]].ignore_result
        assert tick["options"]["queue"] == "control"
        assert tick["options"]["expires"] <= 2 * tick["schedule"]
