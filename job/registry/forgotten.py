"""The records that `manyfit forget` leaves: which keys were forgotten, each by the digest of its name.

Older versions of the published table still have the rows of such a key, and their models were removed on purpose.
Because of the record, a reader gets an error that says so, ``verify`` does not report damage, and a rollback leaves
these rows out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
    """The record of a forgotten key. Its name is stored only as a digest."""

    version: int | None
    """the first version of the published table without the key; None while ``forget`` is at work"""
    parts: frozenset[str] = frozenset()
    """names of the files of predictions that held rows of the key"""

    def covers(self, version: int) -> bool:
        """Whether ``version`` is older than the version in which the key was forgotten."""
        return self.version is None or version < self.version


def digest(key: str) -> str:
    """The digest of a key's name."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def name(key: str) -> str:
    """The name of the record of a key below the output."""
    return f"{FOLDER}/{digest(key)}.json"


def of(store: Store, key: str) -> Forgotten | None:
    """The record of a key; None if it was never forgotten."""
    return _read(store, name(key))


def _read(store: Store, path: str) -> Forgotten | None:
    try:
        told = json.loads(bytes(store.get(path)))
    except NotFoundError:
        return None
    return Forgotten(version=told["version"], parts=frozenset(told.get("parts", ())))


def put(store: Store, key: str, record: Forgotten) -> None:
    """Write a record; it replaces an older one of the same key."""
    told = {"version": record.version, **({"parts": sorted(record.parts)} if record.parts else {})}
    store.put(name(key), json.dumps(told).encode())


def every(store: Store) -> dict[str, Forgotten]:
    """All records, by the digest of their keys."""
    paths = store.list(FOLDER)["name"].to_pylist()
    if not paths:
        return {}
    with ThreadPoolExecutor(16) as pool:
        records = list(pool.map(lambda path: _read(store, path), paths))
    names = [path.rpartition("/")[2].removesuffix(".json") for path in paths]
    return {each: record for each, record in zip(names, records, strict=True) if record is not None}


def since(store: Store, version: int) -> frozenset[str]:
    """Digests of the keys that were forgotten after ``version``: a rollback to it must not bring their rows back."""
    return frozenset(each for each, record in every(store).items() if record.covers(version))


def holds(keys: pa.ChunkedArray | pa.Array, digests: Iterable[str]) -> np.ndarray:
    """A mask, shape (keys,): whether the digest of each key is among ``digests``."""
    wanted = frozenset(digests)
    return np.array([digest(key) in wanted for key in keys.to_pylist()], bool)


def additions(files: Store, path: str, file: Mapping[str, int], digests: frozenset[str]) -> list[dict[str, Any]]:
    """The actions that add an older data file of the published table again: as it is, or rewritten without some keys.

    Parameters
    ----------
    files
        The store of the data files.
    path, file
        The name of the file, and its ``size_bytes`` and ``num_records``.
    digests
        Digests of the keys that must not come back.
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
    """A mask of the rows of a column that hold one of the keys."""
    plain = column.cast(pa.string())
    found = pc.fill_null(pc.is_in(plain, value_set=pa.array(list(keys), pa.string())), False)
    mask: np.ndarray = whole(found).to_numpy(zero_copy_only=False)
    return mask
