"""Finds the columns of a csv table that hold nothing but numbers, while the rows of its keys are counted.

Tasks then read these columns as numbers, which takes a fraction of the time that texts take. A column qualifies only
if each key gets the same values as from its texts (`job.reader.text_types`), so it holds either only whole numbers or
only numbers that are clearly none (``1.0``): a key whose rows happen to be whole numbers has whole numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.arrow import whole
from job.errors import PartitionError
from job.reader.exact import EXACT
from job.reader.spec import ReadSpec, declared_types
from job.reader.text_csv import NotOfType
from job.reader.text_types import forms, missing_numbers

WHOLE, FRACTION, MIXED, EMPTY, OTHER = "whole", "fraction", "mixed", "empty", "other"
"""What the texts of a column are: whole numbers, numbers with a decimal point or an exponent, both, all missing, or
something else."""

_TYPES = {WHOLE: pa.int64(), FRACTION: pa.float64()}
_SAMPLE = 20
_TRIES = 8
"""How often a block is read once more, each time without a column that holds another text."""

Read = Callable[[Sequence[str], Mapping[str, pa.DataType]], pa.Table]
"""Reads some columns of a block with these types; texts by default. Raises `NotOfType`."""


def wanted(header: Sequence[str], spec: ReadSpec, key: Sequence[str]) -> dict[str, str]:
    """The columns whose form is worth knowing, each with the type that ``input.schema`` declares, or "".

    Parameters
    ----------
    header
        The columns of a file.
    spec
        How texts become values, and which columns are needed.
    key
        The key columns, which stay texts.
    """
    declared = declared_types(spec.schema)
    texts, needed = {*key, *spec.texts}, None if spec.needed is None else set(spec.needed)
    return {
        name: str(declared.get(name, ""))
        for name in header
        if name not in texts
        and (needed is None or name in needed)
        and (name not in declared or declared[name] in _TYPES.values())
    }


def covers(record: Mapping[str, Sequence[str]], header: Sequence[str], spec: ReadSpec, key: Sequence[str]) -> bool:
    """Whether the record of a file (`FileNumbers.record`) tells the form of each column that is `wanted`."""
    return all(name in record and record[name][0] == kind for name, kind in wanted(header, spec, key).items())


class NumberColumns:
    """What is known of the columns of one table, shared by the threads that read its files.

    Parameters
    ----------
    spec
        How texts become values, and which columns are needed.
    key
        The key columns, which stay texts.
    """

    def __init__(self, spec: ReadSpec, key: Sequence[str]) -> None:
        self._spec, self._key = spec, tuple(key)
        self._declared = declared_types(spec.schema)
        self._types: dict[str, pa.DataType] = {}
        self._sampled = False
        self._other: set[str] = set()

    def file(self) -> FileNumbers:
        """A new record of one file."""
        return FileNumbers(self)

    def tried(self, header: Sequence[str]) -> dict[str, pa.DataType]:
        """The columns that may be numbers, with the type to try first."""
        return {
            name: self._declared[name] if declared else self._types.get(name, pa.float64())
            for name, declared in self.wanted(header).items()
            if name not in self._other
        }

    def wanted(self, header: Sequence[str]) -> dict[str, str]:
        """See `wanted`."""
        return wanted(header, self._spec, self._key)

    def sample(self, header: Sequence[str], read: Read) -> None:
        """Look at the first rows of the first file: columns of other texts are not tried at all."""
        if self._sampled:
            return
        self._sampled = True
        names = list(self.tried(header))
        try:
            table = read(names, {}) if names else pa.table({})
        except PartitionError:
            return  # the sample may end inside of a quoted text
        possible = forms(self._spec.decimal).possible.fullmatch
        for name in table.column_names:
            texts = table.column(name).drop_null()[:_SAMPLE].to_pylist()
            if not all(map(possible, texts)):
                self._other.add(name)
            elif texts and all(each.isdigit() for each in texts):
                self._types[name] = pa.int64()

    def read(self, header: Sequence[str], keys: Sequence[str], read: Read) -> tuple[pa.Table, dict[str, str]]:
        """Read a block.

        Returns
        -------
        pyarrow.Table
            The columns ``keys`` of the block, as texts, and possibly others.
        dict
            The form (`WHOLE`, ...) of each column that is `wanted`.
        """
        kinds = self.tried(header)
        for _ in range(_TRIES):
            try:
                table = read([*keys, *kinds], kinds)
                return table, dict.fromkeys(self.wanted(header), OTHER) | self._forms(table, kinds, read)
            except NotOfType as error:
                name = error.column
                if pt.is_integer(kinds.pop(name)) and name not in self._declared:
                    kinds[name] = self._types[name] = pa.float64()
                else:
                    self._other.add(name)
        return read(keys, {}), dict.fromkeys(self.wanted(header), OTHER)

    def _forms(self, table: pa.Table, kinds: Mapping[str, pa.DataType], read: Read) -> dict[str, str]:
        found, unsure = {}, []
        for name in kinds:
            column = whole(table.column(name))
            if column.null_count == len(column):
                found[name] = EMPTY
            elif name in self._declared and pt.is_floating(column.type):
                found[name] = FRACTION
            else:
                values = (column.drop_null() if column.null_count else column).to_numpy(zero_copy_only=False)
                if name not in self._declared and not self._plain(values):
                    continue
                if bool((values == np.floor(values)).any()):
                    unsure.append(name)  # only the text of a whole number tells whether it is an integer
                else:
                    found[name] = FRACTION
        if unsure:
            texts = read(unsure, {})
            for name in unsure:
                form = self._form(whole(texts.column(name)))
                if form is not None:
                    found[name] = form
                if form == WHOLE and name not in self._declared:
                    self._types[name] = pa.int64()
        return found

    def _plain(self, values: np.ndarray) -> bool:
        """Whether all values are finite, not declared as missing, and too small to be rounded as float64."""
        missing = missing_numbers(tuple(self._spec.null_values))
        good = bool(values.min() > -EXACT and values.max() < EXACT)
        return good and not (missing and values.dtype.kind == "f" and np.isin(values, missing).any())

    def _form(self, texts: pa.Array) -> str | None:
        if pc.any(pc.match_substring_regex(texts, "[xX]")).as_py():
            return None  # Arrow reads 0x1F as a number, pandas does not
        marked = pc.match_substring_regex(texts, f"[eE\\x{ord(self._spec.decimal):02x}]")
        every, some = pc.all(marked).as_py(), pc.any(marked).as_py()
        if some:
            return FRACTION if every else MIXED
        return None if pc.any(pc.match_substring(texts, "+")).as_py() else WHOLE  # Arrow reads no +1 as an integer


class FileNumbers:
    """The forms of the columns of one file.

    Parameters
    ----------
    table
        What is known of the table.
    """

    def __init__(self, table: NumberColumns) -> None:
        self._table = table
        self._blocks: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def sample(self, header: Sequence[str], read: Read) -> None:
        """See `NumberColumns.sample`."""
        self._table.sample(header, read)

    def read(self, header: Sequence[str], keys: Sequence[str], read: Read) -> pa.Table:
        """Read the columns ``keys`` of a block, and note what the other columns hold."""
        table, found = self._table.read(header, keys, read)
        with self._lock:
            self._blocks.append(found)
        return table

    @property
    def forms(self) -> dict[str, str]:
        """The form of each column over all blocks that were read."""
        return joined(self._blocks)

    def record(self, header: Sequence[str]) -> dict[str, tuple[str, str]]:
        """For each column its declared type (or "") and its form, to be kept with the counts of the file."""
        kinds = self._table.wanted(header)
        return {name: (kinds[name], form) for name, form in self.forms.items()}


def joined(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The forms of columns over several blocks or files. A column that one of them lacks is left out."""
    every: dict[str, str] | None = None
    for each in found:
        both = (
            each if every is None else {name: _both(form, each[name]) for name, form in every.items() if name in each}
        )
        every = dict(both)
    return dict(sorted((every or {}).items()))


def _both(one: str, other: str) -> str:
    if OTHER in (one, other):
        return OTHER
    if EMPTY in (one, other):
        return one if other == EMPTY else other
    return one if one == other else MIXED


def types(found: Mapping[str, str], spec: ReadSpec) -> dict[str, pa.DataType]:
    """The columns that tasks read as numbers, and their types.

    Parameters
    ----------
    found
        The forms of the columns over all files.
    spec
        How texts become values. Columns that must stay texts are left out.
    """
    declared = declared_types(spec.schema)
    kinds = {}
    for name, form in found.items():
        if name in spec.texts:
            continue
        if name not in declared and form in _TYPES:
            kinds[name] = _TYPES[form]
        elif pt.is_float64(declared.get(name, pa.null())) and form not in (EMPTY, OTHER):
            kinds[name] = pa.float64()
        elif pt.is_int64(declared.get(name, pa.null())) and form == WHOLE:
            kinds[name] = pa.int64()
    return kinds
