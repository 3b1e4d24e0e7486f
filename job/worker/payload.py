"""What was read for one key, ready to be compared and fitted: bytes of objects, or rows of a table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from job import reader
from job.fit.partition_fit import Fitting, Result, fit_rows
from job.plan.fingerprint import content_digest
from job.worker import row_order
from job.worker.guarded_child import Child


class Blobs:
    """The bytes of a key's objects.

    Parameters
    ----------
    blobs
        Name and bytes (any buffer) of each, in the order of names. Emptied by `fit`: a fit needs the memory.
    """

    __slots__ = ("_blobs",)

    def __init__(self, blobs: list[tuple[str, Any]]) -> None:
        self._blobs = blobs

    def content(self) -> str:
        """SHA-256 of the bytes."""
        return content_digest(blob for _, blob in self._blobs)

    def fit(self, fitting: Fitting, key: str) -> Result:
        """Train here."""
        return fit_rows(fitting, key, lambda: self._rows(fitting))

    def _rows(self, fitting: Fitting) -> pa.Table:
        table = reader.read(self._blobs, fitting.spec)
        self._blobs.clear()
        return table

    def fit_in(self, child: Child, key: str) -> Result:
        """Train in a guarded child."""
        return child.fit(key, self._blobs)


class Rows:
    """The rows of a key, put into one order whatever order they came in.

    Parameters
    ----------
    table
        All rows of the key. `fit` lets go of them as soon as it can.
    """

    __slots__ = ("_held",)

    def __init__(self, table: pa.Table) -> None:
        self._held = [row_order.ordered(table)]

    def content(self) -> str:
        """SHA-256 of the rows, the same for every order of them."""
        return row_order.digest(self._held[0])

    def fit(self, fitting: Fitting, key: str) -> Result:
        """Train here."""
        return fit_rows(fitting, key, self._held.pop)

    def fit_in(self, child: Child, key: str) -> Result:
        """Train in a guarded child."""
        return child.fit_table(key, self._held[0])


class TableRows:
    """The rows of a key in the order of the table's files, with their digest.

    Parameters
    ----------
    held
        The rows, as the only element: `fit` lets go of them as soon as it can.
    digest
        See `job.worker.row_digest`.
    """

    __slots__ = ("_digest", "_held")

    def __init__(self, held: list[pa.Table], digest: str) -> None:
        self._held, self._digest = held, digest

    def content(self) -> str:
        """Digest of the rows, the same for every order of them."""
        return self._digest

    def fit(self, fitting: Fitting, key: str) -> Result:
        """Train here."""
        return fit_rows(fitting, key, self._held.pop)

    def fit_in(self, child: Child, key: str) -> Result:
        """Train in a guarded child."""
        return child.fit_table(key, self._held[0])
