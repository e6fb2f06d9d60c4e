"""Definitions: what differs is found; what a statement of the log explains is not an alarm."""

from __future__ import annotations

import pytest

from relight.backups.manifest import Definition, ForeignKey
from relight.lane.statement import words_of
from relight.server.definitions import without_counter
from relight.verify.definitions import compare_definitions
from relight.verify.reach import Reach


def table(name: str, text: str = "CREATE TABLE (\n  `id` int\n)", database: str = "shop") -> Definition:
    return Definition(kind="table", database=database, name=name, text=text)


TRIGGER = Definition(
    kind="trigger",
    database="shop",
    name="shout",
    text="CREATE TRIGGER `shout` BEFORE INSERT ON `loud` FOR EACH ROW SET @a = 1",
)
CHILD = table("child", "CREATE TABLE (\n  CONSTRAINT `c` FOREIGN KEY (`p`) REFERENCES `parent` (`id`)\n)")
MOVED = table("child", "CREATE TABLE (\n  CONSTRAINT `c` FOREIGN KEY (`p`) REFERENCES `mother` (`id`)\n)")


@pytest.mark.parametrize(
    ("before", "after", "log", "found"),
    [
        ([table("a")], [table("a")], "", []),
        ([table("a")], [], "", ["table shop.a is missing"]),
        ([table("a")], [], "DROP TABLE shop.b", ["table shop.a is missing"]),
        ([table("a")], [], "DROP TABLE shop.A", []),
        ([table("a")], [], "DROP DATABASE shop", []),
        ([table("a")], [], "CREATE TABLE shop.b (id INT)", ["table shop.a is missing"]),
        ([], [table("a")], "", ["table shop.a was not in the snapshot, and no statement of the log made it"]),
        ([], [table("a")], "CREATE TABLE a (id INT)", []),
        ([table("a")], [table("a", "CREATE TABLE (\n  `id` bigint\n)")], "",
         ["table shop.a lacks: `id` int; has instead: `id` bigint"]),
        ([TRIGGER], [], "DROP TABLE quiet", ["trigger shop.shout is missing"]),
        ([TRIGGER], [], "DROP TABLE loud", []),
        ([CHILD], [MOVED], "", ["table shop.child lacks: CONSTRAINT `c` FOREIGN KEY (`p`) REFERENCES `parent` (`id`); "
                                "has instead: CONSTRAINT `c` FOREIGN KEY (`p`) REFERENCES `mother` (`id`)"]),
        ([CHILD], [MOVED], "RENAME TABLE parent TO mother", []),
    ],
)  # fmt: skip
def test_what_is_found(before: list[Definition], after: list[Definition], log: str, found: list[str]) -> None:
    structure = compare_definitions(before, after, words_of(log) if log else ())
    assert list(structure.findings) == found


def test_the_database_itself_is_not_changed_by_statements_about_what_is_inside() -> None:
    before = [Definition(kind="database", database="shop", name="shop", text="latin1")]
    after = [Definition(kind="database", database="shop", name="shop", text="utf8mb4")]
    assert compare_definitions(before, after, words_of("CREATE TABLE shop.t (id INT)")).findings
    assert not compare_definitions(before, after, words_of("ALTER DATABASE shop CHARSET utf8mb4")).findings


def test_a_counter_is_no_difference() -> None:
    with_counter = "CREATE TABLE `t` (\n `id` int\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4"
    assert without_counter(with_counter) == "CREATE TABLE `t` (\n `id` int\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"


KEY = ForeignKey(name="k", columns=("p",), parent_database="shop", parent_table="orders", on_delete="CASCADE",
                 on_update="RESTRICT")  # fmt: skip


def test_a_statement_reaches_what_it_names_and_what_follows_from_that() -> None:
    tables = ("orders", "lines", "log", "far", "other")
    trigger = Definition(kind="trigger", database="shop", name="note", text="CREATE TRIGGER note AFTER INSERT ON `lines` "
                         "FOR EACH ROW INSERT INTO log VALUES (1)")  # fmt: skip
    reach = Reach(tables, [trigger], {"lines": [KEY]})
    assert reach.of(words_of("UPDATE Orders SET a = 1")) >= {"orders", "lines", "log"}
    assert not reach.of(words_of("UPDATE orders SET a = 1")) & {"far", "other"}
    assert reach.of(words_of("UPDATE other SET a = 1")) == {"other"}


def test_a_function_that_the_log_defines_leads_further() -> None:
    reach = Reach(("far", "other"), [], {})
    sql = (
        "CREATE DEFINER=`a`@`b` FUNCTION IF NOT EXISTS shop.`Count`() RETURNS INT BEGIN DELETE FROM far; RETURN 1; END"
    )
    reach.learn(sql, words_of(sql))
    assert "far" in reach.of(words_of("INSERT INTO other SELECT count()"))
    assert "far" not in reach.of(words_of("INSERT INTO other VALUES (1)"))
