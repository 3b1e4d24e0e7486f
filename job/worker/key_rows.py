"""The rows of some neighbouring keys of a table, with types and digests for all of them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from job.arrow import whole
from job.errors import PartitionError
from job.reader import many_types
from job.reader.key_types import castable, typed_rows
from job.reader.many_types import ManyTypes
from job.reader.spec import ReadSpec, as_text, declared_types
from job.reader.table_file import FILE, LINE
from job.reader.table_scan import TEXTS, TableScan
from job.worker import row_digest
from job.worker.payload import TableRows, place_of


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRows:
    """Makes payloads of the rows of several keys.

    The digest of a key is that of its rows with the types that a fit gets, so it is the same whether the rows came as
    texts or as numbers. A key whose texts cannot have their types has the digest of the texts.
    """

    scan: TableScan
    """how the files of the table are read"""
    spec: ReadSpec
    """how texts become values"""
    files: tuple[str, ...]
    """names of the table's files, for messages, if the rows hold the number of their file"""

    def payloads(self, table: pa.Table, bounds: np.ndarray) -> list[TableRows]:
        """The payload of each key.

        Parameters
        ----------
        table
            Rows of several keys; the rows of one key are adjacent.
        bounds
            Shape (keys + 1,): the first row of each key, and the number of all rows. Each key has at least one row.
        """
        if self.scan.kind not in TEXTS:
            return self._alike(table, bounds)
        if len(bounds) == 2:
            return [self._alone(table)]
        columns = [self._column(field, whole(table.column(field.name)), bounds) for field in table.schema]
        kinds = np.stack([column.kinds for column in columns], axis=1)
        final = all(map(castable, declared_types(self.spec.schema).values()))
        found: list[TableRows | None] = [None] * len(kinds)
        for alike in _groups(kinds):
            of = kinds[alike[0]]
            if (of == many_types.OPEN).any():
                for key in alike.tolist():
                    begin, end = int(bounds[key]), int(bounds[key + 1])
                    found[key] = self._alone(table.slice(begin, end - begin))
                continue
            arrays = [column.columns[int(kind)] for column, kind in zip(columns, of, strict=True)]
            rows, places = _rows_of(self._with_texts(table, arrays), bounds, alike)
            for key, payload in zip(alike.tolist(), self._alike(rows, places, typed=final), strict=True):
                found[key] = payload
        return found  # type: ignore[return-value] # each key is in one group

    def _with_texts(self, table: pa.Table, arrays: list[pa.Array]) -> pa.Table:
        """The table with these columns; where a text is to be kept beside its value, as `typed_rows` does it."""
        fields = [field.with_type(array.type) for field, array in zip(table.schema, arrays, strict=True)]
        columns = dict(zip(fields, arrays, strict=True))
        kept = set(self.spec.beside) - set(declared_types(self.spec.schema))
        for field, array in zip(table.schema, arrays, strict=True):
            if field.name in kept and array.type != field.type:
                columns[pa.field(as_text(field.name), field.type)] = whole(table.column(field.name))
        return pa.table(list(columns.values()), schema=pa.schema(list(columns)))

    def _column(self, field: pa.Field, column: pa.Array, bounds: np.ndarray) -> ManyTypes:
        declared = declared_types(self.spec.schema)
        texts = field.type == pa.string()
        if field.name in declared:
            if not texts or not castable(declared[field.name]):
                return many_types.given(column, len(bounds) - 1)
            return many_types.declared(column, declared[field.name], bounds, self.spec.decimal)
        if field.name in (LINE, FILE, *self.scan.levels) or (texts and field.name in self.spec.texts):
            return many_types.given(column, len(bounds) - 1)
        if texts:
            return many_types.of_texts(column, bounds, nulls=self.spec.null_values, decimal=self.spec.decimal)
        return many_types.of_numbers(column, bounds)

    def _alike(self, table: pa.Table, bounds: np.ndarray, *, typed: bool = False) -> list[TableRows]:
        """Payloads of rows whose columns have the same types for all keys."""
        plain = _without_places(table)
        table = plain if typed else table
        return [
            TableRows([table.slice(begin, end - begin)], digest, self.scan, self.files, typed=typed)
            for begin, end, digest in zip(
                bounds[:-1].tolist(), bounds[1:].tolist(), row_digest.digests(plain, bounds), strict=True
            )
        ]

    def _alone(self, table: pa.Table) -> TableRows:
        """The payload of one key."""
        plain = hashed = _without_places(table)
        try:
            rows = typed_rows(plain, self.spec, self.scan.levels, place_of(table, self.files))
        except PartitionError:
            rows = None  # `TableRows.rows` raises it again
        if rows is not None:
            table = hashed = rows
        for at, kind in enumerate(hashed.schema.types):
            if not castable(kind):
                hashed = hashed.set_column(at, hashed.column_names[at], plain.column(at))
        digest = row_digest.digests(hashed, np.array([0, table.num_rows]))[0]
        return TableRows([table], digest, self.scan, self.files, typed=rows is not None)


def _groups(kinds: np.ndarray) -> list[np.ndarray]:
    """The keys, divided by equal rows of kinds."""
    if (kinds == kinds[0]).all():
        return [np.arange(len(kinds))]
    _, group = np.unique(kinds, axis=0, return_inverse=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _rows_of(table: pa.Table, bounds: np.ndarray, keys: np.ndarray) -> tuple[pa.Table, np.ndarray]:
    """The rows of some keys, and their bounds."""
    if len(keys) == len(bounds) - 1:
        return table, bounds
    counts = np.diff(bounds)[keys]
    places = np.append(0, np.cumsum(counts))
    rows = np.arange(places[-1]) + np.repeat(bounds[keys] - places[:-1], counts)
    return table.take(pa.array(rows)), places


def _without_places(table: pa.Table) -> pa.Table:
    places = [name for name in (LINE, FILE) if name in table.column_names]
    return table.drop_columns(places) if places else table
