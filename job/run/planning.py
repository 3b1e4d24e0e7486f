"""The plan of a job: the input is listed, keys are selected and compared with what is published. Nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from job import engine as engines
from job import run_paths
from job.arrow import compact, give_back
from job.engine import Borrowed
from job.errors import NotFoundError, OutputError
from job.outcome import SCHEMA
from job.plan import plan, selection, spark_read, table_keys
from job.plan.compare import INDEX_COLUMNS
from job.plan.plan import Plan
from job.plan.spark_read import TableRead
from job.run.assembly import Assembly
from job.run.table_planning import select_table
from job.store import Store
from job.store.side import storage
from job.worker import segment

_REPEATED = ("state", "recipe", "environment")
"""Columns with few distinct texts in many rows: they are read dictionary-encoded."""


def list_input(assembly: Assembly) -> tuple[pa.Table, datetime]:
    """All objects below ``input.uri``, and the time by the store's clock just before the listing."""
    uri = assembly.input.uri
    with storage("input", f"the input {uri} cannot be listed"):
        now = assembly.input.now()
        # The pages of the listing are joined: their many small buffers would take a hundred bytes a name.
        listing = compact(assembly.input.list())
    give_back()
    return listing, now


def unfinished_runs(output: Store, now: datetime) -> list[str]:
    """Ids of the runs without a result that began within `segment.ADOPT_SECONDS`, the oldest first."""
    found = []
    for run in output.prefixes("runs"):
        if output.head(run_paths.result(run)) is None:
            try:
                begun = json.loads(bytes(output.get(run_paths.settings(run))))["started_at"]
            except NotFoundError:
                continue
            if (now - datetime.fromisoformat(begun)).total_seconds() < segment.ADOPT_SECONDS:
                found.append((begun, run))
    return [run for _, run in sorted(found)]


def finished_outcomes(assembly: Assembly, now: datetime) -> pa.Table:
    """Trained outcomes of runs that did not finish: their models are in the store. Failures are not adopted."""
    with storage("output", "unfinished runs could not be read"):
        tables = [
            segment.read(assembly.output, run_paths.segments(run)) for run in unfinished_runs(assembly.output, now)
        ]
    if not tables:
        return SCHEMA.empty_table()
    every = pa.concat_tables(tables)
    return every.filter(pc.equal(every["status"], "trained"))


def make_plan(
    assembly: Assembly,
    finished: pa.Table,
    engine: Borrowed | None = None,
    *,
    mixed: Callable[[pa.Array, pa.Array], pa.Array] = lambda keys, data: data,
    keys: pa.Array | None = None,
) -> Plan:
    """List the input, select keys, and compare them with the published table.

    Parameters
    ----------
    assembly
        The job.
    finished
        Trained outcomes of runs that did not finish.
    engine
        The engine of a run: it counts the keys of a table, and the counts are stored in the output. None, for a plan
        alone: an engine is started only for the counting, and nothing is stored.
    mixed
        As in `job.plan.plan.make`.
    keys
        The keys to plan for forecasts that need no input; None: the keys come from the input.

    Raises
    ------
    InputError
        The input cannot be listed, or has no object to train on.
    """
    settings = assembly.settings
    files, read, table = None, None, None
    if keys is not None:
        with storage("output", f"the output {assembly.output.uri} cannot be read"):
            listing, listed_at = None, assembly.output.now()
    else:
        listing, listed_at = list_input(assembly)
    if listing is None:
        selected = selection.of_keys(keys, settings.input, settings.run.seed)
    elif settings.input.layout == "columns" and settings.input.reader == "direct":
        selected, files, table = select_table(
            settings, assembly.spec, assembly.input, assembly.output, listing, keep=engine is not None
        )
    elif settings.input.layout == "columns":
        selected, read, files = _select_rows(assembly, listing, engine)
    else:
        selected = selection.select(listing, settings.input, settings.run.seed)
        read = spark_read.of_objects(settings, assembly.input)
    del listing
    give_back()
    with storage("output", "the published table cannot be read"):
        published = assembly.index.slices(columns=INDEX_COLUMNS, encoded=_REPEATED)
        made = plan.make(
            selected,
            published,
            finished,
            assembly.fingerprints,
            listed_at=listed_at,
            retrain=settings.run.retrain,
            mixed=mixed,
        )
    give_back()
    return replace(made, read=read, files=files, table=table)


def plan_alone(assembly: Assembly) -> Plan:
    """The plan that a run would make, for ``manyfit plan``. It raises the same errors as a run."""
    try:
        finished = finished_outcomes(assembly, datetime.now(UTC))
    except OutputError as error:
        # A folder or bucket that does not exist yet has no unfinished run. If it must exist, `run` raises an error.
        if not isinstance(error.__cause__, NotFoundError):
            raise
        finished = SCHEMA.empty_table()
    return make_plan(assembly, finished)


def _select_rows(
    assembly: Assembly, listing: pa.Table, engine: Borrowed | None
) -> tuple[selection.Selected, TableRead, pa.Table]:
    settings, output = assembly.settings, assembly.output
    files, ignored, unmatched = table_keys.files(listing, settings.input)
    some = bool(unmatched) or table_keys.has_empty(listing, settings.input)
    read = spark_read.of_table(settings, assembly.input, files["name"].to_pylist(), some=some, spec=assembly.spec)

    def count() -> pa.Table:
        if engine is not None:
            return engine.get().count(read)
        own = Borrowed(lambda: engines.make(settings))
        try:
            return own.get().count(read)
        finally:
            own.stop()

    def still() -> str:
        return table_keys.state(list_table(assembly), settings.input)

    with storage("output", "the keys of the table could not be kept"):
        selected = table_keys.select(
            files, settings, output, ignored=ignored, unmatched=unmatched, count=count, still=still if engine else None
        )
    return selected, read, files


def list_table(assembly: Assembly) -> pa.Table:
    """The files of a table as they are now."""
    return table_keys.files(list_input(assembly)[0], assembly.settings.input)[0]
