"""What ``relight status --wait`` prints of runs that go on behind a failure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relight.airflow_api.following import FailedTask, Status
from relight.cli import via_airflow


def test_a_failure_is_printed_once_however_often_its_run_is_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (FailedTask(task=name, said=f"{name} went wrong") for name in ("replay", "report"))
    looks = [
        Status(at=datetime.now(UTC), dag="restore", run="r", shard="s", state=state, page="", running=running,
               failed=failed)
        for state, running, failed in (
            ("running", ("replay",), ()), ("running", ("report",), (one,)), ("running", ("watcher",), (one, other)),
            ("failed", (), (one, other)),
        )
    ]  # fmt: skip
    monkeypatch.setattr(via_airflow, "follow", lambda *_, **__: iter(looks))
    state = via_airflow._watched(None, list, as_json=False, once=False, past_waiting=False)  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert state == "failed"
    assert (printed.count("replay went wrong"), printed.count("report went wrong")) == (1, 1)
    assert len(printed.splitlines()) == len(looks) + 2
