"""Opens the store of a URI: a folder, S3, GCS, Azure, or memory for tests."""

from __future__ import annotations

from job.config.settings import StorageSide
from job.store.address import parse
from job.store.base import Store


def open_store(uri: str, settings: StorageSide | None = None, *, what: str = "output") -> Store:
    """Make the store of a URI, without any request.

    Parameters
    ----------
    uri
        Address of the store; see `job.store.address.parse`.
    settings
        The ``storage`` settings of this side; default: the default of each.
    what
        ``input`` or ``output``; messages contain it.

    Raises
    ------
    ConfigurationError
        The URI is not valid.
    """
    address = parse(uri, what=what)
    given = settings or StorageSide()
    # Imported here, because obstore and boto3 are slow to import, and a folder needs neither.
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
