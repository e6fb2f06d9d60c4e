"""Which segment a position speaks of. File names repeat, so one that is not certain is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from relight.backups.catalog import Catalog
from relight.backups.manifest import SegmentManifest
from relight.errors import ObjectCorrupt, TargetError, command_line
from relight.planning.target import LogPosition
from relight.planning.unreachable import text_of
from relight.store import layout


def segment_of(catalog: Catalog, position: LogPosition) -> SegmentManifest:
    """The one segment that the position lies in.

    :raises TargetError: there is none, or more than one, or the file is not that long.
        ObjectCorrupt: a file of that name has a manifest that cannot be read.
    """
    _refuse_unreadable(catalog, position)
    found = [segment for segment in catalog.segments if _is_meant(segment, position)]
    if not found:
        raise _no_such_file(catalog, position)
    if len(found) > 1:
        raise _several(found, position)
    (segment,) = found
    if position.offset > segment.log_bytes:
        end = LogPosition(segment.server_uuid, position.file, segment.log_bytes)
        raise TargetError(
            "the log file is not that long", on=f"position:{position}",
            why=f"{segment.file} of {segment.server_uuid} has {segment.log_bytes} bytes",
            hint=f"all of it: --target position:{end}",
        )  # fmt: skip
    return segment


def _is_meant(segment: SegmentManifest, position: LogPosition) -> bool:
    names = (segment.file, layout.stored_name(segment.file, segment.log_sha256))
    return position.file in names and position.server_uuid in ("", segment.server_uuid)


def _refuse_unreadable(catalog: Catalog, position: LogPosition) -> None:
    for entry in catalog.unreadable:
        server, file = layout.segment_identity(entry.key) or ("", "")
        named = position.file in (file, PurePosixPath(entry.key).stem)
        if named and position.server_uuid in ("", server):
            raise ObjectCorrupt(
                "the manifest of a log file of that name cannot be read", on=entry.key, why=entry.why,
                hint="restore the object from a copy; if another server's file is meant, "
                f"name the server: --target position:SERVER-UUID/{position.file}:{position.offset}",
            )  # fmt: skip


def _no_such_file(catalog: Catalog, position: LogPosition) -> TargetError:
    of_server = [s for s in catalog.segments if position.server_uuid in ("", s.server_uuid)]
    names = sorted({segment.file for segment in of_server})
    whose = f"of {position.server_uuid}" if position.server_uuid else "of this shard"
    return TargetError(
        "the store has no log file of that name", on=f"position:{position}",
        why=f"those {whose} go from {names[0]} to {names[-1]}" if names else f"there is no log {whose}",
        hint="one without transactions is not kept, and the newest ones may not have been shipped; the files are "
        f"listed by: {command_line('catalog', catalog.shard)}",
    )  # fmt: skip


def _several(found: list[SegmentManifest], position: LogPosition) -> TargetError:
    """Names every file that is long enough, in words that can be pasted."""
    servers = Counter(segment.server_uuid for segment in found)
    facts, choices = [], []
    for segment in [s for s in found if position.offset <= s.log_bytes] or found:
        alone = servers[segment.server_uuid] == 1
        file = segment.file if alone else layout.stored_name(segment.file, segment.log_sha256)
        choices.append(f"--target position:{LogPosition(segment.server_uuid, file, position.offset)}")
        times = [text_of(time) for time in (segment.first_commit, segment.last_commit) if time]
        facts.append(f"{file} of {segment.server_uuid} was written {' to '.join(times)}")
    return TargetError(
        "several log files have that name", on=f"position:{position}", why="; ".join(facts),
        hint=f"say which one: {' or '.join(choices)}",
    )  # fmt: skip
