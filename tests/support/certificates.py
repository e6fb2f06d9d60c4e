"""A certificate in which no field is empty, and a key to sign it with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from relight.certificate.document import Certificate, CertifiedServer, LanePosition, ObjectHash
from relight.certificate.signing import SigningKey
from relight.credentials import Login
from relight.gtid import GtidSet
from relight.keys import encoded
from relight.run_files import CheckResult, TableVerdict

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
ISSUED = datetime(2026, 11, 22, 19, 2, 11, 123456, tzinfo=UTC)
VALID_FOR = timedelta(hours=24)

SECRET = encoded(bytes(range(32)))
KEY = SigningKey.of(Login("night shift", SECRET))
OTHER_KEY = SigningKey.of(Login("day shift", encoded(bytes(range(1, 33)))))
TRUSTED = {KEY.public}


def table(verdict: str = "match", **more: Any) -> TableVerdict:
    known = {"database": "shop", "table": "orders", "expected": 12, "counted": 12, "inserted": 3, "deleted": 1,
             "compared": 12}  # fmt: skip
    return TableVerdict.model_validate({**known, "verdict": verdict, "reason": "as logged", **more})


def check(verdict: str = "match", **more: Any) -> CheckResult:
    known = {"check": "rows", "on": "shop", "checked": 12, "findings": ("one note",), "notes": ("a view",),
             "seconds": 0.25}  # fmt: skip
    return CheckResult.model_validate({**known, "verdict": verdict, **more})


def certificate(**changed: Any) -> Certificate:
    """One that holds, with some fields as they are given."""
    return Certificate(**{
        "id": "20261122T190211Z-1a2b3c4d", "issued_at": ISSUED, "expires_at": ISSUED + VALID_FOR,
        "relight_version": "0.1.0", "run_id": "manual-1", "shard": "shard-1", "mode": "promote", "target": "latest",
        "server": CertifiedServer(
            name="shard-1-source", host="127.0.0.1", port=3306, server_uuid=UUID, datadir=Path("/srv/mysql/data")
        ),
        "plan_key": "shard-1/runs/manual-1/plan.json", "plan_sha256": "a" * 64, "snapshot_id": "20261122T010000Z-1a2b3c4d",
        "objects": (ObjectHash(key="shard-1/snapshots/größe.zst", sha256="b" * 64, size=4711),),
        "reaches": ISSUED - timedelta(minutes=7), "data_loss_window_s": 12.5, "gtids": GtidSet.parse(f"{UUID}:1-42"),
        "positions": (LanePosition(lane="shop+stock", segment=3, transaction=17),), "databases": ("shop", "stock"),
        "tables": (table(), table(table="carts", counted=13, expected=13)), "checks": (check(), check(check="checksums")),
        "verdict": "match", "approved_by": "Ada", "approval_reason": "it was looked at", "restore_seconds": 61.0,
        "verification_seconds": 2.0, **changed,
    })  # fmt: skip
