"""What is answered, without sockets."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from greeter.greetings import Greetings
from greeter.metrics import Metrics
from greeter.service import Answer, Service

SHIPPED = Path(__file__).parent.parent / "greetings.json"


def service(greetings: Path = SHIPPED, data_folder: str | None = None) -> Service:
    return Service("web-greeter", "1.2.3", Greetings(str(greetings)), data_folder, Metrics())


def get(target: str, of: Service | None = None) -> Answer:
    return (of or service()).answer("GET", target, b"", 1)


class Greeting(unittest.TestCase):
    def test_greets_the_world_in_english(self) -> None:
        answer = get("/")
        self.assertEqual((answer.status, answer.body), (200, b"Hello, world! (version 1.2.3)\n"))

    def test_greets_by_name_and_language(self) -> None:
        self.assertEqual(get("/greet?name=Ada&language=de").body, b"Hallo, Ada! (version 1.2.3)\n")

    def test_an_unknown_language_is_english(self) -> None:
        self.assertIn(b"Hello, Ada!", get("/greet?name=Ada&language=tlh").body)

    def test_a_name_is_no_template(self) -> None:
        self.assertIn(b"Hello, {name}!", get("/greet?name={name}").body)

    def test_takes_json(self) -> None:
        answer = service().answer("POST", "/greet", json.dumps({"name": "Ada", "language": "fr"}).encode(), 1)
        self.assertEqual((answer.status, answer.body), (200, b"Bonjour, Ada ! (version 1.2.3)\n"))

    def test_what_is_no_such_json_is_400(self) -> None:
        for body in (b"", b"{", b"[]", b'"x"', b"{}", b'{"name": 1}', b"\xff", b"[" * 50_000):
            self.assertEqual(service().answer("POST", "/greet", body, 1).status, 400, body[:10])

    def test_every_answer_carries_the_version(self) -> None:
        for target in ("/", "/greet", "/healthz", "/version", "/metrics", "/nowhere", "//["):
            self.assertIn(b"1.2.3", get(target).body, target)

    def test_other_methods_and_paths(self) -> None:
        self.assertEqual(service().answer("POST", "/healthz", b"", 1).status, 405)
        self.assertEqual(get("/nowhere").status, 404)
        self.assertEqual(get("//[").status, 400)


class Health(unittest.TestCase):
    def test_well(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(get("/healthz", service(data_folder=folder)).status, 200)

    def test_greetings_that_are_not_there(self) -> None:
        answer = get("/healthz", service(Path("greetings-2.json")))
        self.assertEqual(answer.status, 503)
        self.assertIn(b"cannot read the greetings in greetings-2.json", answer.body)
        self.assertEqual(get("/", service(Path("greetings-2.json"))).status, 503)

    def test_greetings_that_break_and_are_mended(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "greetings.json"
            running = service(file)
            good, bad = '{"en": "Hi, {name}"}', '{"de": "x"}'
            for text, status in ((good, 200), ("{", 503), (bad, 503), (good, 200)):
                file.write_text(text)
                self.assertEqual(get("/healthz", running).status, status, text)

    def test_a_data_folder_that_is_gone(self) -> None:
        self.assertEqual(get("/healthz", service(data_folder="/nowhere")).status, 503)


class Counting(unittest.TestCase):
    def test_the_exposition(self) -> None:
        metrics = Metrics()
        metrics.observe("GET", "/", 200, 0.003)
        metrics.observe("GET", "/", 200, 0.004)
        metrics.observe("GET", "/", 503, 20.0)
        lines = metrics.text("1.2.3", 7).splitlines()
        self.assertIn('http_requests_total{method="GET",route="/",code="200"} 2', lines)
        self.assertIn('http_requests_total{method="GET",route="/",code="503"} 1', lines)
        self.assertIn('http_request_duration_seconds_bucket{le="0.0025"} 0', lines)
        self.assertIn('http_request_duration_seconds_bucket{le="0.005"} 2', lines)
        self.assertIn('http_request_duration_seconds_bucket{le="+Inf"} 3', lines)
        self.assertIn("http_request_duration_seconds_count 3", lines)
        self.assertIn("http_connections 7", lines)
        names = {line.split()[0] for line in lines}
        self.assertLessEqual(
            {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}, names
        )


if __name__ == "__main__":
    unittest.main()
