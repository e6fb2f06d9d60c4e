"""Which keys are drawn, and what a history does, on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.bench.stage import SMALL, Stage, history
from relight.bench.workloads import LARGE_ROWS, WORKLOADS, Workload, chosen, create, draw
from relight.errors import LabError
from relight.fleet import Server
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.server.command import run
from relight.server.session import Session
from tests.support.servers import Servers


@pytest.fixture(scope="module")
def server(module_servers: Servers) -> Server:
    return module_servers.make("bench")


def drawn(session: Session, count: int, rows: int, *, skewed: bool) -> list[int]:
    """How often each key was drawn, most often first; also that no key is outside the range."""
    session.run("SET SESSION cte_max_recursion_depth = 1000000")
    found = session.rows(
        f"WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {count}),"
        f" d AS (SELECT CAST({draw(rows, skewed=skewed)} AS SIGNED) AS id FROM r)"
        " SELECT id, COUNT(*) AS times FROM d GROUP BY id ORDER BY times DESC"
    )
    assert all(1 <= int(key) <= rows for key, _ in found)
    return [int(times) for _, times in found]


def test_skewed_keys_are_those_of_sysbench(server: Server, module_servers: Servers) -> None:
    # One of the 16 tables of 200,000 transactions, of which each draws three keys.
    with module_servers.connect(server) as session:
        times = drawn(session, 37_500, 50_000, skewed=True)
    assert 16 * len(times) == pytest.approx(115_000, rel=0.03)
    assert sum(times[:500]) / 37_500 == pytest.approx(0.76, abs=0.02), "a hundredth of the rows"


def test_uniform_keys_favour_no_row(server: Server, module_servers: Servers) -> None:
    with module_servers.connect(server) as session:
        times = drawn(session, 37_500, 50_000, skewed=False)
    assert 16 * len(times) == pytest.approx(422_000, rel=0.03)
    assert times[0] < 12


@pytest.mark.parametrize("rows", [10, 500])
@pytest.mark.parametrize("skewed", [True, False])
def test_small_tables_are_drawn_from_too(server: Server, module_servers: Servers, rows: int, skewed: bool) -> None:
    with module_servers.connect(server) as session:
        assert len(drawn(session, 3_000, rows, skewed=skewed)) > rows / 3


def test_an_unknown_workload_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(LabError, match=r"unknown workload \(nonsense\)") as caught:
        chosen(["mix", "nonsense"])
    assert "one_database" in caught.value.hint
    assert [w.name for w in chosen(["mix"])] == ["mix"]
    assert chosen([]) == list(WORKLOADS)


def test_the_plain_workloads_have_the_tables_of_sysbench(server: Server, module_servers: Servers) -> None:
    create(server, module_servers.admin, WORKLOADS[2], 100)
    with module_servers.connect(server) as session:
        text = session.row("SHOW CREATE TABLE bench0.t3")[1]
        assert session.row("SELECT COUNT(*), MIN(CHAR_LENGTH(c)), MAX(CHAR_LENGTH(pad)) FROM bench0.t3") == (
            100,
            119,
            59,
        )
    for part in ("AUTO_INCREMENT", "PRIMARY KEY (`id`)", "KEY `k` (`k`)", "`c` char(120)", "`pad` char(60)"):
        assert part in text


def events(stage: Stage, workload: Workload, transactions: int) -> str:
    """What mysqlbinlog reads in a history."""
    with history(stage, workload, rows=200, transactions=transactions) as past:
        assert len(past.logs) == 1
        assert set(past.sums) >= {f"{database}.t0" for database in workload.names if workload.name != "mix"}
        return run([stage.mysql.mysqlbinlog, "--verbose", "--base64-output=decode-rows", *past.logs]).decode(
            "utf-8", "replace"
        )


@pytest.fixture
def stage(watched: Path, mysql: MySQL, template: Template) -> Stage:
    return Stage(watched / "bench", mysql, template, lambda _: None, SMALL)


def test_a_transaction_updates_twice_deletes_and_inserts(stage: Stage) -> None:
    text = events(stage, WORKLOADS[2], 40)
    assert [text.count(f"### {kind} `bench0`") for kind in ("UPDATE", "DELETE FROM", "INSERT INTO")] == [80, 40, 40]
    for table in range(4):
        assert text.count(f"### DELETE FROM `bench0`.`t{table}`") == 10
    assert text.count("COMMIT/*!*/") == 40


def test_the_mix_holds_all_that_it_promises(stage: Stage) -> None:
    text = events(stage, WORKLOADS[3], 4 * 400)
    for table in ("names", "people", "events", "accounts", "blobs", "heap"):
        for kind in ("UPDATE", "DELETE FROM", "INSERT INTO"):
            assert f"### {kind} `bench3`.`{table}`" in text
    updates = text.split("### UPDATE ")[1:]
    names = [one for one in updates if one.startswith("`bench0`.`names`")]
    assert any("='KÉY " in one or "='KEY " in one for one in names), "a key in other letters"
    people = [one for one in updates if one.startswith("`bench0`.`people`")]
    assert any("@later.example" in one.split("### SET")[0] for one in people), "a unique key changes"
    assert "ALTER TABLE accounts" in text
    assert "CREATE TABLE `made`" in text
    assert text.index("ALTER TABLE accounts") < text.rindex("### DELETE FROM `bench0`.`accounts`"), "in the middle"


def test_a_long_log_is_as_long_as_said(stage: Stage) -> None:
    from relight.bench.tables import LARGE_TRANSACTION

    with history(stage, LARGE_ROWS, rows=100, transactions=200) as past:
        assert past.log_bytes / 200 == pytest.approx(LARGE_TRANSACTION, rel=0.03)
    assert not list(stage.folder.iterdir()), "nothing stays"
