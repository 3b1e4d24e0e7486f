"""The listing of a folder whose bucket, or whose output, may not exist yet."""

from __future__ import annotations

import pyarrow as pa

from job.errors import NotFoundError
from job.store.base import LISTING, Store


def listed(store: Store, prefix: str) -> pa.Table:
    """List every object below a folder, as `Store.list` does; an empty table if the store itself does not exist."""
    try:
        return store.list(prefix)
    except NotFoundError:
        return LISTING.empty_table()
