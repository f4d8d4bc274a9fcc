"""What is started: the Procfile's command lines, with an environment from which every process can read its settings."""

import os
import shlex
from pathlib import Path

import pytest

from app.orchestrator import bootstrap
from config.settings import load
from deploy.local.datafolder import DataFolder
from deploy.local.fleet import FIRST_ENVIRONMENTS, NodesError, parse_nodes
from deploy.local.options import ROOT, Options
from deploy.local.plan import Plan, make_plan, phase_of

OUTER = {"PATH": os.defpath, "HOTSWAP_LOG_LEVEL": "debug", "HOTSWAP_ADMIN_PASSWORD": "correct horse battery"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    data = DataFolder(tmp_path / "data")
    return make_plan(Options(data.root, 8000, tuple(parse_nodes("qa=2"))), data, 8000, OUTER)


def test_the_procfile_names_every_process_with_its_command_line(plan: Plan) -> None:
    lines = [line for line in (ROOT / "Procfile").read_text().splitlines() if line and not line.startswith("#")]
    named = {name: shlex.split(command) for name, _, command in (line.partition(": ") for line in lines)}
    ours = {service.name: service.command for service in plan.services if service.name not in ("postgres", "valkey")}
    assert named.keys() == ours.keys()
    for name, command in named.items():
        assert [_core(word) for word in ours[name]] == [_core(word) for word in command], name


def _core(word: str) -> str:
    """A word of a command line without the folder before its last part, which differs between machines."""
    known = ("gunicorn_api.py", "gunicorn_agents.py", "flower.py", "agents", "python", "celery", "gunicorn")
    last = word.rpartition("/")[2]
    if last.startswith("python"):
        return "python"
    return last if last in known else word if "schedule" not in word or word.startswith("-") else "schedule"


def test_the_environment_is_complete_and_agents_get_no_secret(plan: Plan) -> None:
    settings = load(plan.environment)
    assert settings.expected_nodes == 2
    assert settings.log_level == "debug"
    assert settings.flower_password is not None
    assert settings.admin_password is not None
    assert settings.admin_password.get_secret_value() == "correct horse battery"
    assert settings.jwt_secret != settings.task_secret
    agents = next(service for service in plan.services if service.name == "agents")
    assert [name for name in agents.environment if name.startswith("HOTSWAP_")] == ["HOTSWAP_STACK"]


def test_agents_send_their_traces_where_the_orchestrator_sends_its(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    outer = {**OUTER, "HOTSWAP_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}
    plan = make_plan(Options(data.root, 8000, tuple(parse_nodes("qa=1"))), data, 8000, outer)
    agents = next(service for service in plan.services if service.name == "agents")
    told = {name: value for name, value in agents.environment.items() if name.startswith("OTEL_")}
    assert told == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}
    settings = load(plan.environment)
    assert settings.otlp_endpoint == "http://127.0.0.1:4318"
    assert settings.otlp_headers is not None and settings.otlp_headers.get_secret_value() == "a=b"


def test_a_password_given_for_flower_is_the_one_that_is_told(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    outer = {**OUTER, "HOTSWAP_FLOWER_PASSWORD": "look but do not touch"}
    plan = make_plan(Options(data.root, 8000, tuple(parse_nodes("qa=1"))), data, 8000, outer)
    assert plan.flower_password == "look but do not touch"


def test_no_secret_is_on_a_command_line_or_in_a_repr(plan: Plan) -> None:
    settings = load(plan.environment)
    secrets = [
        settings.database_url,
        settings.broker_url,
        settings.jwt_secret.get_secret_value(),
        plan.flower_password,
        *plan.credentials.values(),
    ]
    lines = " ".join(word for service in plan.services for word in service.command)
    for secret in secrets:
        assert secret not in lines
        assert secret not in repr(plan)


def test_a_phase_is_known_by_the_name_alone(plan: Plan) -> None:
    """The ledger has only names: it has to end orphans in the same order."""
    for service in plan.services:
        if not service.once:
            assert phase_of(service.name) is service.phase


def test_nodes_of_an_environment_that_a_new_stack_does_not_have_are_told_at_once(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    options = Options(data.root, 8000, tuple(parse_nodes("qa=1,quality=2")))
    with pytest.raises(NodesError, match="no environment Quality: a new stack has Development, QA, Staging"):
        make_plan(options, data, 8000, OUTER)
    data.path("postgres", "data").mkdir(parents=True)
    data.path("postgres", "data", "PG_VERSION").touch()  # one that has run before may have others by now
    assert make_plan(options, data, 8000, OUTER).services


def test_the_first_environments_are_those_of_the_bootstrap() -> None:
    assert tuple(name for name, _ in bootstrap._ENVIRONMENTS) == FIRST_ENVIRONMENTS


def test_a_stack_without_nodes_has_no_agents_to_keep_dying(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    plan = make_plan(Options(data.root, 8000, tuple(parse_nodes("qa=0"))), data, 8000, OUTER)
    assert "agents" not in {service.name for service in plan.services}
