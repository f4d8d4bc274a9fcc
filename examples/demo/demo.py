"""One run of the demo: a stack, the story over it, the table, and the end of everything that was not to be kept."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from examples.demo.command import Hotswap
from examples.demo.errors import DemoFailed
from examples.demo.findings import Findings
from examples.demo.folders import DemoFolder, make_folder
from examples.demo.leftovers import what_is_left
from examples.demo.narrator import Narrator
from examples.demo.signals import Signals
from examples.demo.stack import Stack, environment_of, nodes_argument
from examples.demo.story import Scene, Story


class Demo:
    """`keep` leaves the stack up when the story has been told to its end."""

    def __init__(self, story: Story, narrator: Narrator, signals: Signals, *, keep: bool) -> None:
        self._story = story
        self._narrator = narrator
        self._signals = signals
        self._keep = keep
        self._findings = Findings()
        self._program = Path(sys.executable).with_name("hotswap")
        self._stack: Stack | None = None

    def run(self) -> int:
        """The exit code: 0 when everything was as expected, else 1. Raises Interrupted, BrokenPipeError."""
        began = time.monotonic()
        folder = make_folder()
        try:
            self._tell(folder)
        except DemoFailed as failed:
            self._narrator.alarm(str(failed))
            self._end(folder)
            self._narrator.alarm("The demo could not be told to its end.")
            self._tell_logs(folder)
            return 1
        except BaseException:
            if self._end(folder):
                folder.remove()
            raise
        if not self._keep:
            self._findings.equal("processes left after the stop", 0, 0 if self._end(folder) else 1)
        self._show_table()
        wrong = self._findings.wrong
        if wrong:
            self._narrator.alarm(f"{len(wrong)} of {len(self._findings.all)} differed.")
            self._tell_logs(folder)
        else:
            self._narrator.say(f"All as expected, in {time.monotonic() - began:.0f} s.")
        if self._keep:
            self._tell_kept(folder)
        elif not wrong:
            folder.remove()
        return 1 if wrong else 0

    def _tell(self, folder: DemoFolder) -> None:
        environment = environment_of(folder, os.environ)
        self._narrator.plain(self._story.opening)
        self._narrator.plain("Lines after $ can be typed; what they print is shortened. Ctrl-C stops everything.")
        self._narrator.chapter(
            "The stack",
            f"PostgreSQL, Valkey (a Redis), the orchestrator, and {sum(self._story.nodes.values())} nodes: real agents "
            "with ports of their own.",
        )
        self._narrator.command(f"hotswap up --port 0 --nodes {nodes_argument(self._story.nodes)}")
        began = time.monotonic()
        with self._signals.held():
            self._stack = Stack.start(self._program, folder, environment, self._story.nodes, outlives_us=self._keep)
        urls = self._stack.wait_until_ready()
        self._narrator.output(f"ready after {time.monotonic() - began:.0f} s at {urls['api']}")
        hotswap = Hotswap(self._program, folder.path, environment, self._narrator)
        self._story.tell(Scene(hotswap, folder, self._narrator, self._findings))

    def _end(self, folder: DemoFolder) -> bool:
        """Stop the stack, and see whether everything is gone. No signal and no lost reader cuts this short."""
        self._signals.ignore("already stopping, 20 s at most")
        self._say_quietly("")
        self._say_quietly("stopping the stack ...")
        if self._stack is not None and not self._stack.stop():
            self._say_quietly("it did not stop in order")
        left = what_is_left(folder.path)
        for process in left:
            self._say_quietly(f"still running: {process.pid} {process.command[:90]}")
        return not left

    def _say_quietly(self, text: str) -> None:
        with suppress(OSError):
            self._narrator.say(text)

    def _show_table(self) -> None:
        self._narrator.say()
        for line in self._findings.table():
            self._narrator.say(line)
        self._narrator.say()

    def _tell_logs(self, folder: DemoFolder) -> None:
        self._narrator.say(f"Logs are in {folder.shown}/data/logs, until the next demo.")

    def _tell_kept(self, folder: DemoFolder) -> None:
        urls = folder.urls() or {}
        settings = f"HOTSWAP_DATA_DIR={folder.data} HOTSWAP_CONFIG={folder.configuration}"
        self._narrator.chapter("The stack stays up", "It goes on running after this command has ended.")
        self._narrator.say(f"API      {urls.get('api')}   (documentation: {urls.get('docs')})")
        self._narrator.say(f"Flower   {urls.get('flower')}   (admin, password in {folder.shown}/data/secrets/flower)")
        self._narrator.say(f"Users    in {folder.shown}/data/credentials.json; you are logged in as deployer")
        self._narrator.say(f"Use it   export {settings}")
        self._narrator.say("         .venv/bin/hotswap status")
        self._narrator.say("Stop it  make demo STOP=1")
