"""What a certificate may say: never that all is well where it is not, never without a moment in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from relight.certificate.document import SCHEMA_FILE, Certificate, SignedCertificate, schema
from tests.support.certificates import ISSUED, certificate, check, table


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "mismatch"},
        {"tables": (table(), table("mismatch"))},
        {"checks": (check("mismatch"),)},
        {"verdict": "inconclusive", "checks": (check("mismatch"),)},
    ],
)
def test_what_differs_never_gets_a_certificate_whoever_approves(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="there is no certificate"):
        certificate(**changed, approved_by="Ada", approval_reason="I want it")


@pytest.mark.parametrize("changed", [{"tables": (table("inconclusive"),)}, {"checks": (check("inconclusive"),)}])
def test_a_doubt_about_a_part_is_not_lost_in_the_whole(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="the verdict is match although something is inconclusive"):
        certificate(**changed)
    assert certificate(**changed, verdict="inconclusive").verdict == "inconclusive"


@pytest.mark.parametrize("nobody", ["", "  "])
def test_what_is_inconclusive_needs_somebody_who_approved(nobody: str) -> None:
    with pytest.raises(ValidationError, match="needs somebody who approved"):
        certificate(verdict="inconclusive", tables=(table("inconclusive"),), approved_by=nobody)


def test_where_all_matches_nobody_has_to_approve() -> None:
    assert certificate(approved_by="", approval_reason="").approved_by == ""


@pytest.mark.parametrize("name", ["issued_at", "expires_at", "reaches"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="timezone"):
        certificate(**{name: datetime(2027, 1, 1)})  # noqa: DTZ001


def test_times_are_kept_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert certificate(issued_at=ISSUED.astimezone(east)).issued_at.tzinfo is UTC


@pytest.mark.parametrize("after", [timedelta(0), timedelta(seconds=-1)])
def test_a_certificate_that_is_never_valid_is_refused(after: timedelta) -> None:
    with pytest.raises(ValidationError, match="expires before it is issued"):
        certificate(expires_at=ISSUED + after)


@pytest.mark.parametrize("name", ["data_loss_window_s", "restore_seconds", "verification_seconds"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(name: str, number: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        certificate(**{name: number})


@pytest.mark.parametrize("name", sorted(Certificate.model_fields.keys() - {"version"}))
def test_no_field_can_be_left_out(name: str) -> None:
    fields = dict(certificate())
    del fields[name]
    with pytest.raises(ValidationError, match="Field required"):
        Certificate(**fields)


def test_a_certificate_survives_the_way_through_json() -> None:
    assert Certificate.model_validate_json(certificate().model_dump_json()) == certificate()


def test_the_published_schema_is_the_models() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema(), (
        "write it anew: relight certificate schema > include/relight/certificate/schema-v1.json"
    )


def test_the_schema_knows_every_field_and_no_mismatch() -> None:
    known = json.loads(schema())
    described = known["$defs"]["Certificate"]
    assert set(described["required"]) == set(described["properties"]) == set(Certificate.model_fields)
    assert set(known["required"]) == set(SignedCertificate.model_fields)
    assert described["properties"]["verdict"]["enum"] == ["match", "inconclusive"]
    assert described["additionalProperties"] is False
