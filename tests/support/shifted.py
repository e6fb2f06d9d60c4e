"""Runs tests as at another moment: all that deals with dates, at several times of day, at ends of months, in other zones.

    python -m tests.support.shifted [OPTION OF PYTEST ...] [FILE ...]

The clock of every process of the test run is shifted by libfaketime, those of MySQL, Airflow and PostgreSQL included.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from relight.lab.packages import Wanted, fetch, unpack
from relight.lab.place import Place

MOMENTS = (
    ("2026-11-30T01:30:00Z", "UTC"),  # after the time of a nightly schedule
    ("2026-11-30T23:56:00Z", "Pacific/Kiritimati"),  # a month ends; it is tomorrow there
    ("2028-02-29T12:00:00Z", "Asia/Kolkata"),
    ("2027-03-14T00:30:00Z", "America/St_Johns"),  # yesterday there; its summer time begins on this day
)
"""When, and in which zone the machine is."""

FILES = (
    "tests/airflow/test_queues.py", "tests/airflow/test_schedules.py", "tests/airflow/test_dags.py",
    "tests/airflow/test_turn.py", "tests/airflow/test_overview_end_to_end.py", "tests/airflow/test_deadline.py",
    "tests/airflow_api", "tests/backups", "tests/certificate", "tests/cli", "tests/fencing", "tests/forecast",
    "tests/guard", "tests/incident", "tests/overview", "tests/planning", "tests/rehearsal", "tests/reporting",
    "tests/binlog/test_transactions.py", "tests/steps/test_segments.py", "tests/steps/test_salvage.py",
    "tests/steps/test_plan_run.py", "tests/test_recover.py",
)  # fmt: skip
"""What deals with dates."""

_SITE = Path(__file__).resolve().parent / "shifted_site"
_LIBRARY = "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def main(arguments: list[str]) -> int:
    library = _library()
    files = [] if any(one.startswith("tests/") for one in arguments) else list(FILES)
    worst = 0
    for moment, zone in MOMENTS:
        shift = round((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())
        print(f"--- as at {moment} on a machine in {zone}", flush=True)
        environment = {
            **os.environ, "LD_PRELOAD": str(library), "FAKETIME": f"{shift:+d}", "TZ": zone,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_SITE), os.environ.get("PYTHONPATH")])),
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "pytest", *arguments, *files], env=environment, check=False)
        worst = max(worst, done.returncode)
    return worst


def _library() -> Path:
    """The machine's, or Debian's, which is unpacked beside the lab's other programs."""
    folder = Place.find().root / "faketime"
    for root in (Path("/"), folder):
        if (root / _LIBRARY).exists():
            return root / _LIBRARY
    unpack(fetch(Wanted("bookworm", ("libfaketime",), left_out=("libc6",)), folder.with_suffix(".download")), folder)
    return folder / _LIBRARY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
