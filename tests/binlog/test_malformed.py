"""Damage that checksums do not show: whatever the bytes are, reading them ends, in bounds, with a result or a clean error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.binlogs import VALUES, create_everything
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers

PROJECT = Path(__file__).resolve().parents[2]
DEEP = 20 if os.environ.get("RELIGHT_DEEP") else 1
INPUTS = 600 * DEEP


@pytest.fixture(scope="module")
def logs(module_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small logs: rows of every type, the same compressed, tagged, and transactions with statements, XA and definitions."""
    with module_servers.connect(module_servers.make("writer")) as session:
        create_everything(session)
        session.run("CREATE TABLE kinds.s (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
        start_log(session)
        for setting in ("binlog_transaction_compression = OFF", "binlog_transaction_compression = ON"):
            session.run(f"SET SESSION {setting}")
            for name, value in VALUES.items():
                if name != "lb":  # the longest by far
                    session.run(f"INSERT INTO kinds.`one {name}` VALUES ({value.format(n=3)}), (NULL)")
                    session.run(f"DELETE FROM kinds.`one {name}` LIMIT 1")
            session.run("FLUSH BINARY LOGS")
        session.run("SET SESSION gtid_next = 'AUTOMATIC:night', binlog_transaction_compression = OFF")
        session.run("INSERT INTO kinds.s (a) VALUES (1), (2)")
        session.run("SET SESSION gtid_next = 'AUTOMATIC', binlog_row_image = MINIMAL")
        session.run("UPDATE kinds.s SET a = 3 WHERE a = 2")
        session.run("FLUSH BINARY LOGS")
        for statement in ("BEGIN", "INSERT INTO kinds.s (a) VALUES (3)", "SAVEPOINT one", "INSERT INTO kinds.s (a) VALUES (4)",
                          "ROLLBACK TO one", "COMMIT", "ALTER TABLE kinds.s ADD COLUMN w INT", "XA START 'x'",
                          "INSERT INTO kinds.s (a) VALUES (5)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
                          "CREATE USER reader@localhost", "CREATE TABLE kinds.made AS SELECT * FROM kinds.s",
                          "SET SESSION binlog_format = 'STATEMENT'", "SET @v = 7", "INSERT INTO kinds.s (a) VALUES (@v)"):  # fmt: skip
            session.run(statement)
        folder = tmp_path_factory.mktemp("logs")
        return [Path(shutil.copy(log, folder)) for log in logs_of(session)]


@pytest.mark.timeout(600 * DEEP)
def test_damaged_logs_and_events_end_in_a_result_or_a_clean_error(logs: list[Path], tmp_path: Path) -> None:
    """With every access to an array checked, which the compiled loops otherwise are not."""
    seed = int(os.environ.get("RELIGHT_SEED", "1"))
    environment = {
        **os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "compiled"), "NUMBA_OPT": "1",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fuzzing", str(tmp_path), str(seed), str(INPUTS), *map(str, logs)],
        env=environment, cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    current = (tmp_path / "current").read_text(encoding="utf-8") if (tmp_path / "current").exists() else "nothing"
    assert done.returncode == 0, (
        f"status {done.returncode} at {current}\n{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
    )
