"""Servers that the guard looks at."""

from __future__ import annotations

import pytest

from relight.fleet import Server
from tests.support.servers import Servers


@pytest.fixture(scope="module")
def alive(module_servers: Servers) -> Server:
    """A running server; tests leave it running."""
    return module_servers.make("alive")


@pytest.fixture
def down(servers: Servers) -> Server:
    """A server with a data directory that nothing runs on."""
    return servers.make("down", start=False)
