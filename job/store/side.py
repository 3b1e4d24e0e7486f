"""The side of a job that a store is on: what fails there ends the run as the input's fault or as the output's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from job.errors import DeniedError, InputError, NotFoundError, OutputError, StoreError


@contextmanager
def storage(side: Literal["input", "output"], what: str) -> Iterator[None]:
    """Turn an error of one store into that of its side: exit code 4 or 5, and one line that says what was tried."""
    try:
        yield
    except StoreError as error:
        cls = InputError if side == "input" else OutputError
        if isinstance(error, NotFoundError):
            hint = f"Check {side}.uri; a bucket must exist before the run."
        elif isinstance(error, DeniedError):
            hint = f"Check the credentials and the permissions for {side}.uri (storage.profile, AWS_* variables, role)."
        else:
            hint = "Check storage.endpoint and the network, then run again: what is finished is kept."
        raise cls(f"{what}: {error.message}", hint=error.hint or hint) from error
