"""An endpoint to announce, and logins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from relight.announcing.base import Endpoint
from relight.credentials import EnvironmentCredentials

AT = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)


def endpoint(epoch: int = 3, **changes: Any) -> Endpoint:
    return Endpoint.model_validate(
        {
            "shard": "shard-1", "server": "shop-1a", "host": "shop-1a.example.net", "port": 3306,
            "server_uuid": "3e11fa47-71ca-11e1-9e33-c80aa9429562", "epoch": epoch,
            "gtids": "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23", "at": AT, **changes,
        }
    )  # fmt: skip


def logins(**passwords: str) -> EnvironmentCredentials:
    """Credentials with these purposes and no others."""
    users = {f"RELIGHT_{purpose.upper()}_USER": "relight" for purpose in passwords}
    return EnvironmentCredentials(
        users | {f"RELIGHT_{purpose.upper()}_PASSWORD": password for purpose, password in passwords.items()}
    )
