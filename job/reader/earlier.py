"""Compares with version 1 of the rules of reading: do equal bytes still give the rows that a model was fitted on?

Version 1 used the types that pyarrow infers for each file alone: texts that look like dates became dates. After an
upgrade of an output from manyfit 0.1, a key whose rows are equal under both versions need not be fitted again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.json as pjson
import pyarrow.types as pt

from job import reader
from job.errors import PartitionError
from job.formats import compression, format_of
from job.keys import hive_columns
from job.reader.decompress import inflate
from job.reader.exact import refuse_rounded
from job.reader.schema import NO_FEATURE
from job.reader.spec import ReadSpec
from job.reader.text_encoding import to_utf8

_INTEGER = re.compile(r"-?\d{1,18}")
_NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?")
_PLAIN = (pt.is_boolean, pt.is_int64, pt.is_int32, pt.is_int16, pt.is_int8, pt.is_float64, pt.is_float32, pt.is_string)
"""Types whose values version 1 read in the same way."""


def same_rows(blobs: Sequence[tuple[str, Any]], spec: ReadSpec) -> bool:
    """Whether version 1 read these objects as the same rows as today; False if that is unknown.

    Parameters
    ----------
    blobs
        Name and bytes of each object of one partition.
    spec
        How to read them.
    """
    if spec.schema or spec.order_by:
        return False
    try:
        now = reader.read(blobs, spec)
        before = [table for name, data in blobs if (table := _before(name, data, spec)) is not None]
        for field in now.schema:
            if pt.is_int64(field.type) and now[field.name].null_count:
                refuse_rounded(now[field.name], field.name, "version 1 rounded it")
    except (PartitionError, pa.ArrowInvalid):
        return False
    if any(each.schema != before[0].schema for each in before):
        return False
    levels = [hive_columns(name) for name, _ in blobs] if spec.hive else [{}]
    if any(each != levels[0] for each in levels) or not _same_levels(now, before[0].column_names, levels[0]):
        return False
    kept = [name for name in now.column_names if name not in levels[0]]
    told = pa.concat_tables(before)
    return set(kept) <= set(told.column_names) and bool(
        told.select(kept).equals(now.select(kept).replace_schema_metadata(told.schema.metadata))
    )


def _before(name: str, data: Any, spec: ReadSpec) -> pa.Table | None:
    kind = format_of(name) if spec.type == "auto" else spec.type
    codec = compression(name)[0]
    plain = inflate(name, data, codec, max_bytes=spec.max_bytes, max_ratio=spec.max_ratio) if codec else data
    if not memoryview(plain).nbytes:
        return None
    if kind in ("csv", "tsv"):
        text = to_utf8(name, plain, spec.encoding)
        delimiter = "\t" if kind == "tsv" and spec.delimiter == "," else spec.delimiter
        return pcsv.read_csv(
            pa.BufferReader(text),
            read_options=pcsv.ReadOptions(use_threads=False, block_size=max(1 << 20, len(text))),
            parse_options=pcsv.ParseOptions(delimiter=delimiter, quote_char=spec.quote, newlines_in_values=True),
            convert_options=pcsv.ConvertOptions(
                null_values=list(spec.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                decimal_point=spec.decimal,
                column_types=dict.fromkeys(spec.texts, pa.string()) or None,
            ),
        )
    if kind == "json":
        text = to_utf8(name, plain, spec.encoding)
        options = pjson.ReadOptions(use_threads=False, block_size=max(1 << 20, len(text)))
        return pjson.read_json(pa.BufferReader(text), read_options=options)
    table = reader.read([(name, data)], replace(spec, hive=False))
    if any(field.metadata and NO_FEATURE.items() <= field.metadata.items() for field in table.schema):
        raise PartitionError("unsupported_format", f"{name}: pandas' index was a feature in version 1")
    if any(not any(plain_type(field.type) for plain_type in _PLAIN) for field in table.schema):
        raise PartitionError("unsupported_format", f"{name}: a type that version 1 may have read otherwise")
    return table


def _same_levels(now: pa.Table, in_files: Sequence[str], levels: dict[str, str | None]) -> bool:
    """Whether columns from directories had today's types in version 1, which preferred columns of the files to them."""
    for name, text in levels.items():
        if name in in_files or text is None or name not in now.column_names:
            return False
        kind = now.schema.field(name).type
        whole, fraction = _INTEGER.fullmatch(text), _NUMBER.fullmatch(text)
        if not (pt.is_int64(kind) if whole else pt.is_float64(kind) if fraction else pt.is_string(kind)):
            return False
    return True
