"""The timelines of a shard, drawn as branches."""

from __future__ import annotations

from collections.abc import Sequence

from rich.tree import Tree

from relight.backups.branches import BranchSummary
from relight.cli.tables import console
from relight.planning.unreachable import text_of


def show_branches(shard: str, branches: Sequence[BranchSummary]) -> None:
    """Draw them."""
    trees: dict[int | None, Tree] = {None: Tree(f"timelines of {shard}")}
    for one in branches:
        # A parent always began before; one that is not known is as good as the beginning.
        above = trees.get(one.parent) or trees[None]
        trees[one.number] = above.add(_words(one))
    console().print(trees[None])


def _words(one: BranchSummary) -> str:
    mark = ", the present one" if one.present else ""
    lines = [f"timeline {one.number}{mark}: {len(one.snapshots)} snapshots, {one.segments} logs" + _until(one)]
    if one.began_at is not None:
        lines.append(
            f"begun {text_of(one.began_at.replace(microsecond=0))} by run {one.run_id} on {one.server_uuid}: {one.why}"
        )
    if one.given_up:
        lines.append(f"gave up {one.given_up.count():,} transactions of timeline {one.parent}: {one.given_up}")
    return "\n".join(lines)


def _until(one: BranchSummary) -> str:
    return f" up to {text_of(one.last_commit.replace(microsecond=0))}" if one.last_commit else ""
