"""What a killed process had for itself alone is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relight.server.passing import passing_folder, remove_left_behind

HOLDER = """
import sys, time
from pathlib import Path
from relight.server.passing import passing_folder
with passing_folder(Path(sys.argv[1]), "p-") as folder:
    (folder / "rows").write_text("secret")
    print(folder, flush=True)
    time.sleep(600)
"""


def old(folder: Path) -> None:
    os.utime(folder, (0, 0))


@pytest.fixture
def holder(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    old(folder)
    return process, folder


def test_a_killed_process_s_folder_goes_and_a_living_one_s_stays(
    tmp_path: Path, holder: tuple[subprocess.Popen[str], Path]
) -> None:
    process, folder = holder
    with passing_folder(tmp_path, "p-"):
        assert folder.exists(), "its process is alive"
    process.send_signal(signal.SIGKILL)
    process.wait()
    with passing_folder(tmp_path, "p-") as mine:
        assert not folder.exists()
        assert list(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []


def test_what_is_new_named_otherwise_a_file_or_a_link_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    for name in ("p-new_one_", "q-old", "p-backups"):
        (tmp_path / name).mkdir()
    (tmp_path / "p-filefile").touch()
    (tmp_path / "p-linklink").symlink_to(elsewhere)
    for name in ("q-old", "p-filefile", "elsewhere", "p-backups"):
        old(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    remove_left_behind(tmp_path, "p-")
    assert sorted(tmp_path.rglob("*")) == before
