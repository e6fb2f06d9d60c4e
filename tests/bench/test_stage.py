"""A method that ends with other rows, or fails, does not pass for a fast one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.bench.methods import applier, pipe
from relight.bench.relighting import Job
from relight.bench.stage import SMALL, History, Stage, compare, history, measure
from relight.bench.workloads import chosen
from relight.errors import LabError
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.server.session import connect


@pytest.fixture(scope="module")
def stage(watched: Path, mysql: MySQL, template: Template) -> Stage:
    # Many small files, since with a single one their order does not matter.
    return Stage(watched / "b", mysql, template, lambda _: None, {**SMALL, "max-binlog-size": "64K"})


@pytest.fixture(scope="module")
def past(stage: Stage) -> Iterator[History]:
    (workload,) = chosen(["mix"])
    with history(stage, workload, rows=100, transactions=400) as made:
        assert len(made.logs) > 5
        yield made


@pytest.mark.parametrize(
    "found",
    [{"d.t": 2}, {}, {"d.t": 1, "d.more": 0}, {"_relight.progress": 1}],
    ids=["other rows", "no table", "another table", "only Relight's own"],
)
def test_differing_checksums_are_an_error(found: dict[str, int]) -> None:
    with pytest.raises(LabError, match=r"method pipe ended with other rows than the source \(d\."):
        compare("pipe", found, {"d.t": 1})


def test_equal_checksums_are_none_and_our_own_table_does_not_count() -> None:
    compare("planned", {"d.t": 1, "_relight.progress": 7}, {"d.t": 1})
    with pytest.raises(LabError):
        compare("planned", {}, {})


def test_a_method_that_does_nothing_is_noticed(stage: Stage, past: History) -> None:
    with pytest.raises(LabError, match="other rows"):
        measure(stage, past, "nothing", lambda _: None)
    assert [path.name for path in stage.folder.iterdir() if path.name == "nothing"] == []


def test_a_single_row_too_many_is_noticed(stage: Stage, past: History) -> None:
    def wrong(job: Job) -> None:
        pipe(job)
        with connect(job.server, job.login) as session:
            session.run("UPDATE bench3.people SET k = k + 1 LIMIT 1")

    with pytest.raises(LabError, match=r"other rows than the source \(bench3\.people\)"):
        measure(stage, past, "wrong", wrong)


@pytest.mark.parametrize("workers", [4, 8])
def test_the_servers_own_applier_takes_many_files(stage: Stage, past: History, workers: int) -> None:
    measure(stage, past, "applier", lambda job: applier(job, workers))


def broken(job: Job) -> None:
    """Take away a table that the log writes to."""
    with connect(job.server, job.login) as session:
        session.run("SET SESSION sql_log_bin = 0")
        session.run("DROP TABLE bench0.names")


def test_an_applier_that_fails_is_an_error_and_no_endless_wait(stage: Stage, past: History) -> None:
    def method(job: Job) -> None:
        broken(job)
        applier(job, 4)

    with pytest.raises(LabError, match="own applier failed"):
        measure(stage, past, "broken", method)


def test_a_pipe_that_fails_is_an_error_and_no_endless_wait(stage: Stage, past: History) -> None:
    def method(job: Job) -> None:
        broken(job)
        pipe(job)

    with pytest.raises(LabError, match="names"):
        measure(stage, past, "broken", method)
