"""Random histories end on the rebuilt server as they did on the source, however they are replayed.

A failure prints the statements of the smallest history that shows it. RELIGHT_DEEP=1 tries thousands, others each
time; RELIGHT_SEED repeats a run.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from relight.errors import RelightError, StatementFailed
from relight.fleet import Limits
from relight.lane import lane_progress
from relight.run_files import Lane
from relight.server.schema import read_tables
from relight.server.session import Session, quoted
from relight.verify.database import Claim, verify_database
from tests.support.histories import History, histories
from tests.support.pair import Pair, clean, different
from tests.support.proving import base_definitions, claim_of
from tests.support.replaying import Replayed, start_log
from tests.support.servers import Servers

DEEP = bool(os.environ.get("RELIGHT_DEEP"))
SEED = int(os.environ.get("RELIGHT_SEED", time.time_ns() % 1_000_000 if DEEP else 1))
HISTORIES, NATIVE_HISTORIES = (3000, 1000) if DEEP else (200, 60)
AT_ONCE = 50
BATCHES = (1, 7, 10_000_000)

Contents = dict[str, tuple[int, str]]
Counters = dict[str, int]
_COUNTER = re.compile(r" AUTO_INCREMENT=(\d+)")


ONCE_WRONG = (
    History(
        ("CREATE TABLE t (k VARCHAR(300), n INT, v VARCHAR(20), KEY (k), UNIQUE KEY (n))",
         "INSERT INTO t VALUES ('a', 1, 'x'), ('a', 2, NULL), ('b', 5, ''), ('b', NULL, '')"),
        ("UPDATE t SET n = n + 1 ORDER BY n DESC LIMIT 3", "SET SESSION binlog_row_image = MINIMAL",
         "UPDATE t SET n = n + 1 ORDER BY n DESC", "BEGIN", "UPDATE t SET n = n - 1 ORDER BY n LIMIT 2", "DELETE FROM t WHERE n = 2",
         "COMMIT"),
    ),
)  # fmt: skip
"""What random histories found, small."""


def test_what_was_wrong_once(servers: Servers, tmp_path: Path) -> None:
    pair = Pair(servers, servers.make("source"), servers.make("rebuilt", options={"event-scheduler": "OFF"}))
    check = Check(pair, tmp_path)
    check(ONCE_WRONG)
    assert not check.wrong, "\n".join(check.wrong.values())


def test_rows_without_a_key_that_are_numbered_later(servers: Servers, tmp_path: Path) -> None:
    pair = Pair(servers, servers.make("source"), servers.make("rebuilt", options={"event-scheduler": "OFF"}))
    check = Check(pair, tmp_path)
    rows = ", ".join(f"('{value}')" for value in "abcdefgh")
    check([History(("CREATE TABLE t (v CHAR(1))",), (
        f"INSERT INTO t VALUES {rows}", "ALTER TABLE t ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY", "UPDATE t SET v = 'x' WHERE id = 3",
    ))])  # fmt: skip
    assert not check.wrong, "\n".join(check.wrong.values())


@pytest.mark.timeout(4 * 3600 if DEEP else 600)
@pytest.mark.parametrize("native", [False, True], ids=["keys above the engine", "keys inside the engine"])
def test_random_histories_end_as_on_the_source(servers: Servers, tmp_path: Path, native: bool) -> None:
    """Inside the engine means that cascades are not logged, as in 8.0 and 8.4."""
    keys = {"innodb-native-foreign-keys": "ON" if native else "OFF"}
    source = servers.make("source", options=keys)
    pair = Pair(servers, source, servers.make("rebuilt", options={"event-scheduler": "OFF", **keys}))
    check = Check(pair, tmp_path)
    number = NATIVE_HISTORIES if native else HISTORIES
    made = drawn(histories(linked=native), number)
    for first in range(0, len(made), AT_ONCE):
        check(made[first : first + AT_ONCE])
        if check.wrong:
            break
    assert check.refused < len(made), "hardly a statement was accepted"
    if check.wrong:
        shrunk(histories(linked=native), number, check)
        pytest.fail(f"seed {SEED}; wrong among others, not alone:\n" + "\n".join(check.wrong.values()))


def _settings(number: int, *phases: Phase) -> settings:
    return settings(
        max_examples=number, phases=phases, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )  # fmt: skip


def drawn(strategy: st.SearchStrategy[History], number: int) -> list[History]:
    """So many histories, all at once: to replay each by itself would take too long."""
    found: list[History] = []

    @seed(SEED)
    @_settings(number, Phase.generate)
    @given(strategy)
    def draw(history: History) -> None:
        found.append(history)

    draw()
    return list(dict.fromkeys(found))


def shrunk(strategy: st.SearchStrategy[History], number: int, check: Check) -> None:
    """Draw the same once more, and make the one that went wrong smaller. :raises AssertionError: with the smallest."""

    @seed(SEED)
    @_settings(number, Phase.generate, Phase.shrink)
    @given(strategy)
    def search(history: History) -> None:
        if history not in check.right:
            check([history])
            assert history not in check.wrong, f"seed {SEED}\n{check.wrong[history]}\n{history}"

    check.wrong.clear()
    search()


@dataclass
class Check:
    """Runs histories on the source, a database for each, and replays all of them in every way."""

    pair: Pair
    folder: Path
    right: set[History] = field(default_factory=set)
    wrong: dict[History, str] = field(default_factory=dict)
    rounds: int = 0
    refused: int = 0

    def __call__(self, batch: Sequence[History]) -> None:
        """Sort the histories into ``right`` and ``wrong``."""
        self.rounds += 1
        folder = self.folder / str(self.rounds)
        named = {f"h{number:03d}": history for number, history in enumerate(batch)}
        with self.pair.on_both() as (source, rebuilt):
            clean(source)
            clean(rebuilt)
            lane_progress.create_table(rebuilt)
            for database, history in named.items():
                make_base(source, database, history)
            tables, base = read_tables(source, lambda _: None), base_definitions(source)
            start_log(source)
        for database, history in named.items():
            self.refused += self._write(database, history)
        replayed = self.pair.split(folder)
        lanes = {lane.name: lane for lane in replayed.lanes.lanes}
        assert lanes.keys() <= named.keys()
        with ThreadPoolExecutor(3) as pool:
            jobs = {
                database: pool.submit(self._differences, replayed, lanes.get(database), database, history)
                for database, history in named.items()
            }
        for database, history in named.items():
            problem = jobs[database].result() or self._false_alarms(claim_of(replayed, database, tables, base))
            if problem:
                self.wrong[history] = problem
            else:
                self.right.add(history)

    def _false_alarms(self, claim: Claim) -> str:
        """What the proof finds, although all is well."""
        with self.pair.servers.connect(self.pair.rebuilt) as session:
            verdicts, checks = verify_database(session, claim)
        wrong = [v.reason for v in verdicts if v.verdict == "mismatch"]
        wrong += [f"{c.check}: {finding}" for c in checks if c.verdict == "mismatch" for finding in c.findings]
        return f"false alarm: {wrong}" if wrong else ""

    def _write(self, database: str, history: History) -> bool:
        """Whether everything was refused."""
        accepted = 0
        with self.pair.servers.connect(self.pair.source) as session:
            session.run(f"USE {database}")
            for statement in history.log:
                try:
                    session.run(statement)
                    accepted += not statement.startswith(("SET", "BEGIN"))
                except StatementFailed:
                    pass  # a duplicate, say: it has changed nothing
        return not accepted

    def _differences(self, replayed: Replayed, lane: Lane | None, database: str, history: History) -> str:
        """What is not as on the source; empty when all is well."""
        with self.pair.on_both() as (source, rebuilt):
            expected, most = contents(source, database)
            counters: Counters | None = None
            for use_net, batch in product((False, True), BATCHES):
                rebuilt.run("SET SESSION sql_log_bin = 0")
                make_base(rebuilt, database, history)
                how = f"{'net' if use_net else 'ordered'}, batches of {batch}"
                job = replace(replayed, use_net=use_net, limits=Limits(transactions_per_batch=batch))
                try:
                    again = job.lane(lane.model_copy(update={"connections": 2})) if lane else 0
                except RelightError as error:
                    return f"{how}: {error.with_hint()}"
                found, these = contents(rebuilt, database)
                if found != expected:
                    return f"{how}: {different(found, expected)}"
                # The source may have given values out for rows that it then refused, or rolled back.
                counters = counters or these
                if these != counters or any(these[table] > most[table] for table in most):
                    return f"{how}: counters {these}, in order {counters}, source {most}"
                if again:
                    return f"{how}: in order again"
            return ""


def make_base(session: Session, database: str, history: History) -> None:
    """The database as it was when the log began; its lane has done nothing."""
    session.run(f"DROP DATABASE IF EXISTS {database}")
    session.run(f"CREATE DATABASE {database}")
    session.run(f"USE {database}")
    for statement in history.base:
        try:
            session.run(statement)
        except StatementFailed:
            pass  # by the other server too
    if session.rows("SHOW DATABASES LIKE %s", lane_progress.DATABASE):
        session.run(f"DELETE FROM {lane_progress.DATABASE}.progress WHERE lane = %s", database)
        session.run(f"DELETE FROM {lane_progress.DATABASE}.table_progress WHERE lane = %s", database)


def contents(session: Session, database: str) -> tuple[Contents, Counters]:
    """Of every table its checksum and its definition; and apart from that, what its counter is at."""
    found, counters = {}, {}
    for (table,) in session.rows(f"SHOW TABLES FROM {database}"):
        name = quoted(database, table)
        definition = str(session.row(f"SHOW CREATE TABLE {name}")[1])
        found[table] = (int(session.row(f"CHECKSUM TABLE {name}")[1]), _COUNTER.sub("", definition))
        counter = _COUNTER.search(definition)
        counters[table] = int(counter[1]) if counter else 1
    return found, counters
