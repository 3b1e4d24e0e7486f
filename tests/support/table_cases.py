"""Tables as people have them, each with what must come out, whoever reads it and whatever engine runs it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from job.engine import Engine
from job.errors import ManyfitError
from job.registry.model_set import ModelSet
from job.run.assembly import Assembly, assemble
from job.run.run import run
from tests.support.engines import settings

NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True)
class TableCase:
    """A table, a job on it, and its outcome."""

    put: Callable[[Path], Any]
    """writes the files"""
    models: dict[str, tuple[int, float]] | str
    """rows and slope of each key; or what the error says that ends the run"""
    sections: dict[str, Any] = field(default_factory=dict)
    """of the job"""
    by_spark: dict[str, tuple[int, float]] | str | None = None
    """what comes out with ``reader: spark`` where it differs"""
    why: str = ""
    """why it differs there, as docs/explanation/tables.md says"""


def keyed(*values: Any, kind: pa.DataType | None = None, rows: int = 6, **columns: Any) -> pa.Table:
    """A table with key ``k``: each value has some rows, in turns, and its place, from one on, as its slope."""
    number = np.tile(np.arange(len(values)), rows)
    x = np.repeat(np.arange(rows, dtype=float), len(values))
    key = pa.array(values, kind)
    if pa.types.is_dictionary(key.type):
        key = key.cast(key.type.value_type).take(pa.array(number)).dictionary_encode()
    else:
        key = key.take(pa.array(number))
    return pa.table({"k": key, "x": x, "y": x * (number + 1), **columns})


def parquet(*tables: pa.Table, **options: Any) -> Callable[[Path], None]:
    """Files of a table."""

    def put(folder: Path) -> None:
        for number, table in enumerate(tables):
            pq.write_table(table, folder / f"p{number}.parquet", **options)

    return put


def arrow(table: pa.Table, batch: int = 4) -> Callable[[Path], None]:
    """One Arrow file of several record batches."""

    def put(folder: Path) -> None:
        with pa.ipc.new_file(str(folder / "a.arrow"), table.schema) as file:
            file.write_table(table, max_chunksize=batch)

    return put


def both(*puts: Callable[[Path], Any]) -> Callable[[Path], None]:
    """All of these files."""

    def put(folder: Path) -> None:
        for each in puts:
            each(folder)

    return put


def text(name: str, body: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    """One file of text."""

    def put(folder: Path) -> None:
        (folder / name).write_bytes(body.encode(encoding))

    return put


def slopes(*keys: str, rows: int = 6) -> dict[str, tuple[int, float]]:
    """What `keyed` should give."""
    return {f"k={key}": (rows, float(number + 1)) for number, key in enumerate(keys)}


def halves() -> pa.Table:
    """One key with half of the rows, in between the others."""
    number = np.where(np.arange(400) % 2 == 0, 0, np.arange(400) % 40)
    x = np.arange(400, dtype=float)
    return pa.table({"k": number, "x": x, "y": x * (number + 1)})


def _moments(*texts: str) -> list[dt.datetime]:
    return [dt.datetime.fromisoformat(text) for text in texts]


def _nanoseconds(*values: int) -> pa.Array:
    return pa.array(np.tile(values, 6), pa.timestamp("ns"))


def _uuids(*values: int) -> pa.Array:
    stored = pa.array([value.to_bytes(16, "big") for value in values] * 6, pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), stored)


def _runs(*values: str) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array(np.arange(1, len(values) + 1) * 6, pa.int32()), pa.array(values))


BREAKS = "k,x,y\r\n" + "".join(f'"shop\n{row % 2}, ""é""",{row},{row * (row % 2 + 1)}\r\n' for row in range(1, 21))
LINES = "".join(
    f'{{"k": "{"ab"[row % 2]}", "x": {row if row % 4 else row + 0.5}, "y": {row if row % 4 else row + 0.5}}}\n'
    for row in range(20)
)

