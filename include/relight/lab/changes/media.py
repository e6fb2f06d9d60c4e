"""Changes to files and texts."""

from __future__ import annotations

from random import Random

from relight.lab.changes.values import blob, text


def _file(random: Random) -> list[str]:
    return [
        (
            "INSERT INTO media.files (path, body, thumbnail) VALUES "
            f"('/new/{random.randbytes(8).hex()}', {blob(random, random.choice((100, 1000, 8000)))}, "
            f"{blob(random, 200)})"
        )
    ]


def _file_change(random: Random) -> list[str]:
    some = f"WHERE id % 61 = {random.randint(0, 60)} ORDER BY id DESC LIMIT 2"
    return [
        random.choice(
            (
                f"UPDATE media.files SET body = {blob(random, 2000)} {some}",
                f"UPDATE media.files SET path = CONCAT('/moved', LEFT(path, 200), id) {some}",
                f"UPDATE media.files SET thumbnail = NULL {some}",
            )
        )
    ]


def _file_gone(random: Random) -> list[str]:
    return [f"DELETE FROM media.files WHERE id > 60 AND id % 53 = {random.randint(0, 52)} ORDER BY id LIMIT 3"]


def _tag(random: Random) -> list[str]:
    file, tag, other = random.randint(1, 60), random.randint(1, 20), random.randint(1, 60)
    return [
        f"INSERT IGNORE INTO media.file_tags (file_id, tag) VALUES ({file}, 'TAG{tag}')",
        f"DELETE FROM media.file_tags WHERE file_id = {other} LIMIT 1",
    ]


def _note(random: Random) -> list[str]:
    one = random.randint(1, 40)
    return [
        random.choice(
            (
                f"UPDATE media.notes SET body = CONCAT(LEFT(body, 300), {text(random, 30)}) WHERE id = {one}",
                f"UPDATE media.notes SET latin = 'Straße {one}', language = 'de' WHERE id = {one}",
            )
        )
    ]


def _download(random: Random) -> list[str]:
    return [
        (
            f"INSERT INTO media.downloads (file_id, day, count) VALUES ({random.randint(1, 60)}, "
            f"DATE_ADD('2026-03-01', INTERVAL {random.randint(0, 5)} DAY), 1) ON DUPLICATE KEY UPDATE count = count + 1"
        )
    ]


KINDS = (_file, _file_change, _file_gone, _tag, _note, _download)
"""What may be done; what stands there more often is done more often."""
