"""What a worker calls the machine that it runs on: Airflow shows it as the host of each task.

On a real fleet that is the machine's own name. The lab has one machine for many, so its workers are told.
This module is imported by every task process, and imports nothing of the lab.
"""

from __future__ import annotations

import os
import socket

VARIABLE = "RELIGHT_LAB_WORKER"


def worker_name() -> str:
    """The name that this process or the one that started it was given, else the machine's."""
    return os.environ.get(VARIABLE) or socket.gethostname()
