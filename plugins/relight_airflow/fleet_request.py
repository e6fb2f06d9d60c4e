"""What a person asks of a restore of many shards: the parameters, and whether they make sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow.sdk import Param

from relight.backups.manifest import Value
from relight.errors import FleetError, TargetError
from relight.fleet import Fleet, Shard
from relight.incident.choosing import Wanted, candidates
from relight.incident.naming import incident_id
from relight.planning.target import Target
from relight_airflow.request import (
    FLEET_RUN,
    approval_params,
    mode_param,
    optional_text,
    read_approval,
    read_request,
    read_target,
    said,
    salvage_param,
    shard_names,
    target_params,
)

KINDS = ("latest", "time")
"""Targets that mean something for more than one shard: a GTID or a position belongs to one."""


class FleetRequest(Value):
    """A restore of many shards, as it was asked for."""

    incident: str
    wanted: Wanted
    target_kind: str
    target_value: str
    mode: Literal["promote", "rehearse"]
    salvage: bool
    approved_by: str
    approval_reason: str

    @property
    def target(self) -> Target:
        """The same for every shard."""
        return read_target(self.target_kind, self.target_value)

    def conf(self, shard: str, fleet_run: str) -> dict[str, Any]:
        """What the run of DAG ``restore`` for one shard is asked."""
        return {
            "shard": shard, "target_kind": self.target_kind, "target_value": self.target_value, "mode": self.mode,
            "salvage": self.salvage, "skip_gtids": "", "timeline": None, "approved_by": self.approved_by,
            "approval_reason": self.approval_reason, FLEET_RUN: fleet_run,
        }  # fmt: skip


def fleet_params() -> dict[str, Param]:
    """Every parameter of ``restore_fleet``."""
    kind = target_params()["target_kind"]
    return {
        "incident": Param(
            type="string", minLength=1, maxLength=80, title="Incident",
            description="Its name, for example of the ticket. Its restores bear it. Asked twice with one name, what "
            "runs already is joined and nothing is started twice; a restore to another point needs another name.",
        ),
        **_which_params(),
        "target_kind": Param(
            "latest", type="string", enum=list(KINDS), title=kind.schema["title"],
            description="latest: the newest point that the store holds, for each shard its own. time: the same moment "
            "for every shard.",
        ),
        "target_value": optional_text("Time", "Empty for latest. For time like 2026-11-22T19:00:00Z."),
        "mode": mode_param(),
        "salvage": salvage_param(),
        **approval_params(),
    }  # fmt: skip


def _which_params() -> dict[str, Param]:
    return {
        "all_down": Param(
            default=False, type="boolean", title="All that are down",
            description="Only shards of which no server answers, not the source and no replica. They are asked now.",
        ),
        "shards": Param(
            None, type=["array", "null"], items={"type": "string"}, examples=shard_names(), title="Shards",
            description="By name. Of these four, what is filled in must all hold; at least one must be filled in.",
        ),
        "pattern": optional_text(
            "Name pattern", "Shards whose names are like it: * stands for any characters, ? for one."
        ),
        "tier": Param(
            None, type=["integer", "null"], minimum=1, maximum=9, title="Tier",
            description="Only shards of this tier. Empty: of all tiers.",
        ),
    }  # fmt: skip


def read_fleet_request(fleet: Fleet, params: Mapping[str, Any], *, requested_by: str = "") -> FleetRequest:
    """Check a request, with nobody being asked whether it is down. ``requested_by``: the account that is signed in.

    :raises FleetError: no shard is meant, or one that cannot be rehearsed; TargetError: no target for several shards.
    """
    kind, mode = said(params, "target_kind"), said(params, "mode")
    if kind not in KINDS:
        raise TargetError(
            "not a target for several shards", on=kind, why="it belongs to one shard's own log",
            hint="use latest or time; for anything else run DAG restore, shard by shard",
        )  # fmt: skip
    who, why = read_approval(params, mode, requested_by)
    request = FleetRequest.model_validate({
        "incident": incident_id(said(params, "incident")), "wanted": _wanted(params),
        "target_kind": kind, "target_value": said(params, "target_value"), "mode": mode,
        "salvage": params.get("salvage") is not False, "approved_by": who, "approval_reason": why,
    })  # fmt: skip
    meant = candidates(fleet, request.wanted)
    _refuse_without_scratch(meant, request.mode)
    # What is refused of one is refused of all: better here than in each of a thousand runs.
    read_request(fleet, run_id=request.incident, params=request.conf(meant[0].name, ""))
    return request


def _wanted(params: Mapping[str, Any]) -> Wanted:
    return Wanted(
        names=tuple(str(name).strip() for name in params.get("shards") or ()), pattern=said(params, "pattern"),
        tier=params.get("tier"), down=bool(params.get("all_down")),
    )  # fmt: skip


def _refuse_without_scratch(shards: list[Shard], mode: str) -> None:
    lacking = [shard.name for shard in shards if shard.scratch is None]
    if mode == "rehearse" and lacking:
        raise FleetError(
            "no scratch server", on=", ".join(lacking[:10]), why=f"{len(lacking)} of {len(shards)} shards have none",
            hint="choose others, or give them a 'scratch' server in the fleet file",
        )  # fmt: skip
