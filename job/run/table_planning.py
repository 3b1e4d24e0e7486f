"""The keys of a table that the tasks read by themselves: files that are not recorded yet are looked at."""

from __future__ import annotations

import pyarrow as pa

from job.config.settings import JobSettings
from job.errors import ConfigurationError
from job.plan import table_files, table_keys, table_layout
from job.plan.selection import Selected
from job.plan.spark_read import levels_of
from job.plan.table_layout import TableLayout
from job.reader.spec import ReadSpec
from job.reader.table_scan import kind_of
from job.store import Store
from job.store.side import storage


def select_table(
    job: JobSettings, spec: ReadSpec, source: Store, output: Store, listing: pa.Table, *, keep: bool
) -> tuple[Selected, pa.Table, TableLayout]:
    """The chosen keys, the table's files, and where the rows lie.

    Parameters
    ----------
    job
        Its settings.
    spec
        How bytes become values, and which columns the recipe needs.
    source, output
        Where the table lies, and where it is recorded.
    listing
        All objects below ``input.uri``.
    keep
        Record what was read of the files: done by a run, not by a plan that nobody runs.

    Raises
    ------
    ConfigurationError
        The format is none that is read here, or a column is not there.
    InputError
        The table has no row, or its files are not one table.
    """
    settings = job.input
    found, ignored, unmatched = table_keys.files(listing, settings)
    names = found["name"].to_pylist()
    kind = kind_of(names, settings.format.type)
    if kind is None:
        raise ConfigurationError(
            f"input.format: the format of the table cannot be told from its files' names, such as {names[0]!r}",
            hint="Name it (input.format.type: csv, tsv, json, parquet, arrow) or narrow input.match; what only "
            "Spark can read needs input.reader: spark.",
        )
    levels = levels_of(names)
    assert settings.key is not None
    key = [settings.key] if isinstance(settings.key, str) else settings.key
    read = table_layout.read_digest(settings)
    state = table_layout.state(found, settings)
    with storage("output", "the record of the table cannot be read"):
        known, same = table_files.recorded(output, state, read)
    files = table_files.look(source, found, key, kind, spec, known, read)
    if keep and not same:
        with storage("output", "the record of the table could not be kept"):
            table_files.keep(output, state, files)
    layout = table_layout.layout(files, kind, settings, spec, levels)
    selected = table_layout.select(layout, found, settings, job.run.seed, ignored=ignored, unmatched=unmatched)
    return selected, found, layout
