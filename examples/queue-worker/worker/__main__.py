"""`python3 -m worker`: works until SIGTERM, and finishes the job at hand."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from worker.heartbeat import beat, heartbeat_file
from worker.queue import Job, Queue

_BETWEEN_LOOKS = 0.2


def main() -> int:
    """Exit code 0 after SIGTERM."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    queue = Queue(Path(os.environ["HOTSWAP_DATA_DIR"]) / "queue")
    version = os.environ.get("HOTSWAP_VERSION", "development")
    print(f"worker {version} starts, process {os.getpid()}, took back {queue.take_back()} jobs", flush=True)
    while not ending.is_set():
        beat(heartbeat_file())
        job = queue.claim()
        if job is None:
            ending.wait(_BETWEEN_LOOKS)
        else:
            _work(queue, job, version)
    print(f"worker {version} ends", flush=True)
    return 0


def _work(queue: Queue, job: Job, version: str) -> None:
    try:
        text = json.loads(job.read())["text"]
        result = {"words": len(text.split()), "version": version}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"{job.name} is no job: {error!r}", flush=True)
        queue.finish(job, json.dumps({"error": repr(error), "version": version}).encode(), well=False)
        return
    queue.finish(job, json.dumps(result).encode(), well=True)


if __name__ == "__main__":
    sys.exit(main())
