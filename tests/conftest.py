"""Fixtures that start real servers. Everything they start ends with the test run, even when that is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from relight.credentials import EnvironmentCredentials, Login
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.keys import encoded
from relight.lab import s3
from relight.lab.mysql import MySQL, find_mysql
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.lab.services import Services, find_services
from relight.lab.state import State
from relight.lab.template import Logins, Template, ensure_template
from relight.progress import Silent
from relight.site import Site
from tests.support import watchdog
from tests.support.decoy_watch import DecoyWatch
from tests.support.servers import Servers

# No test fails because the machine has other work.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """The decoy listens once for a whole run: not in each worker."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(DecoyWatch())


@pytest.fixture(scope="session")
def watched() -> Iterator[Path]:
    """A folder with a short path. What runs in it is killed when the tests end, however they end."""
    folder = Path(tempfile.mkdtemp(prefix="relight-", dir="/tmp"))
    guard = subprocess.Popen(
        [sys.executable, watchdog.__file__, str(folder), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield folder
    watchdog.end_all_below(folder)
    watchdog.remove(folder)
    guard.kill()
    guard.wait()


@pytest.fixture(scope="session")
def mysql() -> MySQL:
    """The MySQL programs that `relight lab install` got."""
    return find_mysql(Place.find())


@pytest.fixture(scope="session")
def services() -> Services:
    """The Redis and PostgreSQL that `relight lab install` got."""
    return find_services(Place.find())


@pytest.fixture(scope="session")
def template(mysql: MySQL) -> Template:
    """The data directory that servers are copied from; kept from one run to the next."""
    return ensure_template(Place.find().root / "test-template", mysql)


@pytest.fixture(scope="session")
def logins(template: Template) -> Logins:
    """The accounts of every server that the tests start."""
    return template.logins


@pytest.fixture(scope="session")
def admin(logins: Logins) -> Login:
    """The administrative account of every server that the tests start."""
    return logins.admin


@pytest.fixture
def servers(watched: Path, mysql: MySQL, template: Template) -> Iterator[Servers]:
    """Makes servers that live as long as the test."""
    yield from make_servers(watched, mysql, template)


@pytest.fixture(scope="module")
def module_servers(watched: Path, mysql: MySQL, template: Template) -> Iterator[Servers]:
    """Makes servers that live as long as the tests of one file."""
    yield from make_servers(watched, mysql, template)


def make_servers(watched: Path, mysql: MySQL, template: Template) -> Iterator[Servers]:
    """Something that makes servers in a folder of its own, and ends them: for fixtures."""
    made = Servers(Path(tempfile.mkdtemp(dir=watched)), mysql, template)
    yield made
    made.close()
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def mysql_server(servers: Servers) -> Callable[..., Server]:
    """A function that starts a server: see Servers.make."""
    return servers.make


@pytest.fixture(scope="session")
def s3_server(watched: Path) -> Iterator[S3Server]:
    """An S3 server with an empty bucket."""
    state, ports = State(watched / "s3-state.json"), s3.choose_ports()
    yield s3.start(state, "s3", watched / "s3", s3.make_login(), "relight-test", ports)
    s3.stop(state, "s3")
    s3.remove_sockets(ports)


@pytest.fixture
def store_settings(s3_server: S3Server) -> StoreSettings:
    """A store of the test's own: an unused prefix in the bucket."""
    return StoreSettings(
        bucket=s3_server.bucket, prefix=f"t-{uuid.uuid4().hex[:12]}", endpoint=s3_server.endpoint, part_size_mib=5
    )


@pytest.fixture
def credentials(logins: Logins, s3_server: S3Server) -> EnvironmentCredentials:
    """The logins of the tests' servers and store, as the CLI would get them."""
    return EnvironmentCredentials(environment_of(logins, s3_server.login))


def environment_of(logins: Logins, store: Login) -> dict[str, str]:
    """The environment variables that EnvironmentCredentials reads."""
    # The same key for every command and step of a test.
    certificate = Login("tests", encoded(bytes(range(32))))
    known = {"ADMIN": logins.admin, "REPLICATION": logins.replication, "STORE": store, "CERTIFICATE": certificate}
    users = {f"RELIGHT_{purpose}_USER": login.user for purpose, login in known.items()}
    return users | {f"RELIGHT_{purpose}_PASSWORD": login.password for purpose, login in known.items()}


@pytest.fixture
def site(store_settings: StoreSettings, credentials: EnvironmentCredentials) -> Callable[..., Site]:
    """A function that makes a Site: ``site(source, replicas=[...], scratch=..., shard="shard-1")``."""

    def make(
        source: Server, replicas: tuple[Server, ...] | list[Server] = (), *, scratch: Server | None = None,
        shard: str = "shard-1",
    ) -> Site:  # fmt: skip
        from relight.store.s3 import open_store

        one = Shard(name=shard, source=source, replicas=tuple(replicas), scratch=scratch)
        fleet = Fleet(fleet="test", store=store_settings, shards=(one,))
        return Site(fleet, open_store(store_settings, credentials.login("store")), credentials, Silent())

    return make