CASES: dict[str, TableCase] = {
    "null keys": TableCase(put=parquet(keyed("a", None, "b")), models=slopes("a", NULL, "b")),
    "null keys of numbers": TableCase(put=parquet(keyed(1, None, kind=pa.int32())), models=slopes("1", NULL)),
    "text keys with odd characters": TableCase(
        put=parquet(keyed("a/b", "é%=", " ", "tab\t", "x\n")),
        models=slopes("a%2Fb", "é%25%3D", " ", "tab%09", "x%0A"),
    ),
    "date keys": TableCase(
        put=parquet(keyed(dt.date(2024, 2, 29), dt.date(1969, 12, 31))), models=slopes("2024-02-29", "1969-12-31")
    ),
    "decimal keys": TableCase(
        put=parquet(keyed(Decimal("1.50"), Decimal("0.00"), kind=pa.decimal128(9, 2))), models=slopes("1.50", "0.00")
    ),
    "float keys": TableCase(put=parquet(keyed(1.0, 1e7, -0.5, 1e-4)), models=slopes("1.0", "1.0E7", "-0.5", "1.0E-4")),
    "boolean keys": TableCase(put=parquet(keyed(True, False)), models=slopes("true", "false")),
    "keys of zoned times": TableCase(
        put=parquet(
            keyed(
                *_moments("2024-01-01T12:00:00+00:00", "2024-01-01T12:00:00.5+00:00"),
                kind=pa.timestamp("us", "Europe/Vienna"),
            )
        ),
        models=slopes("2024-01-01 12:00:00", "2024-01-01 12:00:00.5"),
    ),
    "a dictionary as key": TableCase(
        put=parquet(keyed("u", "v", kind=pa.dictionary(pa.int32(), pa.string()))), models=slopes("u", "v")
    ),
    "whole numbers of two widths, and floats": TableCase(
        put=parquet(
            keyed(1, 2, kind=pa.int32()).set_column(1, "x", pa.array(np.repeat(np.arange(6), 2), pa.int32())),
            keyed(1, 2, kind=pa.int64()).set_column(1, "x", pa.array(np.repeat(np.arange(6), 2), pa.int64())),
            keyed(1, 2, kind=pa.int64()),
        ),
        models=slopes("1", "2", rows=18),
        by_spark="its columns differ from those of the other files",
        why="Spark does not widen columns",
    ),
    "a key that is text in one file and a number in another": TableCase(
        put=parquet(keyed("1"), keyed(1)),
        models=r"'k' is string in p0\.parquet and int64 in p1\.parquet",
        by_spark="its columns differ from those of the other files",
        why="both refuse it; Spark's message names no file",
    ),
    "a key of whole numbers in one file and of floats in another": TableCase(
        put=parquet(keyed(1, 2), keyed(1.0, None)),
        models=r"'k' is int64 in p0\.parquet and double in p1\.parquet: one key would have two texts, such as 1 and 1\.0",
        by_spark="its columns differ from those of the other files",
        why="both refuse it; Spark's message names no file",
    ),
    "a key of whole numbers in one file and of floats in another, with its type declared": TableCase(
        put=parquet(keyed(1, 2), keyed(1.0, None)),
        sections={"input": {"schema": {"k": {"type": "int64", "optional": True}}}},
        models={"k=1": (12, 1.0), "k=2": (6, 2.0), f"k={NULL}": (6, 2.0)},
        by_spark="is declared optional, which is for reader 'direct'",
        why="Spark needs all columns declared, and does not convert them",
    ),
    "a key of floats of two widths": TableCase(
        put=parquet(keyed(0.1, kind=pa.float32()), keyed(0.1)),
        models=r"'k' is float in p0\.parquet and double in p1\.parquet",
        by_spark="its columns differ from those of the other files",
        why="both refuse it; Spark's message names no file",
    ),
    "keys that differ by a nanosecond": TableCase(
        put=parquet(keyed(0, 1, 1_000, kind=pa.int64()).set_column(0, "k", _nanoseconds(0, 1, 1_000))),
        models=slopes("1970-01-01 00:00:00", "1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000001"),
        by_spark="time stamps in nanoseconds",
        why="Spark has microseconds, and refuses what pandas writes",
    ),
    "keys that are UUIDs": TableCase(
        put=parquet(keyed(0, 1).set_column(0, "k", _uuids(0, 1))),
        models=slopes(*(f"00000000-0000-0000-0000-00000000000{number}" for number in (0, 1))),
        by_spark=r"Illegal Parquet type: FIXED_LEN_BYTE_ARRAY \(UUID\)",
        why="Spark does not read UUIDs",
    ),
    "a dictionary as key in several record batches": TableCase(
        put=arrow(keyed("u", "v", kind=pa.dictionary(pa.int32(), pa.string()))),
        models=slopes("u", "v"),
        by_spark="Spark does not read arrow files",
        why="Spark does not read Arrow files",
    ),
    "a key column that is run-end encoded": TableCase(
        put=arrow(keyed("u", "v").sort_by("k").set_column(0, "k", _runs("u", "v"))),
        models=slopes("u", "v"),
        by_spark="Spark does not read arrow files",
        why="Spark does not read Arrow files",
    ),
    "time stamps in nanoseconds order the rows": TableCase(
        put=parquet(keyed("a", "b", day=pa.array(np.arange(12)[::-1] * 1_000, pa.timestamp("ns")))),
        sections={"input": {"order_by": ["day"]}},
        models=slopes("a", "b"),
        by_spark="time stamps in nanoseconds",
        why="Spark has microseconds, and refuses what pandas writes",
    ),
    "a nested column that no recipe needs": TableCase(
        put=parquet(keyed("a", "b", nested=pa.array([{"l": [1], "m": {"n": "x"}}] * 12))), models=slopes("a", "b")
    ),
    "five of five thousand columns": TableCase(
        put=parquet(
            pa.table(
                {
                    **{name: keyed("a", "b")[name] for name in ("k", "x", "y")},
                    **{f"c{number}": np.full(12, float(number)) for number in range(5000)},
                }
            )
        ),
        sections={"recipe": {"features": ["x", "c7", "c4999"]}},
        models=slopes("a", "b"),
    ),
    "files and row groups without rows": TableCase(
        put=parquet(keyed("a", "b").slice(0, 0), keyed("a", "b"), keyed("a", "b").slice(0, 0)), models=slopes("a", "b")
    ),
    "a parquet file of no bytes": TableCase(
        put=both(parquet(keyed("a", "b")), text("z.parquet", "")), models=slopes("a", "b")
    ),
    "a csv file of no bytes": TableCase(
        put=both(text("a.csv", "k,x,y\n" + "".join(f"a,{x},{x}\n" for x in range(6))), text("b.csv", "")),
        models=slopes("a"),
    ),
    "files of no bytes alone": TableCase(
        put=both(text("a.parquet", ""), text("b.parquet", "")), models="has no row: its 2 files have 0 bytes"
    ),
    "a file without rows whose columns have no type": TableCase(
        put=both(
            parquet(keyed("a", "b")),
            lambda folder: pd.DataFrame({"k": [], "x": [], "y": []}).to_parquet(folder / "z.parquet"),
        ),
        models=slopes("a", "b"),
        by_spark="its columns differ from those of the other files",
        why="Spark does not widen columns, also of files without rows",
    ),
    "one key with half of the rows": TableCase(
        put=parquet(halves(), row_group_size=50),
        models={
            f"k={key}": (int(np.sum(halves()["k"].to_numpy() == key)), key + 1.0)
            for key in np.unique(halves()["k"].to_numpy()).tolist()
        },
    ),
    "line breaks in quotes and a byte order mark": TableCase(
        put=text("a.csv", BREAKS, "utf-8-sig"),
        models={'k=shop%0A0, "é"': (10, 1.0), 'k=shop%0A1, "é"': (10, 2.0)},
        by_spark="a row that is damaged",
        why="Spark reads line by line unless format.options say multiLine",
    ),
    "codes with zeros in front": TableCase(
        put=text("a.csv", "k,x,y\n" + "".join(f"{key},{x},{x}\n" for x in range(6) for key in ("007", "7"))),
        models={"k=007": (6, 1.0), "k=7": (6, 1.0)},
        by_spark={"k=7": (12, 1.0)},
        why="Spark infers numbers",
    ),
    "json lines of whole numbers and fractions": TableCase(
        put=text("a.jsonl", LINES), models={"k=a": (10, 1.0), "k=b": (10, 1.0)}
    ),
    "json lines whose keys are whole numbers and fractions": TableCase(
        put=text("a.jsonl", "".join(f'{{"k": {key}, "x": {x}, "y": {x}}}\n' for x in range(6) for key in (1, 2.5))),
        models=r"a\.jsonl.*one key would have two texts, such as 1 and 1\.0",
        by_spark={"k=1.0": (6, 1.0), "k=2.5": (6, 1.0)},
        why="Spark reads all of a table before it has a type for the key",
    ),
    "json lines whose keys are whole numbers and fractions, with their type declared": TableCase(
        put=text("a.jsonl", "".join(f'{{"k": {key}, "x": {x}, "y": {x}}}\n' for x in range(6) for key in (1, 2.5))),
        sections={"input": {"schema": {"k": {"type": "float64", "optional": True}}}},
        models={"k=1.0": (6, 1.0), "k=2.5": (6, 1.0)},
        by_spark="is declared optional, which is for reader 'direct'",
        why="Spark needs all columns declared, and reads these without",
    ),
    "json lines of numbers and texts": TableCase(
        put=text("a.jsonl", LINES + '{"k": "a", "x": "many", "y": 1}\n'),
        models=r"a\.jsonl: .*column 'x'",
        by_spark={},
        why="Spark makes all of the column text",
    ),
}


