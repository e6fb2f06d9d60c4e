"""What every step is given: the place it works in, and the run it works for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from relight.announcing.base import Factory
from relight.backups.manifest import GtidField, Value
from relight.credentials import Credentials, Login
from relight.errors import FleetError, command_line
from relight.fleet import Fleet, Server, Shard
from relight.gtid import GtidSet
from relight.planning.target import Target
from relight.progress import Progress
from relight.sabotage import Sabotage
from relight.store.base import Store

_LONGEST_NAME = 200


@dataclass(frozen=True)
class Site:
    """The fleet, its store, who to log in as, and where progress goes."""

    fleet: Fleet
    store: Store
    credentials: Credentials
    progress: Progress
    announcers: Mapping[str, Factory] = field(default_factory=dict)
    """Makes announcers of the kinds that the library cannot reach by itself."""

    @property
    def admin(self) -> Login:
        """The servers' administrative login."""
        return self.credentials.login("admin")


class Run(Value):
    """One restore of one shard. Small enough to be handed from task to task."""

    run_id: str
    shard: str
    target: Target
    mode: Literal["promote", "rehearse"] = "promote"
    skip: GtidField = GtidSet()
    """Transactions to be left out."""
    approved_by: str = ""
    """Who decided that the shard may be promoted although something is inconclusive; empty: nobody did."""
    approval_reason: str = ""
    """Why."""
    salvage: bool = True
    """Whether to ship what a lost source's disk still holds before the plan is made."""
    requested_by: str = ""
    """Who asked for it, as far as is known; for the record."""
    timeline: int | None = Field(default=None, ge=0)
    """Which timeline to follow; None: the present one."""
    sabotages: tuple[Sabotage, ...] = ()
    """What a rehearsal breaks once it has proved the shard: the first of these that is possible there."""

    @model_validator(mode="after")
    def _nothing_is_broken_that_is_needed(self) -> Run:
        if self.sabotages and self.mode != "rehearse":
            raise ValueError("only a rehearsal may be sabotaged")
        return self

    @field_validator("run_id")
    @classmethod
    def _usable_as_name(cls, value: str) -> str:
        # Run ids come from Airflow ("manual__2026-11-22T19:02:11+00:00") and name folders and objects. What cannot
        # stand in a name is replaced; a digest of the whole keeps apart what becomes equal by that, or by being cut.
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in value)
        if plain == value and len(value) <= _LONGEST_NAME and value.strip("."):
            return value
        return f"{plain[: _LONGEST_NAME - 13]}-{hashlib.sha256(value.encode('utf-8')).hexdigest()[:12]}"

    def command(self, *, goes_on: bool = False) -> str:
        """The command that asks for the same restore, as a shell takes it: of this run (``goes_on``), or of a new one.

        All that was asked for is in it: without what was to be left out, it would come back.
        """
        words = ["restore", self.shard, *(["--run-id", self.run_id] if goes_on else [])]
        if self.target.kind != "latest":
            words += ["--target", str(self.target)]
        if self.mode != "promote":
            words += ["--mode", self.mode]
        for stream in str(self.skip).split(",") if self.skip else ():
            words += ["--skip-gtid", stream]
        if self.timeline is not None:
            words += ["--timeline", str(self.timeline)]
        if not self.salvage:
            words += ["--no-salvage"]
        if self.approved_by:
            words += ["--approved-by", self.approved_by, "--approval-reason", self.approval_reason]
        return command_line(*words)

    def shard_of(self, fleet: Fleet) -> Shard:
        """The shard that is restored."""
        return fleet.shard(self.shard)

    def server(self, fleet: Fleet) -> Server:
        """The server that is rebuilt: the shard's source, or its scratch server in a rehearsal."""
        shard = self.shard_of(fleet)
        if self.mode == "promote":
            return shard.source
        if shard.scratch is None:
            raise FleetError(
                "no scratch server", on=shard.name, why="a rehearsal never touches the shard's own servers",
                hint="give the shard a 'scratch' server in the fleet file",
            )  # fmt: skip
        return shard.scratch

    def folder(self, fleet: Fleet) -> Path:
        """Where the run keeps its files on the rebuilt server's machine."""
        return self.server(fleet).workdir / "runs" / self.run_id

    @property
    def folder_key(self) -> str:
        """Where the run keeps its objects in the store."""
        return f"{self.shard}/runs/{self.run_id}"

    @property
    def plan_key(self) -> str:
        """The plan's object in the store."""
        return f"{self.folder_key}/plan.json"

    @property
    def forecast_key(self) -> str:
        """The object in the store with how long the run was thought to take when its plan was made."""
        return f"{self.folder_key}/forecast.json"
