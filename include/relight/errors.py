"""Everything that can go wrong, as types.

Every error says what failed, on which object, why, and what to do about it. Whether trying the
same thing again can help is part of the type (``retryable``), so that Airflow retries a store
that is briefly away and does not retry a corrupt backup.

    RelightError
    |-- FleetError            the fleet file or the credentials are wrong
    |   `-- CredentialsMissing there is no login for that purpose at all
    |-- StoreError
    |   |-- StoreUnavailable  (retryable) no answer, or a passing fault
    |   |   `-- StoreBusy     it answers, and says "not now"
    |   |-- StoreDenied       the credentials were refused
    |   |-- ObjectMissing     a key that should be there is not
    |   |-- ObjectExists      a conditional put lost: objects are written once
    |   `-- ObjectCorrupt     an object, or a file of a run, is not what was written
    |-- PlanError             the target cannot be reached with what the store holds
    |   |-- TargetError       the target is malformed or outside what exists
    |   |-- GapError          transactions are missing between snapshot and target
    |   |-- SkipRefused       transactions build on one that is to be left out
    |   |-- HistoryConflict   one GTID stands for two transactions
    |   `-- PlanOutdated      a stored plan would leave out what was backed up or decided since
    |-- ServerError
    |   |-- ServerUnreachable (retryable) no connection
    |   |-- ServerStartFailed mysqld did not come up
    |   |-- WrongServer       another server answers than the one that is meant
    |   |-- StatementFailed   the server refused a statement
    |   |-- BackupRefused     a copy of the server would not be a backup of its shard
    |   `-- CommandFailed     a program that was started ended badly
    |-- GuardRefused          a machine shows signs of life, or cannot take what is planned
    |   `-- ServerBusy        (retryable) the same is being done on it already
    |-- MachineError          the operating system refuses a file or folder of this machine
    |-- BinlogError           a binary log cannot be read
    |   |-- CorruptEvent      checksum or structure wrong
    |   |-- TruncatedLog      the file ends inside an event
    |   `-- UnsupportedEvent  understood by nobody: never guessed at
    |-- ReplayError           a lane cannot go on
    |   `-- LaneBlocked       (retryable) it needs something of another lane
    |-- ValidationFailed      the rebuilt data are not what the logs say
    |   |-- ReplicaBehind     a replica does not get as far as its source
    |   `-- ReplicaDiffers    a replica is not the same as its source
    |-- RehearsalError
    |   |-- SabotageMissed    no check has found what was broken on purpose
    |   `-- SabotageImpossible nothing of the shard lends itself to it
    |-- PromotionRefused      the server must stay closed
    |   |-- CertificateRefused its certificate does not hold, or is for something else
    |   `-- ClaimRefused      another run has the shard, or somebody has taken it away from this one
    |-- AnnounceFailed        applications were not told where the shard is, or that it is closed
    |   `-- AnnounceUnavailable (retryable) who should be told does not answer, or not now
    |-- AirflowError          Airflow's API, as it is seen from outside
    |   |-- AirflowUnavailable (retryable) it does not answer, or has broken
    |   |-- AirflowRefused    it does not know what is asked for, or this account may not
    |   `-- AirflowConflict   there is one of that name already
    `-- LabError              the lab cannot be set up, started or stopped
"""

from __future__ import annotations

import shlex
from typing import ClassVar


class RelightError(Exception):
    """What failed (``what``), on which object (``on``), ``why``, and a ``hint`` what to do."""

    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, on: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what, on, why, hint)
        self.what = what
        self.on = on
        self.why = why
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (Airflow, multiprocessing); keyword-only arguments
        # do not survive the default way.
        return (_rebuild, (type(self), self.what, self.on, self.why, self.hint))

    def __str__(self) -> str:
        text = self.what
        if self.on:
            text += f" ({self.on})"
        if self.why:
            text += f": {self.why}"
        return text

    def with_hint(self) -> str:
        """The message and, where there is one, the hint, on one line."""
        return f"{self} -- {self.hint}" if self.hint else str(self)


def _rebuild(kind: type[RelightError], what: str, on: str, why: str, hint: str) -> RelightError:
    return kind(what, on=on, why=why, hint=hint)


class FleetError(RelightError):
    """The fleet file or the credentials are wrong; every mistake is listed."""


class CredentialsMissing(FleetError):
    """There is no login for that purpose at all, which is right where it is not needed."""


class StoreError(RelightError):
    """Something about the object store."""


