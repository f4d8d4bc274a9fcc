"""`make demo`, `make demo STORY=pipeline`, `make demo KEEP=1`, `make demo STOP=1`: see README.md.

Exit codes: 0 all was as expected; 1 something differed or did not work; 2 wrong usage; 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from examples.demo.demo import Demo
from examples.demo.errors import Interrupted
from examples.demo.folders import CLONE, folders
from examples.demo.leftovers import what_is_left
from examples.demo.narrator import Narrator
from examples.demo.pipeline_story import PIPELINE
from examples.demo.signals import Signals
from examples.demo.stack import stop_kept
from examples.demo.swap_story import SWAP

STORIES = {"swap": SWAP, "pipeline": PIPELINE}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="The demo of HotSwap.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--keep", action="store_true", help="leave the stack up at the end")
    what.add_argument("--stop", action="store_true", help="stop the stacks that were left up")
    parser.add_argument("--story", choices=STORIES, default="swap", help="which one is told")
    options = parser.parse_args()
    narrator, signals = Narrator(), Signals()
    signals.install()
    try:
        if options.stop:
            return stop_all_kept(narrator)
        return Demo(STORIES[options.story], narrator, signals, keep=options.keep).run()
    except Interrupted as interrupted:
        return 128 + interrupted.number
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python would flush has nowhere to go
        return 128 + signal.SIGPIPE


def stop_all_kept(narrator: Narrator) -> int:
    """Stop what `make demo KEEP=1` left up. The exit code."""
    kept = [folder for folder in folders() if folder.in_use() and not folder.being_told()]
    if not kept:
        narrator.plain(f"No stack of a demo is up in {CLONE}.")
        return 0
    code = 0
    for folder in kept:
        narrator.plain(f"Stopping the stack in {folder.shown} ...")
        stopped, left = stop_kept(folder), what_is_left(folder.path)
        if stopped and not left:
            folder.remove()
            narrator.plain("Stopped.")
        else:
            narrator.alarm(
                f"it has not stopped; still running: {', '.join(str(each.pid) for each in left) or 'nothing'}"
            )
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
