"""Sabotage of whole transactions: one that was never applied, one that was applied twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from relight.binlog import format as f
from relight.binlog.row_images import columns_of, images_of, undoing
from relight.lane.stream import MappedTable
from relight.rehearsal.rows import Key, Transaction, WrittenTable, transactions
from relight.rehearsal.scene import Attempt, Scene, attempt
from relight.verify.database import ROW_CONTENT, ROW_COUNTS
from relight.verify.images import SAMPLE

_Events = Sequence[tuple[MappedTable, bytes]]
_Net = tuple[Counter[str], set[str]]
"""Rows more or less, by table; tables that have rows with other values."""


def skip_transaction(scene: Scene) -> Iterator[Attempt]:
    """A transaction is left out."""
    for transaction in transactions(scene.segments, scene.draw):
        events = transaction.in_order()
        if not _may_be_damaged(scene, events) or not _is_last_writer(scene, transaction, events):
            continue
        added, changed = _net(scene, events)
        check = _check_of(scene, {name: -count for name, count in added.items()}, changed)
        if check:
            what = f"transaction {scene.named(transaction)} was taken back, as if it had never been applied"
            undone = [(table, undoing(event, table.map)) for table, event in reversed(events)]
            yield attempt("skip_transaction", check, _names(events), what, undone)


def replay_twice(scene: Scene) -> Iterator[Attempt]:
    """A transaction is applied again after others that wrote the same rows."""
    for transaction in transactions(scene.segments, scene.draw):
        events = transaction.in_order()
        if not _may_be_damaged(scene, events) or not _is_told_by_key(scene, events):
            continue
        check = _check_of(scene, *_effect_again(scene, events))
        if check:
            what = f"transaction {scene.named(transaction)} was applied once more, after those that followed it"
            yield attempt("replay_twice", check, _names(events), what, events, idempotent=True)


def _names(events: _Events) -> list[str]:
    return list(dict.fromkeys(".".join(table.name) for table, _ in events))


def _may_be_damaged(scene: Scene, events: _Events) -> bool:
    return all(table.name[0] == scene.database and table.name[1] in scene.transactional for table, _ in events)


def _is_last_writer(scene: Scene, transaction: Transaction, events: _Events) -> bool:
    """Whether no later transaction has touched what this one has."""
    for mapped, event in events:
        table = scene.tables.get(mapped.name[1])
        if table is None or table.mapped.map.shape != mapped.map.shape:
            return False
        for image in images_of(event, mapped.map):
            row = table.rows.get(table.key_of(image))
            if row is None or row.at != transaction.at:
                return False
    return True


def _is_told_by_key(scene: Scene, events: _Events) -> bool:
    """Whether it is known what becomes of each row when the events are applied again."""
    for mapped, event in events:
        table = scene.tables.get(mapped.name[1])
        if table is None or table.mapped.map.shape != mapped.map.shape:
            return False
        images = images_of(event, mapped.map)
        keys = [table.key_of(image) for image in images]
        if any(key not in table.rows for key in keys):
            return False
        # Where another row has a unique value by now, the server would take that row away.
        if any(_unique(scene, table, image) != _unique(scene, table, table.rows[key].image)
               for key, image in zip(keys, images, strict=True)):  # fmt: skip
            return False
        if event[4] == f.UPDATE_ROWS and keys[::2] != keys[1::2]:
            return False  # rows that move may meet others
    return True


def _unique(scene: Scene, table: WrittenTable, image: bytes) -> list[bytes | None]:
    """The columns that other unique keys are made of."""
    columns = columns_of(image, table.mapped.map)
    return [columns[column] for column in sorted(scene.unique[table.mapped.name[1]])]


def _net(scene: Scene, events: _Events) -> _Net:
    """What a transaction changed."""
    first: dict[tuple[str, Key], bytes | None] = {}
    last: dict[tuple[str, Key], bytes | None] = {}
    for name, key, before, after in _changes(scene, events):
        first.setdefault((name, key), before)
        last[name, key] = after
    return _difference(first, last)


def _effect_again(scene: Scene, events: _Events) -> _Net:
    """What a transaction would change if it were applied to the rows as they are at the end."""
    now: dict[tuple[str, Key], bytes | None] = {}
    then: dict[tuple[str, Key], bytes | None] = {}
    for name, key, before, after in _changes(scene, events):
        row = scene.tables[name].rows[key]
        now.setdefault((name, key), row.image if row.there else None)
        then.setdefault((name, key), now[name, key])
        if before is not None and after is not None and then[name, key] is None:
            continue  # an update of a row that is not there
        then[name, key] = after
    return _difference(now, then)


def _changes(scene: Scene, events: _Events) -> Iterator[tuple[str, Key, bytes | None, bytes | None]]:
    """Table, key, and what the row was before and after; None: not there."""
    for mapped, event in events:
        table, kind = scene.tables[mapped.name[1]], event[4]
        images = images_of(event, mapped.map)
        if kind == f.UPDATE_ROWS:
            for before, after in zip(images[::2], images[1::2], strict=True):
                if table.key_of(before) == table.key_of(after):
                    yield mapped.name[1], table.key_of(before), before, after
                else:
                    yield mapped.name[1], table.key_of(before), before, None
                    yield mapped.name[1], table.key_of(after), None, after
        else:
            for image in images:
                pair = (None, image) if kind == f.WRITE_ROWS else (image, None)
                yield mapped.name[1], table.key_of(image), *pair


def _difference(
    before: Mapping[tuple[str, Key], bytes | None], after: Mapping[tuple[str, Key], bytes | None]
) -> _Net:  # fmt: skip
    added: Counter[str] = Counter()
    changed: set[str] = set()
    for (name, key), old in before.items():
        new = after[name, key]
        added[name] += (new is not None) - (old is not None)
        if old is not None and new is not None and old != new:
            changed.add(name)
    return added, changed


def _check_of(scene: Scene, added: Mapping[str, int], changed: Collection[str]) -> str:
    """Which check is sure to find it; empty where none is."""
    if any(count and name in scene.counted for name, count in added.items()):
        return ROW_COUNTS
    told = (
        name for name in changed
        if name in scene.counted and scene.tables[name].touched <= SAMPLE
        # Of a document not every change can be told: see relight.verify.columns.
        and not any(column.kind == "json" for column in scene.shapes[name].columns)
    )  # fmt: skip
    return ROW_CONTENT if any(told) else ""
