"""What a person or a schedule asks of a restore: the parameters, and whether they make sense.

Airflow checks each parameter by itself, and not whether a key is known or two values go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Param

from relight.errors import FleetError, TargetError
from relight.fleet import Fleet, Limits
from relight.planning.target import Target
from relight.sabotage import SABOTAGES, Sabotage
from relight.site import Run
from relight_airflow.place import fleet

IN_TURN, NO_SABOTAGE = "in turn", "none"
"""Choices of what to sabotage, besides the kinds themselves."""

EVERY = "every shard"

FLEET_RUN = "fleet_run"
"""The parameter of ``restore`` that names the run of ``restore_fleet`` which has started it."""

MODES = ("promote", "rehearse")

_LONGEST_NUMBER = 9
"""Of a timeline, in digits."""

VALUES = {"time": "time", "gtid": "GTID", "before": "GTID", "position": "position"}
"""The kinds of target that need a value, and what it is."""


def shard_names() -> list[str]:
    """The shards of the fleet file, for the form; none while there is no usable fleet file, so that
    the DAGs still load and their first task can say what is wrong."""
    try:
        return [shard.name for shard in fleet().shards]
    except FleetError:
        return []


def shard_param(*first: str) -> Param:
    """A choice of the fleet's shards, after the given choices, the first of which is the default."""
    names = [*first, *shard_names()]
    settings: dict[str, Any] = {"enum": names} if names else {}
    if first or len(names) == 1:
        settings["default"] = names[0]
    return Param(type="string", title="Shard", description="A shard of the fleet file.", **settings)


def optional_text(title: str, description: str, **more: Any) -> Param:
    """A text that need not be given. Airflow's form wants every parameter to be filled in that may not be null."""
    return Param("", type=["null", "string"], title=title, description=description, **more)


def said(params: Mapping[str, Any], name: str) -> str:
    """What a text parameter says. None, nothing and blanks all say nothing: which of them it is depends on the form."""
    value = params.get(name)
    return "" if value is None else str(value).strip()


def target_params() -> dict[str, Param]:
    """Where to restore to."""
    return {
        "target_kind": Param(
            "latest", type="string", enum=["latest", *VALUES], title="Restore to",
            description="latest: the newest point that the store holds. time: what was committed at or before it. "
            "gtid: up to that transaction, itself included. before: up to it, itself not included. "
            "position: what begins before that position of a binary log file.",
        ),
        "target_value": optional_text(
            "Time, GTID or position",
            "Empty for latest. For time like 2026-11-22T19:00:00Z, for gtid and before like UUID:N, "
            "for position like binlog.000003:4711 or UUID/binlog.000003:4711.",
        ),
    }  # fmt: skip


def skip_param() -> Param:
    """What is left out."""
    return optional_text(
        "Transactions to leave out",
        "GTIDs, joined by commas. The run stops before anything is replayed if later transactions build on one of "
        "them, and names those.",
        section="Exceptions",
    )


def timeline_param() -> Param:
    """Which of the shard's histories is followed."""
    return Param(
        None, type=["integer", "null"], minimum=0, title="Timeline", section="Exceptions",
        description="Empty: the present one. A number: an older one, with what later restores have given up; relight "
        "catalog SHARD draws them.",
    )  # fmt: skip


def salvage_param() -> Param:
    """Whether the lost source's own disk is looked at."""
    return Param(
        default=True, type="boolean", title="Salvage logs from the source's disk", section="Exceptions",
        description="Ship what the lost source's own binary logs hold and the store lacks, before the plan is made. "
        "Off: it is only said how much that is.",
    )  # fmt: skip


def mode_param() -> Param:
    """Whether the shard is opened at the end."""
    return Param(
        "promote", type="string", enum=list(MODES), title="Mode",
        description="promote: rebuild the shard and open it. rehearse: rebuild it on its scratch server, "
        "prove it, and tear it down; the shard itself is not touched.",
    )  # fmt: skip


def approval_params() -> dict[str, Param]:
    """Who takes the responsibility where the proof leaves a doubt."""
    return {
        "approval_reason": optional_text(
            "Promote although something is inconclusive: why that is right",
            "Only after the report of an earlier run has said what and why. It stands in the certificate, beside the "
            "name of whoever is signed in and starts the run. What is wrong always stops the run.",
            section="Exceptions",
        ),
        "approved_by": optional_text(
            "On whose behalf",
            "Empty: your own. Another name stands in the certificate behind the reason.",
            section="Exceptions",
        ),
    }


def fleet_run_param() -> Param:
    """Whether the run is one of many."""
    return optional_text(
        "Part of a run of restore_fleet",
        "DAG restore_fleet fills it in. Leave it empty: the tasks of such a run wait for turns in pools that only "
        "restore_fleet makes.",
        section="Exceptions",
    )


def most_restores() -> int:
    """How many runs of ``restore`` may be active: those that the fleet file allows, and never fewer than 16."""
    try:
        return max(16, fleet().limits.restores)
    except FleetError:
        return 16


def sabotage_param() -> Param:
    """What a rehearsal breaks once it has proved the shard."""
    return Param(
        IN_TURN, type="string", enum=[IN_TURN, NO_SABOTAGE, *SABOTAGES], title="Sabotage",
        description="What is broken on the scratch server after the proof. The rehearsal passes only if the check that "
        "is meant to find it does. in turn: what was longest not found on this shard.",
    )  # fmt: skip


