"""Servers that the tests of replay share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.lab.mysql import MySQL
from relight.lab.template import Template
from tests.conftest import make_servers
from tests.support.twins import Twins


@pytest.fixture(scope="package")
def lasting_twins(watched: Path, mysql: MySQL, template: Template) -> Iterator[Twins]:
    """A source and two servers for its logs, started once for all tests of this folder."""
    for servers in make_servers(watched, mysql, template):
        yield Twins.start(servers)


@pytest.fixture
def twins(lasting_twins: Twins, tmp_path: Path) -> Iterator[Twins]:
    """The same, without any database, and with the settings that they were started with."""
    lasting_twins.begin(tmp_path)
    yield lasting_twins
    lasting_twins.clean()
