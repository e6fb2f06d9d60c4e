"""How targets are written, and what is not one."""

from __future__ import annotations

import pytest

from relight.errors import TargetError
from relight.gtid import Gtid
from relight.planning.target import FORMS, LogPosition, Target
from tests.backups.test_chain import A


def test_a_transaction_to_stop_before() -> None:
    assert Target.parse(f"before:{A.upper()}:7").before == Gtid(A, 7)
    tagged = Target.parse(f" before:{A}:night:7 ")
    assert tagged.before == Gtid(f"{A}:night", 7)
    assert Target.parse(str(tagged)) == tagged


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("binlog.000003:4711", LogPosition("", "binlog.000003", 4711)),
        (f"{A.upper()}/binlog.000003:4", LogPosition(A, "binlog.000003", 4)),
        (f"{A}/binlog.000003.1a2b3c4d:4711", LogPosition(A, "binlog.000003.1a2b3c4d", 4711)),
    ],
)
def test_a_position_with_and_without_its_server(text: str, position: LogPosition) -> None:
    target = Target.parse(f"position:{text}")
    assert target.position == position
    assert Target.parse(str(target)) == target
    assert Target.model_validate_json(target.model_dump_json()) == target


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("before:", "not a single GTID"),
        ("before:42", "malformed GTID"),
        (f"before:{A}:1-5", "not a single GTID"),
        ("position:", "a file's name, a colon and a number"),
        ("position:binlog.000003", "a file's name, a colon and a number"),
        ("position::4711", "a file's name, a colon and a number"),
        (f"position:{A}/:4711", "a file's name, a colon and a number"),
        ("position:binlog.000003:-4", "a file's name, a colon and a number"),
        pytest.param(f"position:binlog.000003:{'9' * 5000}", "a file's name, a colon and a number", id="long"),
        ("position:binlog.000003:end", "a file's name, a colon and a number"),
        ("position:binlog.000003:3", "the first event of a log file lies at 4"),
        ("position:/var/lib/mysql/binlog.000003:4711", "'/var/lib/mysql' is not a server UUID"),
        ("position:/binlog.000003:4711", "'' is not a server UUID"),
        ("time:0001-01-01T00:00:00+14:00", "outside of the years"),
        ("time:9999-12-31T23:59:59-14:00", "outside of the years"),
        ("behind:binlog.000003:4711", "not a target"),
    ],
)
def test_what_is_no_target_is_refused(text: str, said: str) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        Target.parse(text)
    assert caught.value.hint


def test_every_kind_is_among_the_forms_that_are_shown() -> None:
    kinds = Target.model_json_schema()["properties"]["kind"]["enum"]
    assert {form.partition(":")[0] for form in FORMS.replace(" or ", ", ").split(", ")} == set(kinds)
