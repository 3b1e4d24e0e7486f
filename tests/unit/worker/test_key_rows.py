"""Keys of a csv table get the types and digests of their own rows, however the rows are read and whoever is beside them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from job.config.settings import InputSettings
from job.errors import PartitionError
from job.reader import number_columns, table_scan
from job.reader.key_types import typed_rows
from job.reader.number_columns import NumberColumns
from job.reader.spec import ReadSpec
from job.reader.table_file import Piece
from job.reader.table_scan import TableScan
from job.reader.text_scan import TextTable
from job.worker.key_rows import KeyRows
from job.worker.payload import TableRows

PLAIN = ["0", "1", "-7", "12", "007", "-0", "9007199254740992"]
REAL = ["1.5", "-2.25", ".5", "5.", "1e5", "1E-5", "2.0", "-0.0", "0.1"]
ODD = ["+1", " 3", "4 ", "+.5", "1e400", "inf", "nan", "NA", "-1", "9007199254740993", "18446744073709551615", "0x1F"]
TEXTS = ["x", "true", "False", "1,5", "--1", "é", "1_0", "2024-01-01", "a\nb", 'a"b']
CELLS = st.one_of(st.sampled_from(PLAIN), st.sampled_from(REAL), st.sampled_from([*PLAIN, *REAL, *ODD, *TEXTS, ""]))
COLUMNS = st.one_of(
    st.lists(st.sampled_from([*PLAIN[:5], ""]), min_size=1, max_size=6),
    st.lists(st.sampled_from([*REAL, ""]), min_size=1, max_size=6),
    st.lists(st.sampled_from([*PLAIN, *REAL, *ODD]), min_size=1, max_size=6),
    st.lists(CELLS, min_size=1, max_size=6),
)


def spec_of(**given: Any) -> ReadSpec:
    return ReadSpec.from_settings(InputSettings(uri="s3://a/", layout="columns", key="k", **given))


def scan_of(spec: ReadSpec, schema: pa.Schema) -> TableScan:
    return TableScan(kind="csv", key=("k",), schema=schema, dropped=("k",), spec=spec)


def texts(keys: Sequence[Sequence[str]]) -> tuple[pa.Table, np.ndarray]:
    cells = [None if each == "" else each for key in keys for each in key]
    bounds = np.append(0, np.cumsum([len(key) for key in keys]))
    return pa.table({"x": pa.array(cells, pa.string())}), bounds


def outcome(payload: TableRows, spec: ReadSpec) -> Any:
    try:
        table = payload.rows(spec)
    except PartitionError as error:
        return error.reason, error.message
    return told(table)


def told(table: pa.Table) -> Any:
    return [(str(column.type), [repr(each) for each in column.to_pylist()]) for column in table.columns]


def expected(table: pa.Table, spec: ReadSpec) -> Any:
    try:
        return told(typed_rows(table, spec, (), lambda row: f"row {row + 1} of this key"))
    except PartitionError as error:
        return error.reason, error.message


SPECS = [
    spec_of(),
    spec_of(format={"null_values": ["", "-1", "NA"]}),
    spec_of(format={"decimal": ",", "delimiter": ";"}),
    spec_of(schema={"k": "string", "x": "float64"}),
    spec_of(schema={"k": "string", "x": "int64"}),
    spec_of(schema={"k": "string", "x": "category"}),
]
SPECS.append(replace(spec_of(), beside=("x",)))
NAMES = ["plain", "nulls", "comma", "float64", "int64", "category", "texts kept"]


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@settings(max_examples=int(os.environ.get("EX", 40)), deadline=None)
@given(keys=st.lists(COLUMNS, min_size=1, max_size=9))
@example(keys=[["1"], ["1.0"], ["x"], [""], ["true"], ["1", ""], ["9007199254740993", ""], ["+5"], ["0x1F"]])
@example(keys=[["1", "2"], ["1", "x"], ["3", "4"], ["5.5"]])
def test_each_key_has_the_types_and_the_digest_that_it_has_alone(spec: ReadSpec, keys: list[list[str]]) -> None:
    table, bounds = texts(keys)
    rows = KeyRows(scan=scan_of(spec, table.schema), spec=spec, files=())
    together = rows.payloads(table, bounds)
    for at, payload in enumerate(together):
        mine = table.slice(int(bounds[at]), int(bounds[at + 1] - bounds[at]))
        alone = rows.payloads(mine, np.array([0, mine.num_rows]))[0]
        assert payload.content() == alone.content()
        assert outcome(payload, spec) == expected(mine, spec) == outcome(alone, spec)


def file_of(keys: Sequence[Sequence[str]], delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerows([("k", "x"), *((f"k{at}", cell) for at, key in enumerate(keys) for cell in key)])
    return out.getvalue().encode()


class _Bytes(io.BytesIO):
    def size(self) -> int:
        return len(self.getvalue())

    def between(self, begin: int, end: int) -> bytes:
        return self.getvalue()[begin:end]


def read(files: Sequence[bytes], spec: ReadSpec) -> tuple[pa.Table, dict[str, pa.DataType]]:
    """The column x of all rows as a task reads it, after the files were counted."""
    numbers = NumberColumns(spec, ("k",))
    found = []
    for at, data in enumerate(files):
        mine = numbers.file()
        for portion in TextTable(f"{at}.csv", _Bytes(data), None, spec, "csv", numbers=mine).portions(("k",)):
            assert portion.load()[1].column_names == ["k"]
        found.append(json.loads(json.dumps(mine.forms)))
    types = number_columns.types(number_columns.joined(found), spec)
    tables = []
    for at, data in enumerate(files):
        file = TextTable(f"{at}.csv", _Bytes(data), None, spec, "csv", types=types)
        whole = Piece(part=0, begin=data.index(b"\n") + 1, end=len(data), line=2)
        tables += list(file.rows(whole, ["x"]))
    return pa.concat_tables(tables), types


@pytest.mark.parametrize("spec", SPECS[:5], ids=NAMES[:5])
@settings(max_examples=int(os.environ.get("EX", 40)), deadline=None)
@given(files=st.lists(st.lists(COLUMNS, min_size=1, max_size=4), min_size=1, max_size=3))
@example(files=[[["1"], ["2", ""]], [["3"]]])
@example(files=[[["1.5"], ["2.0", ""]], [["", ""]]])
@example(files=[[["1"], ["2", ""]], [["3.5"]]])
@example(files=[[["1"]], [["0x1F"]]])
@example(files=[[["9007199254740993", ""]], [["1"]]])
def test_a_column_that_is_read_as_numbers_gives_what_its_texts_give(
    spec: ReadSpec, files: list[list[list[str]]]
) -> None:
    numbers, types = read([file_of(each, spec.delimiter) for each in files], spec)
    # pyarrow's own reading of the null texts, so that both begin with the same missing values
    plain, _ = read([file_of(each, spec.delimiter) for each in files], spec_of(**_as_texts(spec)))
    assert plain.schema.field("x").type == pa.string()
    bounds = np.append(0, np.cumsum([len(key) for file in files for key in file]))
    scan = scan_of(spec, numbers.schema)
    assert table_scan.numbers_of(scan) == types
    by_number = KeyRows(scan=scan, spec=spec, files=()).payloads(numbers, bounds)
    by_text = KeyRows(scan=scan_of(spec, plain.schema), spec=spec, files=()).payloads(plain, bounds)
    for one, other in zip(by_number, by_text, strict=True):
        assert one.content() == other.content()
        assert outcome(one, spec) == outcome(other, spec)


def _as_texts(spec: ReadSpec) -> dict[str, Any]:
    form = {"null_values": list(spec.null_values), "decimal": spec.decimal, "delimiter": spec.delimiter}
    return {"format": form, "times": {"x": "iso"}}  # columns with times stay texts


def test_whole_columns_of_numbers_are_read_as_numbers_and_others_as_texts() -> None:
    def types(*files: str) -> dict[str, str]:
        return {name: str(kind) for name, kind in read([each.encode() for each in files], spec_of())[1].items()}

    assert types("k,x\na,1\nb,\n", "k,x\na,-2\n") == {"x": "int64"}
    assert types("k,x\na,1.5\nb,2.0\n", "k,x\na,1e3\n") == {"x": "double"}
    assert types("k,x\na,1.5\n", "k,x\na,2\n") == {}  # the key of the 2 may have whole numbers alone
    assert types("k,x\na,1.5\n", "k,x\na,n/a\n") == {}
    assert types("k,x\na,\n") == {}


def test_a_file_with_another_text_than_when_it_was_counted_is_an_error_by_name() -> None:
    file = TextTable("0.csv", _Bytes(b"k,x\na,oh\n"), None, spec_of(), "csv", types={"x": pa.int64()})
    with pytest.raises(PartitionError, match=r"0\.csv: column 'x' held only numbers when its rows were counted"):
        list(file.rows(Piece(part=0, begin=4, end=9, line=2), ["x"]))


def test_texts_in_many_other_columns_do_not_keep_numbers_from_being_read_as_numbers() -> None:
    names = ",".join(f"t{at}" for at in range(30))
    text = f"k,{names},x\na,{','.join('t' * 30)},1.5\n".encode()
    assert read([text, text], spec_of())[1] == {"x": pa.float64()}
