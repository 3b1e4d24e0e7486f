"""A job file that lies in object storage."""

from __future__ import annotations

from collections.abc import Mapping

from job import configuration
from job.side import storage


def read(uri: str, env: Mapping[str, str]) -> bytes:
    """A job file in object storage (``-c s3://bucket/jobs/nightly.yaml``), by the environment's storage settings."""
    from job.store import Store

    folder, _, name = uri.rpartition("/")
    found = configuration.load_storage(env=env)
    with storage("input", f"the job {uri} cannot be read"):
        return bytes(Store.open(folder, found.side("input"), what="input").get(name))
