"""Not collected by itself: started by test_fixtures.py as a test run that is killed in the middle."""

from __future__ import annotations

import os
import time
from pathlib import Path

from relight.lab import postgres, redis
from relight.lab.ports import free_ports
from relight.lab.s3 import S3Server
from relight.lab.services import Services
from relight.lab.state import State
from tests.support.servers import Servers


def test_hold(servers: Servers, s3_server: S3Server, services: Services, watched: Path) -> None:
    servers.make()
    state, (first, second) = State(watched / "state.json"), free_ports(2)
    redis.start(state, "redis", services, watched / "redis", port=first, password="held")
    postgres.start(state, "postgres", services, watched / "postgres", port=second, password="held")
    Path(os.environ["RELIGHT_HOLD"]).write_text(str(servers.folder.parent))
    time.sleep(200)
