"""Results: kept, merged, judged, shown, drawn."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console

from relight.bench.growth import Memory, Scale, Step
from relight.bench.plot import plot
from relight.bench.replay import summary
from relight.bench.results import Bench, Details, Machine, load, save, targets, this_machine
from relight.bench.show import show_bench, show_memory, show_scale
from relight.errors import LabError
from relight.lab.mysql import MySQL

MACHINE = Machine(cpu="Some <CPU> & more", cores=2, memory_bytes=8 * 2**30, mysql="9.7.4")
SECONDS = {
    "pipe": (250.0, 240.0, 900.0), "applier_4": (66.0, 60.0, 61.0), "applier_8": (70.0, 62.0, 63.0),
    "applier_8_unlogged": (33.0, 34.0, 32.0), "ordered": (13.0, 14.0, 12.0), "planned": (5.0, 6.0, 5.5),
}  # fmt: skip


def bench(*names: str, seconds: dict[str, tuple[float, ...]] | None = None, machine: Machine = MACHINE) -> Bench:
    details = Details(transactions=200_000, log_bytes=332_000_000, seconds=seconds or SECONDS)
    measured = summary(details.seconds)
    return Bench(
        machine=machine, workloads=dict.fromkeys(names, measured), details=dict.fromkeys(names, details),
        targets={name: targets(name, measured, judge=True) for name in names},
    )  # fmt: skip


def test_medians_and_ratios_and_the_better_applier() -> None:
    measured = summary(SECONDS)
    assert measured.model_dump() == {
        "pipe_s": 250.0, "applier_s": 61.0, "ordered_s": 13.0, "planned_s": 5.5, "ratio_pipe": 45.45,
        "ratio_applier": 11.09, "applier_unlogged_s": 33.0, "ratio_applier_unlogged": 6.0, "checksums_equal": True,
    }  # fmt: skip


def test_targets_are_judged_on_both_ratios() -> None:
    assert targets("skewed", summary(SECONDS), judge=True).met is True
    slow = {**SECONDS, "planned": (7.0,)}
    assert targets("skewed", summary(slow), judge=True).met is False
    quicker_applier = {**SECONDS, "applier_8": (10.0,)}
    assert targets("skewed", summary(quicker_applier), judge=True).met is False
    assert targets("skewed", summary(SECONDS), judge=False).met is None


def test_saved_workloads_come_together_and_the_last_of_one_name_counts(tmp_path: Path) -> None:
    save(bench("skewed", "mix"), tmp_path / "a.json")
    save(bench("uniform", "mix", seconds={**SECONDS, "planned": (50.0,)}), tmp_path / "b.json")
    merged = load([tmp_path / "a.json", tmp_path / "b.json"])
    assert {name: m.planned_s for name, m in merged.workloads.items()} == {"skewed": 5.5, "mix": 50.0, "uniform": 50.0}
    assert set(merged.targets) == set(merged.details) == set(merged.workloads)
    assert load([tmp_path / "a.json"]) == bench("skewed", "mix")


def test_results_of_two_machines_are_not_shown_as_one(tmp_path: Path) -> None:
    save(bench("skewed"), tmp_path / "a.json")
    save(bench("mix", machine=MACHINE.model_copy(update={"cores": 64})), tmp_path / "b.json")
    with pytest.raises(LabError, match="different machines"):
        load([tmp_path / "a.json", tmp_path / "b.json"])


@pytest.mark.parametrize("text", ["", "{}", '{"workloads": {}}', "\x00"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(LabError, match="not a result"):
        load([tmp_path / "x.json"])
    with pytest.raises(LabError, match="cannot be read"):
        load([tmp_path / "missing.json"])


def shown(show: object, value: object) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=200, markup=False, highlight=False), value)  # type: ignore[operator]
    return stream.getvalue()


def test_the_table_says_what_was_measured_and_whether_it_is_enough() -> None:
    text = shown(show_bench, bench("skewed", "uniform", seconds={**SECONDS, "applier_8": (44.0,), "pipe": (250.0,)}))
    skewed, uniform = (next(line for line in text.splitlines() if name in line) for name in ("skewed", "uniform"))
    for part in ("332", "250.00 s", "44.00 s", "13.00 s", "5.50 s", "45.5 x (of 40 x)", "8.0 x (of 10 x)", "not met"):
        assert part in skewed
    assert "not met" not in uniform
    assert uniform.rstrip().endswith("met")
    assert "\nchecksums equal\n" in text
    assert MACHINE.text in text


def test_the_chart_is_one_well_formed_file_with_every_number() -> None:
    text = plot(bench("skewed", "one_database"))
    root = ET.fromstring(text)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for part in ("250.0 s", "61.0 s", "13.0 s", "5.50 s", "Relight as planned", "one database", MACHINE.text):
        assert part in "\n".join(texts)
    assert texts.count("5.50 s") == 2
    assert "prefers-color-scheme: dark" in text
    assert "href" not in text, "nothing from elsewhere"


def test_longer_bars_are_longer_times() -> None:
    root = ET.fromstring(plot(bench("skewed")))
    width = {
        kind: [float(e.get("width", "0")) for e in root.iter() if e.get("class") == kind]
        for kind in ("others", "ordered", "planned")
    }
    (pipe, applier, unlogged), (ordered,), (planned,) = width["others"], width["ordered"], width["planned"]
    assert pipe > applier > unlogged > ordered > planned > 0
    # On a logarithmic scale equal ratios are equal lengths.
    assert (pipe - applier) / (applier - ordered) == pytest.approx(0.9124, abs=0.01)


def test_growth_and_memory_are_told_in_a_sentence() -> None:
    step = Step(
        transactions=25_000, log_bytes=40_000_000, seconds=2.0, seconds_per_100_mb=5.0,
        largest_process_bytes=200 * 2**20, together_bytes=300 * 2**20, checksums_equal=True,
    )  # fmt: skip
    longer = step.model_copy(update={"log_bytes": 640_000_000, "seconds": 30.0})
    text = shown(show_scale, Scale(machine=MACHINE, workload="skewed", steps=(step, longer)))
    assert "16.0 x the log: 15.0 x the seconds, 1.0 x the memory" in text
    text = shown(show_memory, Memory(machine=MACHINE, step=step, limit_bytes=512 * 2**20, stayed_under=True))
    assert "memory stayed under 512 MiB" in text
    text = shown(show_memory, Memory(machine=MACHINE, step=step, limit_bytes=2**20, stayed_under=False))
    assert "memory did not stay under 1 MiB" in text


def test_this_machine_is_named(mysql: MySQL) -> None:
    machine = this_machine(mysql)
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**30
    assert machine.cpu
    assert machine.mysql in machine.text