def turn_params() -> dict[str, Param]:
    """How many rehearsals are begun."""
    return {
        "shards": Param(
            None, type=["integer", "null"], minimum=1, maximum=500, title="How many shards",
            description="Those with the oldest proof. Empty: as many as keep every proof as young as its tier promises "
            "(tiers[].prove_every_days), an even share every night.",
        ),
        "hours": Param(
            8.0, type="number", minimum=1, maximum=24, title="Hours of a night",
            description="No more is begun than is expected to be through in that time. Has no effect where it is said "
            "how many shards.",
        ),
    }  # fmt: skip


def rehearsals_at_once() -> int:
    """How many runs of DAG ``rehearse`` go on at the same time, as the fleet file says; the rest are queued."""
    try:
        return fleet().limits.rehearsals
    except FleetError:  # its first task says what is wrong
        return Limits().rehearsals


def read_request(
    fleet: Fleet, *, run_id: str, params: Mapping[str, Any], mode: str | None = None, requested_by: str = ""
) -> Run:  # fmt: skip
    """Check a request and make it a run. ``mode`` overrides the parameter, for rehearsals.

    :param requested_by: the account that is signed in. An approval is given by it, whatever name was typed.
    :raises FleetError: an unknown shard or mode, or no scratch server for a rehearsal;
        TargetError: kind and value do not go together, or the value is malformed.
    """
    mode = mode or said(params, "mode")
    if mode not in MODES:
        raise FleetError("unknown mode", on=mode, hint=f"use {' or '.join(MODES)}")
    who, why = read_approval(params, mode, requested_by)
    run = Run.model_validate({
        "run_id": run_id, "shard": said(params, "shard"), "mode": mode,
        "target": read_target(said(params, "target_kind"), said(params, "target_value")),
        "skip": said(params, "skip_gtids"), "approved_by": who, "approval_reason": why,
        "salvage": params.get("salvage") is not False, "requested_by": requested_by,
        "timeline": read_timeline(params.get("timeline")),
    })  # fmt: skip
    run.server(fleet)
    return run


def read_timeline(value: object) -> int | None:
    """The number of a timeline, None for the present one. :raises FleetError: it is none."""
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise FleetError("not a timeline", on=text[:40], hint="give its number, as the catalog shows it")
    return int(text)


def read_approval(params: Mapping[str, Any], mode: str, account: str) -> tuple[str, str]:
    """Who takes the responsibility, and why; both empty where nobody does.

    :raises FleetError: it is half an approval, or one that nothing comes of.
    """
    name, why = said(params, "approved_by"), said(params, "approval_reason")
    if (name or why) and mode == "rehearse":
        raise FleetError(
            "an approval without a use", on=name or why, why="a rehearsal is never promoted",
            hint="leave both fields empty, or choose 'promote'",
        )  # fmt: skip
    # A name that anybody can type is no signature: it only tells on whose behalf.
    who = (account or name) if why else name
    if bool(who) != bool(why):
        raise FleetError(
            "half an approval", on=who or why, why="there is no reason" if who else "there is no name",
            hint="give both, as both stand in the certificate, or neither",
        )  # fmt: skip
    return who, f"{why} (on behalf of {name})" if name not in ("", who) else why


def read_target(kind: str, value: str) -> Target:
    """The target of the two form fields. :raises TargetError: they do not make one."""
    value = value.strip().removeprefix(f"{kind}:").strip()  # as the command line and the hints of errors write it
    if kind == "latest" and value:
        raise TargetError(
            "a value without a use", on=value, why="the target is 'latest', which takes no value",
            hint=f"choose one of {', '.join(VALUES)}, or leave the value empty",
        )  # fmt: skip
    if kind in VALUES and not value:
        wanted = VALUES[kind]
        raise TargetError(f"no {wanted} given", on="target_value", hint=f"say which {wanted}, or choose 'latest'")
    return Target.parse(f"{kind}:{value}" if value else kind)


def read_sabotage(value: str) -> tuple[Sabotage, ...]:
    """The kind that a form field names. :raises FleetError: there is none of that name."""
    if value == NO_SABOTAGE:
        return ()
    found = next((kind for kind in SABOTAGES if kind == value), None)
    if found is None:
        raise FleetError("unknown sabotage", on=value, hint=f"use {IN_TURN}, {NO_SABOTAGE} or {', '.join(SABOTAGES)}")
    return (found,)


def chosen_shards(fleet: Fleet, params: Mapping[str, Any]) -> list[str]:
    """The shards that a run for many is for. :raises FleetError: there is no such shard."""
    wanted = said(params, "shard") or EVERY
    return [s.name for s in fleet.shards] if wanted == EVERY else [fleet.shard(wanted).name]


def refuse_unknown(conf: Mapping[str, Any], known: Iterable[str]) -> None:
    """Airflow accepts any key in a run's conf, and shows it among the parameters.

    :raises FleetError: a key that the DAG does not declare.
    """
    unknown = sorted(set(conf) - set(known))
    if unknown:
        raise FleetError(
            "unknown parameters", on=", ".join(unknown), why=f"this DAG knows {', '.join(known)}",
            hint="a misspelt parameter would silently restore something else, so it is refused",
        )  # fmt: skip
