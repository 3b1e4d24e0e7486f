"""Turns an error of a store into an error of the job's side, the input or the output, which ends the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from job.errors import DeniedError, InputError, NotFoundError, OutputError, StoreError


@contextmanager
def storage(side: Literal["input", "output"], what: str) -> Iterator[None]:
    """Context that turns a StoreError into an InputError or OutputError, whose message begins with ``what``."""
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
