"""A release that is read from files with trusted digests: of a signature, or of an entry of a model registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import DamageError, NotFoundError
from job.registry.data_file import completed
from job.registry.delta_log import fields
from job.registry.index import ROW
from job.store import Store


@dataclass(frozen=True, kw_only=True)
class SignedRelease:
    """A release with a valid signature. Its files are checked whenever they are read."""

    store: Store
    """the output"""
    version: int
    """version of the index"""
    run: str | None
    """id of the run that made it"""
    files: Mapping[str, str]
    """SHA-256 of each data file, by its name below ``index/``"""

    def read(self, columns: Sequence[str], keys: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """Read rows. They are parsed from exactly the bytes whose digest was compared.

        Raises
        ------
        DamageError
            A file is missing or has other bytes than were signed.
        """
        wanted = list(dict.fromkeys([*columns, "key"]))
        schema = fields(ROW, wanted, encoded)
        parts = [schema.empty_table()]
        for name, digest in self.files.items():
            data = verified(self.store, name, digest)
            parquet = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), read_dictionary=list(encoded))
            part = parquet.read([name for name in wanted if name in parquet.schema_arrow.names], use_threads=False)
            part = completed(part, schema).select(wanted).cast(schema)
            if keys is not None:
                part = part.filter(pc.is_in(part.column("key"), value_set=pa.array(keys, pa.string())))
            parts.append(part)
        return pa.concat_tables(parts).unify_dictionaries().select(list(columns))

    def check(self) -> None:
        """Compare the digest of every file.

        Raises
        ------
        DamageError
            A file is missing or has other bytes than were signed.
        """
        for name, digest in self.files.items():
            verified(self.store, name, digest)


def verified(store: Store, name: str, digest: str) -> Any:
    """Read a data file of the index, and check that its bytes have this SHA-256.

    Raises
    ------
    DamageError
        The file is missing, or has other bytes.
    """
    try:
        data = store.get(f"index/{name}")
    except NotFoundError:
        raise DamageError(f"index/{name} in {store.uri} is signed, but missing") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise DamageError(f"index/{name} in {store.uri} has other bytes than were signed")
    return data
