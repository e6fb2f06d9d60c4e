"""What an incident and its runs are called. The same words always give the same names: a second call joins."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

from relight.errors import FleetError

LONGEST = 80
BETWEEN = "__"


def incident_id(text: str) -> str:
    """The part of run ids and keys that a person's words for an incident become.

    :raises FleetError: nothing is left of them.
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text.strip())
    # Two underscores stand between incident and shard, so that no other incident's runs are called alike.
    made = re.sub(r"_{2,}", "_", re.sub(r"-{2,}", "-", kept)).strip("-_.")[:LONGEST].rstrip("-_.")
    if not made:
        raise FleetError(
            "an incident needs a name", on=repr(text), why="no letter and no digit of ASCII is in it",
            hint="name it after the ticket, for example INC-4711; all runs of it bear that name",
        )  # fmt: skip
    return made


def fresh_name(what: str) -> str:
    """A name for what has none: ``cli-20261122T190211Z-3f2a91``. Two people get two names, in the same second too."""
    return f"{what}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def run_id(incident: str, shard: str) -> str:
    """The id of the run of DAG ``restore`` that brings a shard of the incident back."""
    return f"{incident}{BETWEEN}{shard}"
