"""Not collected by itself: started by test_fixtures.py as a test run that is killed in the middle."""

from __future__ import annotations

import os
import time
from pathlib import Path

from relight.lab.s3 import S3Server
from tests.support.servers import Servers


def test_hold(servers: Servers, s3_server: S3Server) -> None:
    servers.make()
    Path(os.environ["RELIGHT_HOLD"]).write_text(str(servers.folder.parent))
    time.sleep(200)
