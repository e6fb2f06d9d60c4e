"""Telling people: who is told of what, in which words, and that a notifier that fails is only said in the log."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.airflow.conftest import PROJECT

TO_FILE, BROKEN = "tests.support.notifying.ToFile", "tests.support.notifying.Broken"


def context(dag: str = "restore", run: str = "inc-7__shard-1", **more: Any) -> dict[str, Any]:
    return {"dag_run": SimpleNamespace(dag_id=dag, run_id=run, conf={"shard": "shard-1"}), **more}


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the configuration; entries get the file that they are to write to."""
    told, file = tmp_path / "told", tmp_path / "notify.yaml"
    monkeypatch.setenv("RELIGHT_NOTIFY", str(file))

    def configure(*entries: dict[str, Any]) -> Path:
        arguments = {"path": str(told), "message": "{{ relight.event }}: {{ relight.text }}"}
        whole = [{**({"arguments": arguments} if e["notifier"] == TO_FILE else {}), **e} for e in entries]
        file.write_text(yaml.safe_dump(whole), encoding="utf-8")
        return told

    return configure


def test_the_message_says_what_happened_to_which_shard_and_where_to_look(configured: Callable[..., Path]) -> None:
    from relight_airflow.notify import notify

    told = configured({"events": ["waiting"], "notifier": TO_FILE})
    notify("waiting", context())
    (line,) = told.read_text().splitlines()
    assert line.startswith("waiting: shard-1: waits for a person")
    assert "(incident inc-7)" in line
    assert line.endswith("/dags/restore/runs/inc-7__shard-1")


def test_only_those_are_told_who_want_to_know_of_that_event_and_dag(configured: Callable[..., Path]) -> None:
    from relight_airflow.notify import when_done, when_failed

    told = configured(
        {"events": ["failed"], "notifier": TO_FILE}, {"events": ["failed"], "dags": ["rehearse"], "notifier": TO_FILE}
    )
    when_done(context())
    assert not told.exists()
    when_failed(context(ti=SimpleNamespace(task_id="guard")))
    when_failed(context("rehearse"))
    first, second = told.read_text().splitlines()
    assert first.startswith("failed: shard-1: failed in task guard (incident inc-7)")
    assert second.startswith("failed: rehearsal of shard-1: ")


def test_who_watches_other_runs_names_the_one_that_is_meant(configured: Callable[..., Path]) -> None:
    from relight_airflow.notify import notify

    told = configured({"events": ["predicted_to_miss"], "notifier": TO_FILE})
    watching = {"dag_run": SimpleNamespace(dag_id="fleet_overview", run_id="scheduled__1", conf={})}
    notify("predicted_to_miss", watching, dag_id="restore", run_id="inc-7__s2", shard="s2", what="5 minutes late")
    assert "s2: 5 minutes late (incident inc-7) http" in told.read_text()


def test_a_notifier_that_fails_stops_nothing_and_nobody_else_and_is_said(
    configured: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    from relight_airflow.notify import notify

    told = configured(
        {"events": ["done"], "notifier": BROKEN}, {"events": ["done"], "notifier": "no.such.Class"},
        {"events": ["done"], "notifier": TO_FILE, "arguments": {"pth": "x"}}, {"events": ["done"], "notifier": TO_FILE},
    )  # fmt: skip
    with caplog.at_level(logging.INFO, logger="relight_airflow.notify"):
        notify("done", context())
    assert "is back" in told.read_text()
    assert "ConnectionError: the pager does not answer" in caplog.text
    assert "no.such.Class was not told that done, and the run goes on: ModuleNotFoundError" in caplog.text
    assert "TypeError" in caplog.text
    assert f"{TO_FILE} was told: is back" in caplog.text


def test_a_notifier_that_hangs_is_given_up(
    configured: Callable[..., Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relight_airflow import notify
    from tests.support.notifying import Broken

    told, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(Broken, "notify", lambda *_: (may_end.wait(120), told.set()))
    monkeypatch.setattr(notify, "PATIENCE", 0.1)
    configured({"events": ["done"], "notifier": BROKEN})
    notify.notify("done", context())
    assert not told.is_set(), "it was not waited for"
    may_end.set()
    assert "it takes longer than" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "- {events: [finished], notifier: a.B}",
        "- {events: [done], notifier: B}",
        "- {events: [], notifier: a.B}",
        "[",
        "x: 1",
    ],
)
def test_mistakes_in_the_configuration_are_said_and_stop_nothing(
    text: str, configured: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from relight_airflow.notify import notify

    configured()
    (tmp_path / "notify.yaml").write_text(text)
    notify("done", context())
    assert "nobody is told that done: nobody can be told" in caplog.text


def test_a_file_that_is_not_there_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from relight_airflow.notify import notify

    monkeypatch.setenv("RELIGHT_NOTIFY", "/nowhere/notify.yaml")
    notify("started", context())
    assert "nobody is told that started" in caplog.text


def test_the_example_of_the_readme_is_one_that_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relight_airflow.notify import settings

    (block,) = re.findall(r"^```yml\n(.*?)^```$", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "notify.yaml").write_text(block)
    monkeypatch.setenv("RELIGHT_NOTIFY", str(tmp_path / "notify.yaml"))
    for one in settings():
        kind = resolve_name(":".join(one.notifier.rsplit(".", 1)))
        made = kind(**one.arguments)
        templates = {name for name, value in one.arguments.items() if "{{" in str(value)}
        assert templates <= set(made.template_fields)
