"""What `manyfit forget` leaves behind: that a key was forgotten, by the digest of its name, so that nothing returns.

Older versions of the published table still have the key's rows, and their models are gone on purpose: a reader is told
so, ``verify`` does not take it for damage, and a rollback leaves these rows out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import whole
from job.errors import NotFoundError
from job.registry.data_file import Writer, addition, opened, slices
from job.registry.derived import derived
from job.registry.row import REPEATED, ROW

if TYPE_CHECKING:
    from job.store import Store

FOLDER = "forgotten"


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What is kept of a key that was forgotten: nothing of its own but the digest of its name."""

    version: int | None
    """the first version of the published table without it; None while it is being forgotten"""
    parts: frozenset[str] = frozenset()
    """files of predictions that held rows of it"""

    def covers(self, version: int) -> bool:
        """Whether a version is older than the forgetting."""
        return self.version is None or version < self.version


def digest(key: str) -> str:
    """The digest of a key's name."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def name(key: str) -> str:
    """Where the record of a key lies below the output."""
    return f"{FOLDER}/{digest(key)}.json"


def of(store: Store, key: str) -> Forgotten | None:
    """The record of a key, if it was ever forgotten."""
    return _read(store, name(key))


def _read(store: Store, path: str) -> Forgotten | None:
    try:
        told = json.loads(bytes(store.get(path)))
    except NotFoundError:
        return None
    return Forgotten(version=told["version"], parts=frozenset(told.get("parts", ())))


def put(store: Store, key: str, record: Forgotten) -> None:
    """Keep a record, over an older one of the same key."""
    told = {"version": record.version, **({"parts": sorted(record.parts)} if record.parts else {})}
    store.put(name(key), json.dumps(told).encode())


def every(store: Store) -> dict[str, Forgotten]:
    """All records, by the digest of their keys."""
    found = {}
    for path in store.list(FOLDER)["name"].to_pylist():
        if (record := _read(store, path)) is not None:
            found[path.rpartition("/")[2].removesuffix(".json")] = record
    return found


def since(store: Store, version: int) -> frozenset[str]:
    """Digests of the keys that were forgotten after a version: its rows of them must not return."""
    return frozenset(each for each, record in every(store).items() if record.covers(version))


def holds(keys: pa.ChunkedArray | pa.Array, digests: Iterable[str]) -> np.ndarray:
    """Which keys are among those that the digests stand for."""
    wanted = frozenset(digests)
    return np.array([digest(key) in wanted for key in keys.to_pylist()], bool)


def additions(files: Store, path: str, file: Mapping[str, int], digests: frozenset[str]) -> list[dict[str, Any]]:
    """The actions by which an older data file of the published table returns: as it is, or written anew without keys.

    Parameters
    ----------
    files
        Where the data files lie.
    path, file
        Its name, ``size_bytes`` and ``num_records``.
    digests
        Of the keys that must not return.
    """
    if digests:
        parquet = opened(files, path)
        gone = holds(parquet.read(["key"]).column("key"), digests)
        if gone.any():
            writer = Writer(files, ROW, REPEATED, derived)
            begin = 0
            for rows in slices(parquet, ROW):
                writer.add(rows.filter(pa.array(~gone[begin : begin + rows.num_rows])))
                begin += rows.num_rows
            writer.close()
            return writer.added
    return [addition(path, file["size_bytes"], file["num_records"])]


def rows_of(column: pa.ChunkedArray | pa.Array, keys: Iterable[str]) -> np.ndarray:
    """Which rows of a column are of some keys."""
    plain = column.cast(pa.string())
    found = pc.fill_null(pc.is_in(plain, value_set=pa.array(list(keys), pa.string())), False)
    mask: np.ndarray = whole(found).to_numpy(zero_copy_only=False)
    return mask
