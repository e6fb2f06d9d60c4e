"""``relight bench`` as it is called: JSON for scripts, files, errors, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relight.lab.place import Place
from tests.support import watchdog

pytestmark = pytest.mark.timeout(1000)

RELIGHT = Path(sys.executable).parent / "relight"
METHODS = ("pipe", "applier_4", "applier_8", "applier_8_unlogged", "ordered", "planned")
MEASURED = {
    "pipe_s", "applier_s", "ordered_s", "planned_s", "ratio_pipe", "ratio_applier", "applier_unlogged_s",
    "ratio_applier_unlogged", "checksums_equal",
}  # fmt: skip
NAMES = ["skewed", "uniform", "one_database", "mix"]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RELIGHT, "bench", *arguments], text=True, capture_output=True, check=False, timeout=900
    )  # fmt: skip


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """All workloads, measured quickly, and the file that keeps the result."""
    file = tmp_path_factory.mktemp("bench") / "all.json"
    return bench("replay", "--quick", "--json", "--save", file), file


Quick = tuple[subprocess.CompletedProcess[str], Path]


def test_every_workload_is_measured_by_every_method_and_ends_alike(quick: Quick) -> None:
    done, _ = quick
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["workloads"]) == NAMES
    for measured in found["workloads"].values():
        assert set(measured) == MEASURED
        assert measured["checksums_equal"] is True
        assert all(measured[name] > 0 for name in MEASURED)
    assert found["targets"]["skewed"] == {"pipe": 40, "applier": 10, "met": None}
    assert set(found["machine"]) == {"cpu", "cores", "memory_bytes", "mysql"}
    for details in found["details"].values():
        assert details["log_bytes"] > 100_000
        assert set(details["seconds"]) == set(METHODS)


def test_progress_is_told_on_standard_error(quick: Quick) -> None:
    done, _ = quick
    for name in NAMES:
        for method in METHODS:
            assert f"{name}: run 1 of 1, {method} ..." in done.stderr


def test_what_was_saved_is_shown_again_and_drawn(quick: Quick, tmp_path: Path) -> None:
    done, file = quick
    again = bench("show", file, "--json")
    assert json.loads(again.stdout) == json.loads(done.stdout)
    table = bench("show", file, file, "--plot", tmp_path / "chart.svg")
    assert table.returncode == 0, table.stderr
    for part in (*NAMES, "checksums equal", "too small to tell", "MySQL "):
        assert part in table.stdout
    assert (tmp_path / "chart.svg").read_text().startswith("<svg ")


def test_scale_tells_time_and_memory_for_three_lengths() -> None:
    done = bench("scale", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert [step["transactions"] for step in steps] == [500, 2_000, 8_000]
    for step in steps:
        assert step["checksums_equal"] is True
        assert step["seconds_per_100_mb"] == pytest.approx(step["seconds"] / step["log_bytes"] * 1e8, rel=0.01)
        assert 2**24 < step["largest_process_bytes"] < 2**30
        assert 2**24 < step["together_bytes"] < 2**30
    assert steps[2]["log_bytes"] > 10 * steps[0]["log_bytes"]


def test_memory_says_whether_it_stayed_below_the_limit() -> None:
    done = bench("memory", "--gib", "0.02", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["step"]["log_bytes"] == pytest.approx(0.02 * 2**30, rel=0.05)
    assert found["limit_bytes"] == 512 * 2**20
    assert found["stayed_under"] is (found["step"]["together_bytes"] < found["limit_bytes"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "--quick", "--workload", "nonsense"), "unknown workload (nonsense)"),
        (("replay", "--quick", "--save", "/no/such/folder/a.json"), "could not be written"),
        (("replay", "--quick", "--plot", "/no/such/folder/a.svg"), "could not be written"),
        (("show", "/no/such/file"), "cannot be read"),
    ],
)  # fmt: skip
def test_mistakes_are_said_before_anything_is_measured(arguments: tuple[str, ...], said: str) -> None:
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "making tables" not in done.stderr


def folders() -> set[Path]:
    return set(Place.find().root.glob("relight-bench-*"))


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("moment", ["writing", "pipe ...", "applier_4 ...", "planned ..."])
def test_an_interrupted_run_leaves_nothing_behind(moment: str, tmp_path: Path) -> None:
    before = folders()
    log = tmp_path / "stderr"
    with log.open("w") as stream:
        run = subprocess.Popen([RELIGHT, "bench", "replay", "--quick", "--workload", "uniform"], stderr=stream)
        try:
            wait_for(lambda: moment in log.read_text())
            (folder,) = folders() - before
            assert wait_for(lambda: watchdog.running_below(folder.resolve()))
            time.sleep(0.3)
            run.send_signal(signal.SIGTERM)
            assert run.wait(30) == 130
        finally:
            run.kill()
            run.wait()
    assert "interrupted" in log.read_text()
    assert not folder.exists()
    assert not watchdog.running_below(folder.resolve())


def test_the_folder_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    left = Place.find().root / f"relight-bench-left{os.getpid()}"
    left.mkdir()
    (left / "lock").touch()
    done = bench("memory", "--gib", "0.001")
    assert done.returncode == 0, done.stderr
    assert not left.exists()


def test_plans_and_forecasts_of_a_fleet_are_timed() -> None:
    done = bench("forecast", "--shards", "30", "--segments", "20", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["planned_segments"] == 30 * 20, "every plan leads to the end of the log"
    assert found["total_s"] == pytest.approx(found["plan_s"] + found["estimate_s"] + found["simulate_s"], abs=0.01)
    shown = bench("forecast", "--shards", "30", "--segments", "20")
    assert "log files each" in shown.stdout
