"""What forecasts are made of."""

from __future__ import annotations

from relight.backups.manifest import Count, Size, Value


class Load(Value):
    """What a restore of one shard has to move. Sizes in bytes."""

    shard: str
    tier: int
    host: str
    hardware: str
    network: str
    stored_bytes: Size
    """The snapshot as it lies in the store."""
    data_bytes: Size
    """The snapshot unpacked."""
    log_bytes: Size
    """The logs that are replayed on top of it."""
    segments: Count
    databases: Count
    replicas: Count
    replicas_first: Count = 0
    """So many of the replicas are there before the shard is opened."""


class Span(Value):
    """A duration in seconds: what is most likely, and a range that four of five should fall into."""

    seconds: float
    low: float
    high: float


class StepForecast(Value):
    """One step of a restore; ``step`` as in :mod:`relight.step_records`."""

    step: str
    span: Span


class Forecast(Value):
    """How long the restore of a shard takes."""

    shard: str
    total: Span
    """Until the shard takes writes again; its replicas come after that."""
    steps: tuple[StepForecast, ...]
    learned_from: int
    """How many runs it was learned from. 0: nothing is known, these are cautious guesses."""