class StoreUnavailable(StoreError):
    """No answer, or a passing fault of the store."""

    retryable = True


class StoreBusy(StoreUnavailable):
    """It answers, and says that it cannot do it now: worth another try at once."""


class StoreDenied(StoreError):
    """The store refused the credentials."""


class ObjectMissing(StoreError):
    """An object that should be there is not."""


class ObjectExists(StoreError):
    """A conditional put lost: the key is taken. Objects are never overwritten."""


class ObjectCorrupt(StoreError):
    """The bytes that came back are not those that were stored, or they are not what belongs there: an object of
    the store, or a file that a run or a server keeps for Relight. Nothing of it is believed."""


class PlanError(RelightError):
    """No plan leads to the target."""


class TargetError(PlanError):
    """The target is malformed, or outside what the store holds."""


class GapError(PlanError):
    """Transactions are missing between the snapshot and the target."""


class SkipRefused(PlanError):
    """Transactions build on one that is to be left out."""


class HistoryConflict(PlanError):
    """One GTID stands for two transactions: the history of a server was begun anew."""


class PlanOutdated(PlanError):
    """A stored plan would leave out what was backed up or decided since it was made."""


class ServerError(RelightError):
    """Something about one mysqld."""


class ServerUnreachable(ServerError):
    """No connection to the server."""

    retryable = True


class ServerStartFailed(ServerError):
    """mysqld did not come up."""


class WrongServer(ServerError):
    """Another server answers than the one that is meant: nothing was changed on it."""


class StatementFailed(ServerError):
    """The server refused a statement."""


class BackupRefused(ServerError):
    """A copy of the server would not be a backup of its shard: it leaves something out, or has something of its own."""


class CommandFailed(ServerError):
    """A program that was started ended with an error."""


class GuardRefused(RelightError):
    """The machine shows signs of life, or cannot take what is planned. Nothing was touched."""


class ServerBusy(GuardRefused):
    """The same is being done on the server already, for somebody else."""

    retryable = True


class MachineError(RelightError):
    """The operating system refuses a file or folder of this machine: full, read-only, not allowed, not there."""


class BinlogError(RelightError):
    """A binary log cannot be read; says file, position and event type."""


class CorruptEvent(BinlogError):
    """A checksum or a length is wrong."""


class TruncatedLog(BinlogError):
    """The file ends inside an event."""


class UnsupportedEvent(BinlogError):
    """An event that must not be ignored and that nobody here understands."""


class ReplayError(RelightError):
    """A lane cannot go on."""


class LaneBlocked(ReplayError):
    """A lane needs something of another lane: worth another try when the others are through."""

    retryable = True


class ValidationFailed(RelightError):
    """The rebuilt data are not what snapshot and logs say; the server stays closed."""


class ReplicaBehind(ValidationFailed):
    """A replica does not get as far as its source."""


class ReplicaDiffers(ValidationFailed):
    """A replica is as far as its source, and not the same."""


class RehearsalError(RelightError):
    """Something about what a rehearsal breaks on purpose."""


class SabotageMissed(RehearsalError):
    """The check that must find it has not found it: what it says of real restores cannot be relied on."""


class SabotageImpossible(RehearsalError):
    """Nothing of the shard lends itself to this kind of sabotage."""


class PromotionRefused(RelightError):
    """The server must stay closed."""


class CertificateRefused(PromotionRefused):
    """A certificate does not hold, or is for something else: nothing is opened on it."""


class ClaimRefused(PromotionRefused):
    """Another run has the shard, or somebody has taken it away from this one."""


class AnnounceFailed(RelightError):
    """Applications were not told where the shard takes writes, or not told that it is closed."""


class AnnounceUnavailable(AnnounceFailed):
    """Who should be told does not answer, or not now."""

    retryable = True


class AirflowError(RelightError):
    """Something about Airflow's API, as it is seen from outside."""


class AirflowUnavailable(AirflowError):
    """Airflow does not answer, or has broken over the answer."""

    retryable = True


class AirflowRefused(AirflowError):
    """Airflow does not know what is asked for, or this account may not ask for it."""


class AirflowConflict(AirflowError):
    """There is one of that name already."""


class LabError(RelightError):
    """The lab (a fleet on one machine, for the demo and tests) cannot be set up, started or stopped."""


def command_line(*words: object) -> str:
    """A command of Relight's own for a message, as a shell takes it. Whatever is printed was made here, so that a test
    can try each."""
    return shlex.join(["relight", *map(str, words)])
