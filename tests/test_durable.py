"""What is believed after a power failure was written out before it got its name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from relight import durable
from relight.durable import write_out_below, write_whole, written_beside
from relight.server.mysqld import write_closed_settings
from relight.server.rebuilt import write_mark


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel is asked for, in order: files by their name, folders with a slash behind it."""
    asked: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        asked.append(f"sync {name}/" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else f"sync {name}")
        fsync(descriptor)

    def renamed(self: Path, target: Any) -> Path:
        asked.append(f"rename {self.name} {Path(target).name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    return asked


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.json", lambda folder: write_whole(folder / "a.json", "{}")),
        ("mysqld-auto.cnf", lambda folder: write_closed_settings(folder, loading=True)),
        ("relight.json", lambda folder: write_mark(folder, "run-1", "restored")),
    ],
)
def test_a_file_gets_its_name_once_its_bytes_are_on_disk_and_its_folder_after_that(
    tmp_path: Path, order: list[str], name: str, write: Any
) -> None:
    write(tmp_path)
    bytes_out, named, folder_out = order
    temporary = bytes_out.removeprefix("sync ")
    assert temporary != name
    assert named == f"rename {temporary} {name}"
    assert folder_out == f"sync {tmp_path.name}/"
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_folders_that_are_made_on_the_way_survive_too(tmp_path: Path, order: list[str]) -> None:
    write_whole(tmp_path / "a" / "b" / "c.json", "{}")
    assert order[:2] == [f"sync {tmp_path.name}/", "sync a/"]
    assert order[-1] == "sync b/"


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "before")
    with pytest.raises(TypeError), written_beside(tmp_path / "a") as file:
        file.writelines([b"half", "not bytes"])  # type: ignore[list-item]
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a": "before"}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("many", [3, 100])
def test_everything_below_a_folder_is_written_out(
    tmp_path: Path, order: list[str], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Few files one by one, many by one request for the whole file system."""
    whole: list[Path] = []
    sync = durable._sync_file_system
    monkeypatch.setattr(durable, "_sync_file_system", lambda folder: whole.append(folder) is None and sync(folder))
    folder = tmp_path / "f"
    for number in range(many):
        (folder / f"d{number % 3}").mkdir(parents=True, exist_ok=True)
        (folder / f"d{number % 3}" / str(number)).write_text("x")
    (folder / "link").symlink_to("/nowhere")
    write_out_below(folder)
    if many < 10:
        assert {"sync 0", "sync 1", "sync 2", "sync d0/", "sync d1/", "sync d2/", "sync f/"} <= set(order)
        assert not whole
    else:
        assert whole == [folder]
    assert order[-1] == f"sync {tmp_path.name}/"


def test_where_the_file_system_cannot_be_asked_files_are_written_out_one_by_one(
    tmp_path: Path, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "_sync_file_system", lambda _folder: False)
    for number in range(50):
        (tmp_path / str(number)).write_text("x")
    write_out_below(tmp_path)
    assert sum(one.startswith("sync ") for one in order) == 52
