"""Plan a table that the tasks read: read the key columns of files that have no record yet."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from job.config.score_settings import Settings
from job.config.settings import InputSettings
from job.errors import ConfigurationError, InputError
from job.keys import hive_columns
from job.plan import table_files, table_keys, table_layout, table_marks
from job.plan.selection import Selected
from job.plan.spark_read import levels_of
from job.plan.table_layout import TableLayout
from job.reader.spec import ReadSpec
from job.reader.table_scan import kind_of
from job.store import Store
from job.store.side import storage

if TYPE_CHECKING:
    from job.plan.delta_files import DeltaFiles


def select_table(
    job: Settings, spec: ReadSpec, source: Store, output: Store, listing: pa.Table, *, keep: bool
) -> tuple[Selected, pa.Table, TableLayout]:
    """Select the keys of a table, and find out which files hold their rows.

    Parameters
    ----------
    job
        The settings of the job.
    spec
        How bytes become values, and which columns the recipe needs.
    source, output
        The store that holds the table, and the store for the record of its files.
    listing
        All objects below ``input.uri``.
    keep
        Whether to record the keys that were read from the files: a run does, ``manyfit plan`` does not.

    Returns
    -------
    Selected
        The selected keys.
    pyarrow.Table
        The files of the table.
    TableLayout
        The files and pieces that hold the rows of each key.

    Raises
    ------
    ConfigurationError
        The format is not one of those that manyfit itself reads, or the table lacks a column.
    InputError
        The table has no row, or its files have different columns.
    """
    settings = job.input
    key = (settings.key,) if isinstance(settings.key, str) else tuple(settings.key or ())
    delta = _delta(job, source, listing) if settings.format.type == "delta" else None
    found, ignored, unmatched = (delta.files, 0, 0) if delta else table_keys.files(listing, settings)
    names = found["name"].to_pylist()
    if delta:
        kind, levels, types = "parquet", delta.levels(), {field.name: field.type for field in delta.schema}
        given = [delta.given.get(name) for name in names]
    else:
        _refuse_logs(listing, found, settings)
        kind, levels, types = _kind(names, settings), levels_of(names), {}
        given = [json.dumps(hive_columns(name)) for name in names] if levels else [None] * len(names)
    described = found.append_column("given", pa.array(given, pa.string()))
    declared = table_layout.declared_keys(settings, spec, kind)
    read = table_layout.read_digest(settings, declared)
    state = table_layout.state(found, read, kind, spec)
    with storage("output", "the record of the table cannot be read"):
        known, same = table_files.recorded(output, state, read)
    files = table_files.look(source, described, key, kind, spec, known, read, types=types, declared=declared)
    if keep and not same:
        with storage("output", "the record of the table could not be kept"):
            table_files.keep(output, state, files)
    layout = table_layout.layout(files, kind, settings, spec, levels, delta.schema if delta else None)
    layout = replace(layout, version=delta.version if delta else None, state=state)
    selected = table_layout.select(layout, found, settings, job.run.seed, ignored=ignored, unmatched=unmatched)
    return selected, found, layout


def _delta(job: Settings, source: Store, listing: pa.Table) -> DeltaFiles:
    from job.plan import delta_files

    with storage("input", "the log of the Delta table cannot be read"):
        return delta_files.live(source, listing, job.input.version)


def _kind(names: list[str], settings: InputSettings) -> str:
    kind = kind_of(names, settings.format.type)
    if kind is None:
        raise ConfigurationError(
            f"input.format: the format of the table cannot be told from its files' names, such as {names[0]!r}",
            hint="Name it (input.format.type: csv, tsv, json, parquet, arrow) or narrow input.match; what only "
            "Spark can read needs input.reader: spark.",
        )
    return kind


def _refuse_logs(listing: pa.Table, found: pa.Table, settings: InputSettings) -> None:
    """Raise if the files belong to a table format with a log, because only that log tells which files are live."""
    if settings.table_files == "read":
        return
    for folder, name in sorted(table_marks.tables(listing["name"]).items()):
        if folder and not pc.any(pc.starts_with(found["name"], folder)).as_py():
            continue
        way = f"input.reader: spark with input.format: {name.lower()} and its package in spark.conf, or export it"
        if name == "Delta" and not folder:
            way = "input.format: delta"
        raise InputError(
            f"{folder or settings.uri} is a table in the {name} format, whose log says which files are live",
            hint=f"Read it as a table: {way}. Or take the files as they lie, dead ones too: input.table_files: read.",
        )
