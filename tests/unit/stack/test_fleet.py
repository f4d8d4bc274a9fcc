"""--nodes, and what is written for each node."""

import tomllib
from pathlib import Path

import pytest

from deploy.local.datafolder import DataFolder
from deploy.local.fleet import DEFAULT_NODES, Lines, NodeGroup, NodesError, make_certificates, parse_nodes, write_fleet


def test_the_default_is_what_the_api_says() -> None:
    groups = parse_nodes(DEFAULT_NODES)
    assert groups == [
        NodeGroup("Development", 3),
        NodeGroup("QA", 5),
        NodeGroup("Staging", 10),
        NodeGroup("Production", 20),
    ]
    assert [group.prefix for group in groups] == ["development", "qa", "staging", "production"]


@pytest.mark.parametrize("text", ["qa", "qa=", "qa=x", "qa=-1", "=3", "q a=3", "qa=1,QA=2", "qa=501", "qa==3", "1=1"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(NodesError, match="--nodes"):
        parse_nodes(text)


def test_no_node_at_all_is_allowed() -> None:
    assert parse_nodes("") == []
    assert parse_nodes("qa=0, production = 2") == [NodeGroup("QA", 0), NodeGroup("Production", 2)]


def test_configurations_are_those_of_the_groups_and_ids_are_kept(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / 'a "folder"')
    make_certificates(data)
    folder = write_fleet(data, parse_nodes("qa=2,development=1"), 8443)
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["development-1.toml", "qa-1.toml", "qa-2.toml"]
    before = tomllib.loads((folder / "qa-1.toml").read_text())
    assert before["environment"] == "QA" and before["telemetry"] == {"log_level": "info", "log_format": "auto"}
    assert before["orchestrator"]["urls"] == ["https://127.0.0.1:8443"]
    assert Path(before["tls"]["key"]).stat().st_mode & 0o077 == 0
    write_fleet(data, parse_nodes("qa=1"), 9443, Lines("debug", "json"))
    assert [path.name for path in folder.iterdir()] == ["qa-1.toml"]
    after = tomllib.loads((folder / "qa-1.toml").read_text())
    assert after["node_id"] == before["node_id"]
    assert after["telemetry"] == {"log_level": "debug", "log_format": "json"}
    assert after["orchestrator"]["urls"] == ["https://127.0.0.1:9443"]
