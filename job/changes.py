"""From settled outcomes to the rows of a release (`job.index.CHANGES`). Pure."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.index import CHANGES, FAILED, GONE, LIVE, PUT, RETIRE, SKIPPED, TOUCH
from job.plan import Plan


def of(
    plan: Plan,
    settled: pa.Table,
    *,
    run: str,
    versions: str,
    retire_gone: bool,
    known_failures: pa.Table,
) -> pa.Table:
    """The changed keys only.

    Parameters
    ----------
    plan
        What was planned, with the keys that are gone or back.
    settled
        One outcome per key that was to be trained.
    run
        The run's id.
    versions
        The environment card, as JSON.
    retire_gone
        ``input.on_gone: retire``.
    known_failures
        key, reason, message of failed and stale rows of the index: the same failure again changes nothing.
    """
    listed_at = pa.scalar(plan.listed_at, pa.timestamp("us", "UTC"))
    status = settled["status"]
    trained = settled.filter(pc.equal(status, "trained"))
    failed = _without_known(settled.filter(pc.equal(status, "failed")), known_failures)
    skipped = settled.filter(pc.equal(status, "skipped"))
    touched = settled.filter(pc.equal(status, "unchanged"))
    described = ("data", "content", "recipe", "environment", "source", "bytes", "rows")
    tables = [
        _rows(
            trained,
            (*described, "digest", "size", "metrics", "warnings", "seconds"),
            listed_at,
            state=LIVE,
            action=PUT,
            run=run,
            versions=versions,
            trained_at=pc.cast(pc.multiply(trained["finished_at"], 1e6), pa.int64(), safe=False).cast(
                pa.timestamp("us", "UTC")
            ),
        ),
        _rows(failed, ("reason", "message", "source", "bytes"), listed_at, state=FAILED, action=PUT, run=run),
        _rows(skipped, ("reason", "message", *described), listed_at, state=SKIPPED, action=PUT, run=run),
        _rows(touched, ("data", "content", "recipe", "environment", "source", "bytes"), listed_at, action=TOUCH),
    ]
    here = pa.concat_tables([trained, failed, skipped, touched])["key"].combine_chunks()
    returned = plan.returned.filter(pc.invert(pc.is_in(plan.returned, value_set=here)))
    tables.append(_rows(pa.table({"key": returned}), (), listed_at, action=TOUCH))
    tables.append(_rows(pa.table({"key": plan.gone}), (), listed_at, action=RETIRE if retire_gone else GONE))
    return pa.concat_tables(tables)


def _without_known(failed: pa.Table, known: pa.Table) -> pa.Table:
    def signature(table: pa.Table) -> Any:
        texts = [pc.fill_null(table[name], "") for name in ("key", "reason", "message")]
        return pc.binary_join_element_wise(*texts, "\0")

    if not failed.num_rows or not known.num_rows:
        return failed
    return failed.filter(pc.invert(pc.is_in(signature(failed), value_set=signature(known).combine_chunks())))


def _rows(table: pa.Table, columns: tuple[str, ...], listed_at: pa.Scalar, **constant: Any) -> pa.Table:
    size = table.num_rows
    arrays = []
    for field in CHANGES:
        if field.name == "key" or field.name in columns:
            value = table[field.name].cast(field.type)
        elif field.name == "listed_at":
            value = pa.repeat(listed_at, size)
        elif field.name in constant:
            given = constant[field.name]
            value = (
                given
                if isinstance(given, pa.Array | pa.ChunkedArray)
                else pa.repeat(pa.scalar(given, field.type), size)
            )
        else:
            # data, recipe and environment are texts that are never null in the table; a failure has none of them
            value = (
                pa.repeat(pa.scalar("", field.type), size) if field.name in _NEVER_NULL else pa.nulls(size, field.type)
            )
        arrays.append(value)
    return pa.table(arrays, schema=CHANGES)


_NEVER_NULL = {"data", "recipe", "environment"}
