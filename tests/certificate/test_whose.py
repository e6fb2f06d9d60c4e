"""A certificate opens the server that it was issued for, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relight.certificate.verifying import check_is_for
from relight.errors import CertificateRefused, PromotionRefused
from tests.support.certificates import UUID, certificate

HERE: dict[str, Any] = {
    "run_id": "manual-1", "shard": "shard-1", "plan_sha256": "a" * 64, "server_uuid": UUID, "datadir": Path("/srv/mysql/data"),
}  # fmt: skip


def test_a_certificate_is_for_the_run_and_server_that_it_names() -> None:
    check_is_for(certificate(), **HERE)


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("run_id", "manual-2", "its run is manual-1, not manual-2"),
        ("shard", "shard-2", "its shard is shard-1, not shard-2"),
        ("plan_sha256", "c" * 64, "its plan is aaaa"),
        ("server_uuid", UUID.replace("3", "4"), f"its server is {UUID}, not 4e"),
        ("datadir", Path("/srv/scratch/data"), "its data directory is /srv/mysql/data, not /srv/scratch/data"),
    ],
)
def test_a_certificate_for_something_else_is_refused_and_says_what_differs(name: str, other: Any, said: str) -> None:
    with pytest.raises(PromotionRefused) as error:
        check_is_for(certificate(), **{**HERE, name: other})
    assert said in str(error.value)
    assert ";" not in str(error.value)
    assert not error.value.retryable


def test_everything_that_differs_is_told_at_once() -> None:
    with pytest.raises(CertificateRefused) as error:
        check_is_for(certificate(run_id="x", shard="y"), **HERE)
    assert "its run is x" in str(error.value)
    assert "its shard is y" in str(error.value)
