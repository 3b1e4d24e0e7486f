"""The rows of one version of the published table, and the bytes of its models as they were recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import ascending
from job.errors import DamageError, ForgottenError, NotFoundError
from job.registry import forgotten
from job.registry.index import Index
from job.registry.signed_release import SignedRelease
from job.store import Store


class Source:
    """The rows of one version: read from the index, or with a public key from the files that its signature names."""

    def __init__(
        self,
        store: Store,
        version: int,
        *,
        public_key: bytes | None = None,
        signed_for: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.version = version
        self._index = Index(store)
        self._signed: Any = None
        if public_key is not None:
            from job.registry import signing  # imports cryptography, which is needed only here

            self._signed = signing.verify_release(store, version, public_key, signed_for=signed_for)

        elif files is not None:
            self._signed = SignedRelease(store=store, version=version, run=None, files=files)

    def read(self, columns: Sequence[str], keys: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """Read rows as `Index.read` does. Signed rows are parsed from exactly the bytes whose digest was checked."""
        if self._signed is None:
            return self._index.read(columns=columns, at=self.version, keys=keys, encoded=encoded)
        return self._signed.read(columns, keys, encoded)

    def models(self) -> pa.Table:
        """The keys that have a model, sorted, with the columns key, digest, size and versions (dictionary-encoded)."""
        names = ["key", "digest", "size", "versions"]
        if self._signed is None:
            rows = self._index.read(columns=names, at=self.version, encoded=["versions"])
        else:
            rows = self._signed.read(names, encoded=["versions"])
        rows = rows.filter(pc.is_valid(rows.column("digest"))).combine_chunks()
        return rows if ascending(rows.column("key")) else rows.sort_by("key")

    def challengers(self) -> list[dict[str, Any]]:
        """Dicts with the columns of `models` for the challengers: the models that the gate kept back."""
        rows = self.read(["key", "challenger", "challenger_row"])
        rows = rows.filter(pc.is_valid(rows.column("challenger"))).sort_by("key")
        found = []
        for row in rows.to_pylist():
            kept = json.loads(row["challenger_row"])
            told = {name: kept[name] for name in ("size", "versions")}
            found.append({"key": row["key"], "digest": row["challenger"], **told})
        return found


def fetch(store: Store, key: str, name: str, size: int, version: int) -> Any:
    """Read a model file, which must have the recorded size. A larger object is refused before it is read as a whole.

    Raises
    ------
    ForgottenError
        The file does not exist, and the key was forgotten after this version of the set.
    DamageError
        The file does not exist, or has another size.
    """
    try:
        data = store.part(name, 0, size + 1)
    except NotFoundError as error:
        if (record := forgotten.of(store, key)) is not None and record.covers(version):
            told = f"model {key!r} was forgotten: version {version} still names it, and its file was removed"
            raise ForgottenError(told, hint="Newer versions do not have the key.") from error
        hint = (
            "Run the job again with a new recipe.version. The output of a scoring has no models: give that of the job "
            "that trains them."
        )
        raise DamageError(f"model {key!r} is missing: {name}", hint=hint) from error
    if (found := memoryview(data).nbytes) != size:
        has = f"{found}" if found < size else f"more than {size}"
        raise DamageError(f"model {key!r} has {has} bytes, not the {size} that were published: {name}")
    return data
