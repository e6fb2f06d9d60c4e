"""The tests' own servers: real, separate, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3

from relight.credentials import Login
from relight.lab.s3 import S3Server
from tests.support.servers import Servers
from tests.support.watchdog import running_below

HOLD = Path(__file__).with_name("hold.py")


def test_copied_servers_are_separate_and_without_history(servers: Servers) -> None:
    one, two = servers.make(), servers.make()
    seen = set()
    for server in (one, two):
        with servers.connect(server) as session:
            uuid, executed, port = session.row("SELECT @@server_uuid, @@GLOBAL.gtid_executed, @@port")
            assert executed == ""
            assert port == server.port
            seen.add(uuid)
    assert len(seen) == 2


def test_replicas_follow_by_gtid_and_tls(servers: Servers) -> None:
    source = servers.make("source")
    replicas = servers.make_replicas(source, 2)
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
        session.run("INSERT INTO d.t VALUES (1), (2)")
        executed = session.value("SELECT @@GLOBAL.gtid_executed")
    for replica in replicas:
        with servers.connect(replica) as session:
            assert session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", executed) == 0
            assert session.value("SELECT COUNT(*) FROM d.t") == 2
            assert session.row(
                "SELECT ssl_allowed, auto_position FROM performance_schema.replication_connection_configuration"
            ) == ("YES", "1")


def test_the_store_keeps_objects_and_knows_conditional_puts(s3_server: S3Server) -> None:
    client = _client(s3_server, s3_server.login)
    client.put_object(Bucket=s3_server.bucket, Key="a/b", Body=b"1", IfNoneMatch="*")
    refused = ""
    try:
        client.put_object(Bucket=s3_server.bucket, Key="a/b", Body=b"2", IfNoneMatch="*")
    except client.exceptions.ClientError as error:
        refused = error.response["Error"]["Code"]
    assert refused == "PreconditionFailed"
    assert client.get_object(Bucket=s3_server.bucket, Key="a/b")["Body"].read() == b"1"


def test_the_store_refuses_strangers(s3_server: S3Server) -> None:
    client = _client(s3_server, Login(s3_server.login.user, "wrong"))
    refused = 0
    try:
        client.list_objects_v2(Bucket=s3_server.bucket)
    except client.exceptions.ClientError as error:
        refused = error.response["ResponseMetadata"]["HTTPStatusCode"]
    assert refused == 403


def test_a_killed_test_run_leaves_no_process_and_no_files(tmp_path: Path) -> None:
    note = tmp_path / "folder"
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HOLD)],
        env={**os.environ, "RELIGHT_HOLD": str(note)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=HOLD.parents[2],
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    folder = Path(note.read_text())
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in running_below(folder)}
    assert {"weed", "redis-server", "postgres"} <= names
    assert len(names) >= 4, "and mysqld, which is called like the loader where it has a C library of its own"
    run.send_signal(signal.SIGKILL)
    run.wait()
    while (running_below(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running_below(folder)
    assert not folder.exists()


def _client(server: S3Server, login: Login):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=login.user,
        aws_secret_access_key=login.password,
    )  # fmt: skip
