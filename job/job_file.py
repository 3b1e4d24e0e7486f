"""Files that a command names: a job file in object storage, a key on this machine."""

from __future__ import annotations

from collections.abc import Mapping

from job import configuration
from job.errors import ConfigurationError
from job.side import storage


def read(uri: str, env: Mapping[str, str]) -> bytes:
    """A job file in object storage (``-c s3://bucket/jobs/nightly.yaml``), by the environment's storage settings."""
    from job.store import Store

    folder, _, name = uri.rpartition("/")
    found = configuration.load_storage(env=env)
    with storage("input", f"the job {uri} cannot be read"):
        return bytes(Store.open(folder, found.side("input"), what="input").get(name))


def read_here(path: str) -> bytes:
    """A file of this machine.

    Raises
    ------
    ConfigurationError
        It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
