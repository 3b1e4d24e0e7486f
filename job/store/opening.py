"""Opens the store of a URI: a folder, S3, GCS, Azure, or memory for tests."""

from __future__ import annotations

from job.config.settings import StorageSide
from job.store.address import parse
from job.store.base import Store


def open_store(uri: str, settings: StorageSide | None = None, *, what: str = "output") -> Store:
    """The store behind a URI; no request is made.

    Parameters
    ----------
    uri
        See `job.store.address.parse`.
    settings
        How it is reached.
    what
        ``input`` or ``output``: named in every message.

    Raises
    ------
    ConfigurationError
        The URI cannot be used.
    """
    address = parse(uri, what=what)
    given = settings or StorageSide()
    # Imported here: a folder needs neither obstore nor boto3, and each costs start-up time.
    if address.scheme == "file":
        from job.store.folder import FolderStore

        return FolderStore(address, given, what=what)
    if address.scheme == "memory":
        from job.store.memory import MemoryStore

        return MemoryStore(address, given, what=what)
    if address.scheme == "s3":
        from job.store.s3 import S3Store

        return S3Store(address, given, what=what)
    from job.store.cloud import CloudStore

    return CloudStore(address, given, what=what)
