"""The compose file, as far as it can be checked without a Docker engine."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.credentials import EnvironmentCredentials
from relight.fleet_file import load_fleet
from relight.lab.executors import DURATIONS

PROJECT = Path(__file__).resolve().parents[1]
TEXT = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FLEET = load_fleet(PROJECT / "include" / "deploy" / "fleet.yaml")
DOCKERFILE = (PROJECT / "include" / "deploy" / "Dockerfile").read_text(encoding="utf-8")

HEALTHY = runpy.run_path(str(PROJECT / "include" / "deploy" / "healthy.py"))

ONE_SHOT = {"airflow-init", "store-init"}
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
MACHINES = {"db-1", "db-2", "db-3"}

SECRET = "0123abcdef"

USED = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
"""A variable that compose replaces, and what stands behind its name."""


def documented() -> dict[str, str]:
    lines = (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def own(service: dict[str, Any]) -> dict[str, str]:
    """The environment of a service, and what compose writes into it."""
    files = {config["source"]: COMPOSE["configs"][config["source"]]["content"] for config in service.get("configs", [])}
    return {key: str(value) for key, value in (service.get("environment", {}) | files).items()}


def filled(value: str) -> str:
    return USED.sub(SECRET, value)


def is_secret(name: str) -> bool:
    return bool(re.search("PASSWORD|SECRET|KEY", name))


def test_every_part_of_the_deployment_is_there() -> None:
    assert set(SERVICES) == AIRFLOW | MACHINES | ONE_SHOT | {"postgres", "redis", "store"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_a_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.match(r"\d+\.\d+", tag), f"{image} has the moving tag {tag!r}"


def test_the_shard_is_three_servers_of_mysql_8_4_or_newer() -> None:
    tags = {tuple(map(int, SERVICES[name]["image"].rpartition(":")[2].split("."))) for name in MACHINES}
    assert min(tags) >= (8, 4)
    assert all(SERVICES[name]["image"].startswith("relight/mysql:") for name in MACHINES)
    (series,) = {SERVICES[name]["build"]["args"]["MYSQL_SERIES"] for name in MACHINES}
    assert tuple(map(int, re.findall(r"\d+", series))) >= (8, 4)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries"} <= set(check)


@pytest.mark.parametrize("name", sorted(AIRFLOW | MACHINES))
def test_a_health_check_of_airflow_is_one_cheap_process_that_ends_by_itself(name: str) -> None:
    """Docker kills one process when a check takes too long: not the children of a shell."""
    check = SERVICES[name]["healthcheck"]
    command, *question = check["test"]
    assert command == "CMD"
    assert question[:2] == ["python", "-I"]
    asked = question[question.index("/opt/relight/deploy/healthy.py") + 1 :]
    while asked:
        asked = asked[1 + HEALTHY["QUESTIONS"][asked[0]][1] :]
    assert int(check["timeout"].removesuffix("s")) > HEALTHY["DEADLINE"]
    # Only who asks the database needs what is installed beside Python.
    assert ("-S" in question) == ("job" not in question)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_what_a_health_check_leaves_behind_is_reaped(name: str) -> None:
    has_dumb_init = name in AIRFLOW | MACHINES  # see the Dockerfile
    assert has_dumb_init or SERVICES[name].get("init") is True


def test_the_heartbeat_of_workers_is_written_where_their_health_check_looks() -> None:
    folder, file = "/opt/relight/deploy", "celery_settings"
    assert f"PYTHONPATH={folder}" in DOCKERFILE
    assert (PROJECT / "include" / "deploy" / f"{file}.py").exists()
    for name in MACHINES | {"worker"}:
        assert SERVICES[name]["environment"]["AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS"] == f"{file}.CONFIG"


def test_loops_are_compiled_for_the_processor_that_containers_say_they_have() -> None:
    build, runs = DOCKERFILE.split(" AS airflow\n")
    chosen = [line for line in (build, runs) if "NUMBA_CPU_NAME=generic" in line]
    assert len(chosen) == 2
    assert build.index("ENV NUMBA_CPU_NAME") < build.index("import relight.binlog.kernels")


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_exists_and_can_become_true(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == expected


@pytest.mark.parametrize("name", sorted(AIRFLOW | MACHINES))
def test_airflow_starts_only_when_its_database_is_migrated(name: str) -> None:
    assert {"airflow-init", "postgres", "redis"} <= set(SERVICES[name]["depends_on"])


def test_every_mounted_file_exists_and_every_named_volume_is_declared() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (PROJECT / source).exists(), source
                assert mount.endswith(":ro"), f"{source} can be changed from inside a container"
            else:
                assert source in COMPOSE["volumes"], source


def test_no_two_servers_share_a_volume_for_their_data() -> None:
    data = [m for name in MACHINES for m in SERVICES[name]["volumes"] if m.endswith(":/var/lib/mysql")]
    assert len(set(data)) == len(MACHINES)


def test_data_and_work_lie_on_the_volume_so_that_a_restored_directory_can_be_renamed_into_place() -> None:
    for shard in FLEET.shards:
        for server in (*shard.servers, shard.scratch):
            assert server is not None
            assert Path("/var/lib/mysql") in server.datadir.parents
            assert server.workdir.parent == server.datadir.parent


def test_every_variable_is_documented_and_nothing_else_is() -> None:
    assert {name for name, _ in USED.findall(TEXT)} == set(documented())


def test_no_secret_has_a_default() -> None:
    for name, rest in USED.findall(TEXT):
        if is_secret(name):
            assert rest.startswith(":?"), f"{name} would silently be empty, or have a value that everybody knows"
            assert documented()[name] == ""
        else:
            assert rest == f":-{documented()[name]}", f"the default of {name} is not the documented one"


def test_no_secret_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if is_secret(key) and not key.endswith("_FILE"):
                assert USED.search(str(value)), key


@pytest.mark.parametrize("variable", ["AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"])
def test_all_of_airflow_has_the_same_keys(variable: str) -> None:
    assert len({SERVICES[name]["environment"][variable] for name in AIRFLOW | MACHINES | {"airflow-init"}}) == 1


def test_only_workers_have_the_passwords_of_the_fleet() -> None:
    for name, service in SERVICES.items():
        used = {variable for value in own(service).values() for variable, _ in USED.findall(value)}
        has_them = any(variable.startswith("RELIGHT_") and is_secret(variable) for variable in used)
        assert has_them == (name in MACHINES | {"worker", "store"})


@pytest.mark.parametrize("name", sorted(MACHINES | {"worker"}))
def test_the_command_line_has_every_login_in_a_container_with_a_worker(name: str) -> None:
    logins = EnvironmentCredentials({key: filled(value) for key, value in own(SERVICES[name]).items()})
    assert [logins.login(purpose).user for purpose in ("admin", "replication", "store", "certificate")] == [
        "relight", "replication", "relight", "relight",
    ]  # fmt: skip
    assert {logins.login(purpose).password for purpose in ("admin", "replication", "store", "certificate")} == {SECRET}


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_has_a_secret_of_the_fleet_twice(name: str) -> None:
    used = [variable for value in own(SERVICES[name]).values() for variable, _ in USED.findall(value)]
    assert [variable for variable in set(used) if variable.startswith("RELIGHT_") and used.count(variable) > 1] == []


def test_redis_does_not_give_a_long_restore_to_a_second_worker() -> None:
    for name in AIRFLOW | MACHINES:
        seconds = SERVICES[name]["environment"]["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]
        assert int(seconds) > 7 * 86400


def test_a_task_may_wait_for_its_machine_as_long_as_others_take() -> None:
    for name in AIRFLOW | MACHINES:
        assert int(SERVICES[name]["environment"]["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"]) > 7 * 86400


def test_a_task_whose_machine_died_goes_on_within_a_minute() -> None:
    """And after half a dozen heartbeats at the least, which are 5 s apart: a machine that is busy has not died."""
    for name in AIRFLOW | MACHINES:
        settings = SERVICES[name]["environment"]
        silence = int(settings["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
        looked = int(settings["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL"])
        assert silence >= 30
        assert silence + looked <= 40
        assert int(settings["AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"]) <= 30


def test_the_lab_waits_as_the_deployment_does() -> None:
    for name, value in DURATIONS.items():
        assert SERVICES["scheduler"]["environment"][name] == value


def test_a_stopping_worker_may_finish_its_tasks() -> None:
    for name in MACHINES | {"worker"}:
        assert SERVICES[name]["environment"]["DUMB_INIT_SETSID"] == "0"
    assert 'ENTRYPOINT ["dumb-init", "--"]' in DOCKERFILE


def test_each_server_of_the_fleet_file_is_a_machine_with_a_worker_of_its_queue() -> None:
    (shard,) = FLEET.shards
    assert {server.name for server in shard.servers} == MACHINES
    for server in shard.servers:
        service = SERVICES[server.name]
        assert server.host == server.queue == service["hostname"] == service["environment"]["RELIGHT_SERVER"]
        assert server.control.kind == "process"
    assert shard.scratch is not None
    assert shard.scratch.queue in MACHINES


def test_the_store_is_the_one_of_the_fleet_file() -> None:
    assert FLEET.store.endpoint == "http://store:8333"
    assert f"-name {FLEET.store.bucket}" in " ".join(SERVICES["store-init"]["entrypoint"])


def test_images_are_built_from_the_pinned_requirements_and_nothing_is_installed_at_start() -> None:
    assert "-r /src/requirements.txt" in DOCKERFILE
    for service in SERVICES.values():
        started = f"{service.get('command', '')} {service.get('entrypoint', '')}"
        assert not re.search(r"\b(pip|uv|apt|apt-get|microdnf|_PIP_ADDITIONAL_REQUIREMENTS)\b", started)
        assert "_PIP_ADDITIONAL_REQUIREMENTS" not in service.get("environment", {})


def test_every_file_that_the_images_copy_exists() -> None:
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY") and "--from" not in line:
            source = next(word for word in line.split()[1:] if not word.startswith("--"))
            assert (PROJECT / source).exists(), source


def test_the_ui_is_published_on_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api-server"]
    assert all(port.startswith("127.0.0.1:") for port in published["api-server"])
