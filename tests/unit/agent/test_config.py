"""The agent's TOML file: defaults, paths relative to it, and every wrong setting named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import DEFAULT_PATH, AgentConfig, ConfigInvalid, Telemetry, load_config

GOOD = """
node_id = "qa-1"
environment = "QA"
data_dir = "data"
trusted_keys = "/etc/hotswap/keys"
listen = "127.0.0.1:9443"
[orchestrator]
urls = ["https://127.0.0.1:8443/"]
[tls]
ca = "ca.pem"
certificate = "node.pem"
key = "node.key"
"""


def load(folder: Path, text: str) -> AgentConfig:
    file = folder / "agent.toml"
    file.write_text(text)
    return load_config(file)


def test_defaults_and_relative_paths(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.data_dir == tmp_path / "data"
    assert config.trusted_keys == Path("/etc/hotswap/keys")
    assert config.tls.key == tmp_path / "node.key"
    assert (config.listen_host, config.listen_port, config.advertise) == ("127.0.0.1", 9443, "127.0.0.1")
    assert config.orchestrator_urls == ("https://127.0.0.1:8443",)
    assert (config.path, config.keep_releases, config.map_listen) == (DEFAULT_PATH, 5, False)
    assert config.archive.entries == 20_000


def test_everything_given(tmp_path: Path) -> None:
    more = '[labels]\nrole = "web"\nrack = 7\n[local]\nmap_listen = true\nmap_destinations = true\n'
    more += "[limits]\nratio = 10\nlog_bytes = 1000\n"
    config = load(tmp_path, 'keep_releases = 2\npath = "/opt/bin"\nadvertise = "10.0.0.5"\n' + GOOD + more)
    assert config.labels == {"role": "web", "rack": "7"}
    assert (config.map_listen, config.map_destinations) == (True, True)
    assert (config.archive.ratio, config.limits.log_bytes) == (10.0, 1000)
    assert (config.keep_releases, config.path, config.advertise) == (2, "/opt/bin", "10.0.0.5")


def test_where_spans_go_is_in_the_file_or_in_the_variables_of_opentelemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(tmp_path, GOOD).telemetry == Telemetry("info", "auto", "", {})
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=planted")
    told = load(tmp_path, GOOD).telemetry
    assert (told.otlp_endpoint, told.otlp_headers) == ("http://collector:4318", {"api-key": "planted"})
    assert "planted" not in repr(told)
    given = load(tmp_path, GOOD + '[telemetry]\notlp_endpoint = "https://other"\notlp_headers = {}\n').telemetry
    assert (given.otlp_endpoint, given.otlp_headers) == ("https://other", {})


def test_ipv6_listen(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD.replace("127.0.0.1:9443", "[::1]:9443")).listen_host == "::1"


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('node_id = "qa-1"', "", "node_id is missing"),
        ('node_id = "qa-1"', "node_id = 1", "node_id is not of type str"),
        ('node_id = "qa-1"', 'node_id = "qa-1"\nnod = 1', "unknown settings: nod"),
        ('key = "node.key"', "", "tls.key is missing"),
        ('key = "node.key"', 'key = "node.key"\nkeys = "x"', "unknown settings: tls.keys"),
        ('["https://127.0.0.1:8443/"]', '["http://127.0.0.1:8443"]', "orchestrator.urls"),
        ('["https://127.0.0.1:8443/"]', "[]", "orchestrator.urls"),
        ('"127.0.0.1:9443"', '"9443"', "listen"),
        ('"127.0.0.1:9443"', '"127.0.0.1:99999"', "listen"),
        ("[tls]", "[limits]\nentries = true\n[tls]", "limits.entries"),
        ("[tls]", "[local]\nmap_listen = 1\n[tls]", "local.map_listen"),
        ("[tls]", '[telemetry]\nlog_level = "loud"\n[tls]', "telemetry.log_level is one of"),
        ("[tls]", '[telemetry]\notlp_endpoint = "127.0.0.1:4318"\n[tls]', "telemetry.otlp_endpoint"),
        ("[tls]", "[[[", "cannot read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, before: str, after: str, named: str) -> None:
    with pytest.raises(ConfigInvalid, match=named):
        load(tmp_path, GOOD.replace(before, after))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot read"):
        load_config(tmp_path / "none.toml")
