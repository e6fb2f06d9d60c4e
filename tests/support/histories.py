"""Random histories: a few tables and what happens to them. As strategies, so that a failing one becomes small."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

Values = st.SearchStrategy[str]
Draw = st.DrawFn


@dataclass(frozen=True)
class History:
    """Statements, for a database that is the default one. Those of ``log`` may be refused: then they change nothing.

    ``base`` was there before the log began. What of it may be refused is refused by every server.
    """

    base: tuple[str, ...]
    log: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{statement};" for statement in (*self.base, "-- from here on logged", *self.log))


INTEGERS = st.integers(0, 6).map(str)
TEXTS = st.sampled_from(["''", "'a'", "'A'", "'a '", "'A  '", "'\u00e4'", "'b'", "'B'", "'ss'", "'\u00df'", "' '"])
DOCUMENTS = st.sampled_from(["NULL", "'{}'", "'[1, 2]'", '\'{"a": 1, "b": [true]}\'', "'\"\u00e4\"'"])
NUMBERS = st.sampled_from(["NULL", "0", "-0e0", "1.5", "-2.25"])

KEYS: dict[str, Values] = {
    "INT": INTEGERS,
    "BIGINT UNSIGNED": st.sampled_from(["0", "1", "2", "18446744073709551615", "9223372036854775808"]),
    "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci": TEXTS,
    "VARCHAR(20) COLLATE utf8mb4_general_ci": TEXTS,
    "VARCHAR(20) COLLATE utf8mb4_bin": TEXTS,
    "VARCHAR(20) COLLATE utf8mb4_0900_bin": TEXTS,
    "VARCHAR(300) COLLATE latin1_swedish_ci": TEXTS,
    "CHAR(4) COLLATE utf8mb4_0900_ai_ci": TEXTS,
    "CHAR(4) COLLATE utf8mb4_general_ci": TEXTS,
    "VARBINARY(8)": st.sampled_from(["x''", "x'61'", "x'6120'", "x'6100'", "x'41'", "x'00'"]),
    "BINARY(3)": st.sampled_from(["x'61'", "x'6120'", "x'6100'", "x'410000'"]),
    "DECIMAL(6,2)": st.sampled_from(["0", "-0.00", "1.5", "-1.5", "9999.99"]),
    "DATETIME(2)": st.sampled_from(["'2026-01-01'", "'2026-01-01 00:00:00.25'", "'1000-01-01'"]),
    "DOUBLE": st.sampled_from(["0", "-0e0", "1.5", "-1.5"]),
    "ENUM('x','y','z')": st.sampled_from(["'x'", "'y'", "'z'"]),
}
COLLATIONS = ("utf8mb4_0900_ai_ci", "utf8mb4_general_ci", "utf8mb4_bin", "utf8mb4_0900_bin", "latin1_swedish_ci")
ACTIONS = ("CASCADE", "SET NULL", "RESTRICT")


@dataclass
class Table:
    """A table while its history is made up."""

    name: str
    key: str  # the type of column k
    values: dict[str, Values] = field(default_factory=dict)
    parent_key: str = ""
    clustered: bool = True  # by its primary key

    def value(self, draw: Draw, column: str) -> str:
        return draw(self.values[column])

    def where(self, draw: Draw) -> str:
        column = draw(st.sampled_from(sorted(self.values)))
        value = self.value(draw, column)
        if value == "NULL":
            return f"{column} IS NULL"
        return draw(
            st.sampled_from([f"{column} = {value}", f"{column} >= {value}", f"NOT {column} <=> {value}", "TRUE"])
        )


@st.composite
def histories(draw: Draw, *, linked: bool = False) -> History:
    """A history. ``linked``: always with a foreign key."""
    base: list[str] = []
    tables: list[Table] = []
    for number in range(draw(st.integers(2 if linked else 1, 3))):
        tables.append(_table(draw, f"t{number}", tables, base, linked=linked))
    for table in tables:
        base += [_insert(draw, table, "INSERT IGNORE") for _ in range(draw(st.integers(0, 3)))]
    log: list[str] = []
    for _ in range(draw(st.integers(5, 12))):
        what = draw(st.sampled_from(["nothing"] + ["change"] * 14 + ["define"] * 3 + ["set"] * 2))
        table = draw(st.sampled_from(tables))
        if what == "define":
            log.append(_define(draw, table, tables))
        elif what == "set":
            log.append(draw(st.sampled_from(SETTINGS)))
        elif what == "change":
            log += _transaction(draw, tables)
    return History(tuple(base), tuple(log))


SETTINGS = (
    "SET SESSION foreign_key_checks = 0",
    "SET SESSION foreign_key_checks = 1",
    "SET SESSION binlog_row_image = MINIMAL",
    "SET SESSION binlog_row_image = NOBLOB",
    "SET SESSION binlog_row_image = FULL",
    "SET SESSION binlog_row_value_options = PARTIAL_JSON",
    "SET SESSION binlog_transaction_compression = ON",
)


def _table(draw: Draw, name: str, others: list[Table], base: list[str], *, linked: bool) -> Table:
    key = draw(st.sampled_from(sorted(KEYS)))
    table = Table(
        name, key, {"k": KEYS[key], "n": st.one_of(st.just("NULL"), INTEGERS), "v": st.one_of(st.just("NULL"), TEXTS)}
    )
    how = draw(
        st.sampled_from(
            ["single"] * 6 + ["composite", "composite", "prefix", "auto", "counter", "unique", "keyless", "keyless"]
        )
    )
    if linked and not others:
        how = "single"
    if how in ("auto", "counter"):
        key = table.key = "INT"
        table.values["k"] = st.one_of(INTEGERS, st.integers(90, 95).map(str), st.just("DEFAULT"))
    if how == "prefix" and not key.startswith("VARCHAR"):
        how = "single"
    columns = [
        f"k {key} NOT NULL" + (" AUTO_INCREMENT" if how in ("auto", "counter") else ""),
        "n INT NOT NULL" if how == "counter" else "n INT NULL DEFAULT 3",
        f"v VARCHAR(20) COLLATE {draw(st.sampled_from(COLLATIONS))}" + (" NOT NULL" if how == "composite" else ""),
    ]
    if how in ("composite", "counter"):
        table.values["v" if how == "composite" else "n"] = TEXTS if how == "composite" else INTEGERS
    columns += draw(st.lists(st.sampled_from(MORE), max_size=3, unique=True))
    if any(column.startswith("j ") for column in columns):
        table.values["j"] = DOCUMENTS
    if any(column.startswith("d ") for column in columns):
        table.values["d"] = NUMBERS
    keys = {"single": "PRIMARY KEY (k)", "composite": "PRIMARY KEY (v, k)", "prefix": "PRIMARY KEY (k(1))", "auto": "PRIMARY KEY (k)",
            "counter": "PRIMARY KEY (n), KEY (k)", "unique": "UNIQUE KEY k (k)", "keyless": "KEY (n)"}[how]  # fmt: skip
    columns.append(keys)
    columns += draw(st.lists(st.sampled_from(UNIQUES), max_size=2, unique=True))
    if any("(g)" in column for column in columns) and not any(column.startswith("g ") for column in columns):
        columns.append("g INT AS (n * 2 + 1) STORED")
    table.clustered = how not in ("unique", "keyless")
    table.parent_key = key if how in ("single", "unique") else ""
    parents = [other for other in [*others, table] if other.parent_key]
    if parents and (linked or draw(st.integers(0, 2)) == 0):
        parent = others[0] if linked and others else draw(st.sampled_from(parents))
        table.values["p"] = st.one_of(st.just("NULL"), KEYS[parent.parent_key])
        columns.append(f"p {parent.parent_key} NULL")
        on_delete, on_update = draw(st.sampled_from(ACTIONS)), draw(st.sampled_from(ACTIONS))
        columns.append(
            f"CONSTRAINT {name}_p FOREIGN KEY (p) REFERENCES {parent.name} (k) ON DELETE {on_delete} ON UPDATE {on_update}"
        )
    base.append(f"CREATE TABLE {name} ({', '.join(columns)})")
    return table


MORE = (
    "g INT AS (n * 2 + 1) STORED",
    "h VARCHAR(40) AS (CONCAT(v, '!')) VIRTUAL",
    "j JSON",
    "d DOUBLE",
    "i INT DEFAULT 9 INVISIBLE",
    "b BLOB",
)
UNIQUES = ("UNIQUE KEY un (n)", "UNIQUE KEY uv (v)", "UNIQUE KEY unv (n, v)", "UNIQUE KEY ug (g)", "UNIQUE KEY ue ((n * 3))",
           "UNIQUE KEY up (v(1))", "KEY kn (n)")  # fmt: skip


def _insert(draw: Draw, table: Table, verb: str) -> str:
    columns = sorted(table.values)
    rows = [
        "(" + ", ".join(table.value(draw, column) for column in columns) + ")" for _ in range(draw(st.integers(1, 3)))
    ]
    return f"{verb} INTO {table.name} ({', '.join(columns)}) VALUES {', '.join(rows)}"


def _transaction(draw: Draw, tables: list[Table]) -> list[str]:
    changes: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        changes += _change(draw, draw(st.sampled_from(tables)))
    if len(changes) == 1:
        return changes
    end = "ROLLBACK" if draw(st.integers(0, 9)) == 9 else "COMMIT"
    return ["BEGIN", *changes, end]


def _change(draw: Draw, table: Table) -> list[str]:
    """A statement, or a few that belong together."""
    return draw(st.sampled_from(CHANGES))(draw, table)


def _write(draw: Draw, table: Table) -> list[str]:
    verb = draw(st.sampled_from(["INSERT", "INSERT IGNORE", "REPLACE"]))
    tail = " ON DUPLICATE KEY UPDATE n = n + 1" if verb == "INSERT" and draw(st.booleans()) else ""
    return [_insert(draw, table, verb) + tail]


def _update(draw: Draw, table: Table) -> list[str]:
    column = draw(st.sampled_from(sorted(table.values)))
    return [f"UPDATE {table.name} SET {column} = {table.value(draw, column)} WHERE {table.where(draw)}"]


def _delete(draw: Draw, table: Table) -> list[str]:
    return [f"DELETE FROM {table.name} WHERE {table.where(draw)}" + draw(st.sampled_from(["", " LIMIT 1"]))]


def _change_key(draw: Draw, table: Table) -> list[str]:
    changed = draw(st.sampled_from(["UPPER(k)", "LOWER(k)", "CONCAT(k, ' ')", "k + 1", table.value(draw, "k")]))
    return [f"UPDATE IGNORE {table.name} SET k = {changed} WHERE {table.where(draw)}"]


def _pass_on(draw: Draw, table: Table) -> list[str]:
    """Every row gets the unique value of the one above it."""
    return [f"UPDATE {table.name} SET n = n + 1 ORDER BY n DESC LIMIT 3"]


def _swap(draw: Draw, table: Table) -> list[str]:
    one, other, t = draw(INTEGERS), draw(INTEGERS), table.name
    return [f"UPDATE {t} SET n = NULL WHERE n = {one}", f"UPDATE {t} SET n = {one} WHERE n = {other}",
            f"UPDATE {t} SET n = {other} WHERE n IS NULL LIMIT 1"]  # fmt: skip


def _double(draw: Draw, table: Table) -> list[str]:
    return [f"INSERT IGNORE INTO {table.name} (k, n, v) SELECT k, n, v FROM {table.name} LIMIT 3"]


def _again(draw: Draw, table: Table) -> list[str]:
    insert = _insert(draw, table, "INSERT IGNORE")
    return [insert, *_delete(draw, table), insert]


def _empty(draw: Draw, table: Table) -> list[str]:
    return [f"DELETE FROM {table.name}"]


CHANGES = (_write, _write, _write, _write, _update, _update, _update, _delete, _delete, _change_key, _pass_on, _swap, _double, _again,
           _empty)  # fmt: skip


def _define(draw: Draw, table: Table, tables: list[Table]) -> str:
    t = table.name
    statement = draw(st.sampled_from(DEFINITIONS)).format(t=t)
    if "DROP PRIMARY KEY" in statement:
        table.clustered = False
    if "AUTO_INCREMENT UNIQUE" in statement and not table.clustered:
        # It numbers rows as they happen to lie there: not even replicas agree on that.
        return f"ALTER TABLE {t} ENGINE = InnoDB"
    if statement == "RENAME":
        table.name = f"{t}r"
        return f"RENAME TABLE {t} TO {t}r"
    if statement == "SWAP":
        other = draw(st.sampled_from(tables))
        if other is table:
            return f"ALTER TABLE {t} ENGINE = InnoDB"
        table.name, other.name = other.name, table.name
        return f"RENAME TABLE {t} TO x, {table.name} TO {t}, x TO {table.name}"
    return statement


DEFINITIONS = (
    "ALTER TABLE {t} ADD COLUMN x INT NOT NULL DEFAULT 7",
    "ALTER TABLE {t} ADD COLUMN y VARCHAR(10) DEFAULT 'y' FIRST",
    "ALTER TABLE {t} ADD COLUMN at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3), ALGORITHM = COPY",
    "ALTER TABLE {t} DROP COLUMN b",
    "ALTER TABLE {t} DROP COLUMN x",
    "ALTER TABLE {t} DROP COLUMN n",
    "ALTER TABLE {t} MODIFY n BIGINT",
    "ALTER TABLE {t} MODIFY v VARCHAR(40) COLLATE utf8mb4_0900_as_cs",
    "ALTER TABLE {t} RENAME COLUMN d TO e",
    "ALTER TABLE {t} ADD INDEX more (v, n)",
    "ALTER TABLE {t} ADD UNIQUE KEY un (n)",
    "ALTER TABLE {t} ADD UNIQUE KEY uv (v)",
    "ALTER TABLE {t} DROP INDEX un",
    "ALTER TABLE {t} DROP INDEX uv",
    "ALTER TABLE {t} DROP PRIMARY KEY",
    "ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (n)",
    "ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (k, n)",
    "ALTER TABLE {t} ADD PRIMARY KEY (k)",
    "ALTER TABLE {t} ADD COLUMN id INT AUTO_INCREMENT UNIQUE",
    "ALTER TABLE {t} AUTO_INCREMENT = 50",
    "ALTER TABLE {t} DROP FOREIGN KEY {t}_p",
    "TRUNCATE TABLE {t}",
    "TRUNCATE TABLE {t}",
    "CREATE TABLE copy AS SELECT k, n FROM {t}",
    "CREATE TABLE twin LIKE {t}",
    "INSERT INTO twin SELECT * FROM {t}",
    "DROP TABLE IF EXISTS twin",
    "RENAME",
    "RENAME",
    "SWAP",
)
