"""All errors that manyfit raises on purpose, in one class hierarchy.

::

    ManyfitError                 reason, exit code, hint
    ├── ConfigurationError       2    what the user asked for cannot be
    │   ├── OtherJobError        2    the output belongs to another job
    │   └── HeldError            2    a rollback is held
    ├── SetupError               3    Java, Spark or the Python environment
    ├── StoreError               -    one object store, one operation; raised by `store` alone
    │   ├── NotFoundError
    │   ├── ChangedError              If-Match failed: other bytes than were listed
    │   ├── DeniedError               403: this object, this action
    │   │   └── CredentialsError      the credentials themselves: no object can be had with them
    │   ├── UnreachableError          transient: outlasted its retries
    │   └── FullError                 no room left on the disk
    ├── InputError               4    the input as a whole: missing, denied, ambiguous
    ├── OutputError              5    the output storage
    ├── TooManyFailedError       6    more failed partitions than run.max_failed
    ├── DamageError              7    verify found damage; a model file that must not be loaded
    │   └── ForgottenError       2    removed on purpose; an older version still names it
    ├── AccountingError          1    planned != trained + unchanged + skipped + failed
    ├── InterruptedRun           130  Ctrl-C or SIGTERM (143)
    └── PartitionError           -    one partition: becomes a row, never ends a run
        └── SkipPartition        -    empty input, too few rows

A message says what happened and with which value; the ``hint`` says what to do next. All classes can be pickled,
because an error may be raised on an executor and read on the driver.
"""

from __future__ import annotations

from typing import Any


class ManyfitError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message
        What happened, with the values that matter. Never a value out of the user's data.
    hint
        What the user can do about it, as one sentence; may be empty.
    """

    reason = "internal"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(cls: type[ManyfitError], state: dict[str, Any]) -> ManyfitError:
    error = cls.__new__(cls)
    Exception.__init__(error, state.get("message", ""))
    error.__dict__.update(state)
    return error


class ConfigurationError(ManyfitError):
    """The settings cannot be used. ``problems`` has one line for each mistake."""

    reason = "configuration"
    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class OtherJobError(ConfigurationError):
    """The output belongs to another job: its name, its input or the version of its format differs."""

    reason = "other_job"


class HeldError(ConfigurationError):
    """A rollback holds the output; ``manyfit rollback --resume`` lets runs publish again."""

    reason = "held"


class SetupError(ManyfitError):
    """Java, Spark or the Python environment cannot run the job."""

    reason = "environment"
    exit_code = 3


class StoreError(ManyfitError):
    """One operation on an object store failed. Commands report it as ``InputError`` or ``OutputError``."""

    reason = "storage"
    exit_code = 5


class NotFoundError(StoreError):
    """The object, prefix or bucket does not exist."""

    reason = "not_found"


class ChangedError(StoreError):
    """The object was replaced after it was listed (``If-Match`` failed)."""

    reason = "changed"


class DeniedError(StoreError):
    """The store refused the credentials or the action. manyfit does not treat the object as missing."""

    reason = "denied"


class CredentialsError(DeniedError):
    """The credentials are missing, wrong or expired: the store refuses every further request, too."""

    reason = "credentials"


class UnreachableError(StoreError):
    """The store could not be reached, or failed, until the retries were used up."""

    reason = "unreachable"


class FullError(StoreError):
    """The disk or the quota is full: nothing more can be written until space is freed."""

    reason = "full"


class InputError(ManyfitError):
    """The input as a whole cannot be planned or read."""

    reason = "input"
    exit_code = 4


class OutputError(ManyfitError):
    """The output storage cannot be used."""

    reason = "output"
    exit_code = 5


class TooManyFailedError(ManyfitError):
    """More partitions failed than ``run.max_failed`` allows."""

    reason = "too_many_failed"
    exit_code = 6


class DamageError(ManyfitError):
    """A published model is missing, has other bytes than were published, or must not be loaded here."""

    reason = "damage"
    exit_code = 7


class ForgottenError(DamageError):
    """The model was removed on purpose (``manyfit forget``), and an older version still names it."""

    reason = "forgotten"
    exit_code = 2


class AccountingError(ManyfitError):
    """The outcomes do not match the planned keys, or numbers do not add up. The message says which."""

    reason = "accounting"
    exit_code = 1


class InterruptedRun(ManyfitError):
    """The run was stopped by a signal; ``exit_code`` is 128 + the signal's number."""

    reason = "interrupted"
    exit_code = 130

    def __init__(self, message: str, *, hint: str = "", signum: int = 2) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signum


class PartitionError(ManyfitError):
    """One partition cannot be trained. A task records it as a row with ``reason`` and goes on.

    Parameters
    ----------
    reason
        Machine-readable code, for example ``corrupt_compression`` (see ``job.outcome.REASONS``).
    message
        For a person; names columns and row numbers, never values.
    """

    reason = "failed"

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SkipPartition(PartitionError):
    """The partition has too little to train on (``empty``, ``too_few_rows``). It is listed, and is not a failure."""

    reason = "empty"
