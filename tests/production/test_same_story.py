"""The Procfile, the systemd units and the compose file start the same processes."""

import re
import shutil
import subprocess

import pytest
import yaml

from tests.production.installation import COMMANDS, UNITS, unit_command
from tests.support.stack import ROOT

SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = ("migrate", "web", "workers", "scheduler")
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def compose_command(name: str) -> str:
    own = SERVICES[name].get("command")
    return " ".join(own) if own else " ".join(re.findall(r'"([^"]+)"', DOCKERFILE.splitlines()[-1]))


@pytest.mark.parametrize("name", COMMANDS)
def test_units_and_compose_agree(name):
    assert compose_command(name) == COMMANDS[name]


def test_migration_comes_first():
    assert (
        compose_command("migrate") == unit_command("clinic-migrate.service") == "flask --app wsgi db upgrade"
    )
    for name in set(OURS) - {"migrate"}:
        assert "migrate" in SERVICES[name]["depends_on"]


def test_local_processes_are_those_of_production():
    local = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)
    assert {local["web"], local["workers"], local["scheduler"]} == set(COMMANDS.values())


@pytest.mark.parametrize("name", OURS)
def test_containers_are_locked_down(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert re.search(r"^USER \d+$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"web", "migrate"}))
def test_health_is_checked(name):
    assert SERVICES[name]["healthcheck"]["test"]


def test_no_secret_is_in_the_environment():
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    secret = re.compile("KEY|PASSWORD|TOKEN|DATABASE_URL|REDIS_URL")
    assert [name for name in given if secret.search(name) and not name.endswith("_FILE")] == []


def test_systemd_reads_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here.")
    for path in UNITS.iterdir():  # only the programs' paths are not of this machine
        text = re.sub(r"^(ExecStart)=/opt\S+", r"\1=/bin/true", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text)
    names = [str(path) for path in tmp_path.iterdir() if "@" not in path.name]
    done = subprocess.run(["systemd-analyze", "verify", *names], check=False, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "clinic" in line]
    assert complaints == []
