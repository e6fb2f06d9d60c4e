"""What is known of the settings that a log was written under, and for certain."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from relight.backups.manifest import SegmentManifest, Surroundings, SystemZone
from relight.gtid import GtidSet
from relight.planning.plan import Plan, PlannedSegment, SnapshotReference
from relight.planning.surroundings import is_certain, known_for, zone_of
from relight.planning.target import Target

ONE, OTHER = "1a2b3c4d-0000-0000-0000-000000000000", "2a2b3c4d-0000-0000-0000-000000000000"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def told(server: str, zone: str) -> Surroundings:
    return Surroundings(server_uuid=server, variables={}, zone=SystemZone(name=zone, digest=zone))


def plan(snapshot: Surroundings | None, *segments: tuple[str, Surroundings | None]) -> Plan:
    planned = tuple(
        PlannedSegment(
            number=number, take=GtidSet(), last=False,
            segment=SegmentManifest(
                key=str(number), shard="s", server_uuid=server, file=f"binlog.{number}", previous_gtids=GtidSet(),
                gtids=GtidSet(), first_commit=None, last_commit=None, transactions=0, log_bytes=0, stored_bytes=0,
                sha256="0" * 64, log_sha256="0" * 64, shipped_at=NOW, surroundings=surroundings,
            ),
        )
        for number, (server, surroundings) in enumerate(segments)
    )  # fmt: skip
    reference = SnapshotReference(
        id="x", manifest_key="x", manifest_sha256="0" * 64, server_uuid=OTHER, mysql_version="9.7.4", taken_at=NOW,
        gtids=GtidSet(), data_bytes=0, stored_bytes=0, surroundings=snapshot,
    )  # fmt: skip
    return Plan(
        shard="s", target=Target.parse("latest"), made_at=NOW, snapshot=reference, segments=planned, reaches=NOW,
        end_gtids=None, download_bytes=0, disk_bytes=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "zone", "certain"),
    [
        (plan(told(ONE, "a"), (ONE, told(ONE, "a"))), "a", True),
        (plan(told(ONE, "b"), (ONE, told(ONE, "a"))), "a", False),
        (plan(told(OTHER, "b"), (ONE, told(ONE, "a"))), "a", True),
        (plan(None, (ONE, told(ONE, "a"))), "a", True),
        (plan(told(ONE, "a"), (ONE, told(ONE, "b")), (ONE, told(ONE, "a"))), "a", False),
        (plan(told(ONE, "a"), (OTHER, told(OTHER, "b")), (ONE, told(ONE, "a"))), "a", True),
        # Salvaged from a disk, or shipped by an older version: what was told before is the best there is.
        (plan(told(ONE, "a"), (ONE, None)), "a", False),
        (plan(None, (ONE, told(ONE, "a")), (ONE, None)), "a", False),
        (plan(None, (ONE, None)), "", False),
        (plan(told(OTHER, "b"), (ONE, None)), "", False),
    ],
)
def test_what_is_known_of_the_last_segment(made: Plan, zone: str, certain: bool) -> None:
    last = len(made.segments) - 1
    known = known_for(made, last)
    assert (known.zone.name if known else "") == zone
    assert is_certain(made, last) == certain


@pytest.mark.parametrize(
    ("made", "zone"),
    [
        (plan(told(ONE, "a")), "a"), (plan(None), ""), (plan(told(ONE, "a"), (ONE, told(ONE, "b"))), "b"),
        (plan(told(OTHER, "a"), (ONE, None)), "a"),
    ],
)  # fmt: skip
def test_a_rebuilt_server_gets_the_zone_that_was_told_last(made: Plan, zone: str) -> None:
    found = zone_of(made)
    assert (found.name if found else "") == zone


@pytest.mark.parametrize("name", [
    ":/etc/passwd", "/etc/passwd", "../etc/passwd", "Europe/../../x", "x' OR 1=1", "Europe/Berlin\n", "a;b", "<+0100>-01", "x" * 65,
])  # fmt: skip
def test_a_zone_s_name_names_no_file_and_ends_no_string(name: str) -> None:
    with pytest.raises(ValidationError):
        SystemZone(name=name, digest="")


@pytest.mark.parametrize(
    "name", ["", "UTC", "Europe/Berlin", "Etc/GMT+1", "America/Argentina/Buenos_Aires", "<+0530>-05:30:00"]
)
def test_real_names_of_zones_are_taken(name: str) -> None:
    assert SystemZone(name=name, digest="").name == name