def agree(found: dict[str, tuple[int, float]] | str, wanted: dict[str, tuple[int, float]] | str) -> bool:
    """Whether this came out; an error by what it says."""
    if isinstance(found, str) and isinstance(wanted, str):
        return re.search(wanted, found) is not None
    return found == wanted


def outcome(
    case: TableCase, folder: Path, engine: Callable[[Assembly], Engine] | None, *sections: dict[str, Any]
) -> dict[str, tuple[int, float]] | str:
    """What comes out: rows and slope of each key, or what the error says."""
    if not (folder / "in").exists():
        (folder / "in").mkdir(parents=True)
        case.put(folder / "in")
    table = {"input": {"layout": "columns", "key": ["k"]}, "run": {"max_failed": "100%"}, "output": {"report": "short"}}
    options = {} if engine is None else {"make_engine": engine}
    try:
        job = settings(folder, table, case.sections, *sections)
        report = run(assemble(job), job.model_dump(mode="json", exclude_defaults=True, by_alias=True), **options)
    except ValidationError as error:
        return str(error)
    except ManyfitError as error:
        return error.message
    if report.version is None:
        return {}
    models = ModelSet.open(job.output.uri)
    rows = models.metrics()["rows"]
    return {key: (int(rows[key]), round(float(models[key].coef_[0]), 6)) for key in models}
