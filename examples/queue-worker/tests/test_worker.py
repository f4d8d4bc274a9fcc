"""The worker as an agent runs it: real processes on a real folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

MODULE = Path(__file__).parent.parent


class Worker(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = Path(folder.name)
        self.queue = self.data / "queue"
        (self.queue / "new").mkdir(parents=True)

    def environment(self, version: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOTSWAP_DATA_DIR": str(self.data),
            "HOTSWAP_VERSION": version,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self, version: str = "1.0.0") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker"],
            cwd=MODULE, env=self.environment(version), stdout=subprocess.PIPE, text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertIn("starts", process.stdout.readline())
        return process

    def check(self, version: str = "1.0.0") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "worker.check"],
            cwd=MODULE, env=self.environment(version), capture_output=True, text=True, check=False, timeout=60,
        )

    def put(self, name: str, content: str) -> None:
        aside = self.queue / name
        aside.write_text(content)
        aside.replace(self.queue / "new" / name)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline, "waited for in vain")
            time.sleep(0.01)

    def finished(self, folder: str = "done") -> set[str]:
        found = self.queue / folder
        return {path.name for path in found.iterdir()} if found.exists() else set()

    def test_counts_words_and_ends_on_sigterm(self) -> None:
        process = self.start()
        self.put("a", json.dumps({"text": "three small words"}))
        self.put("b", "no job")
        self.wait_for(lambda: self.finished() == {"a"} and self.finished("failed") == {"b"})
        self.assertEqual(json.loads((self.queue / "done" / "a").read_text()), {"words": 3, "version": "1.0.0"})
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(list((self.queue / "claimed").iterdir()), [])

    def test_every_job_is_done_once_while_one_worker_takes_over_from_another(self) -> None:
        names = {f"{number:03}" for number in range(200)}
        for name in names:
            self.put(name, json.dumps({"text": "one"}))
        old = self.start("1.0.0")
        self.wait_for(lambda: len(self.finished()) > 5)
        self.start("1.1.0")
        old.send_signal(signal.SIGTERM)
        self.assertEqual(old.wait(60), 0)
        self.wait_for(lambda: self.finished() == names)
        self.assertEqual(self.finished("failed"), set())

    def test_a_killed_workers_job_is_taken_back(self) -> None:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait(60)
        (self.queue / "claimed").mkdir()
        (self.queue / "claimed" / f"{dead.pid}.job").write_text(json.dumps({"text": "again"}))
        self.start()
        self.wait_for(lambda: self.finished() == {"job"})

    def test_health_is_the_workers_own(self) -> None:
        before = self.check()
        self.assertEqual((before.returncode, "no worker has started" in before.stderr), (1, True))
        process = self.start()
        self.wait_for(lambda: self.check().returncode == 0)
        self.assertEqual(self.check("2.0.0").returncode, 1)
        process.kill()
        process.wait(60)
        after = self.check()
        self.assertEqual((after.returncode, "is gone" in after.stderr), (1, True))


if __name__ == "__main__":
    unittest.main()
