"""From settled outcomes to the rows of a release (`job.registry.index.CHANGES`). Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.config.settings import PromoteSettings
from job.outcome import TRAINED
from job.plan.plan import Plan
from job.registry.delta_log import fields
from job.registry.index import CHANGES, FAILED, GONE, KEEP, LIVE, PUT, RETIRE, SKIPPED, STALE, TOUCH
from job.registry.row import REPEATED, TOUCHED
from job.run import promotion


def of(
    plan: Plan,
    settled: pa.Table,
    *,
    run: str,
    versions: str,
    retire_gone: bool,
    known: pa.Table,
    promote: PromoteSettings | None = None,
    done: str = TRAINED,
) -> pa.Table:
    """The rows of a release, for the changed keys only.

    Parameters
    ----------
    plan
        The plan, with the keys that are gone or back.
    settled
        One outcome per key that was to be trained.
    run
        The run's id.
    versions
        The environment card, as JSON.
    retire_gone
        ``input.on_gone: retire``.
    known
        Columns key, state, reason and message of the failed and stale rows of the index: an equal failure makes no row,
        nor does an equal skip of a stale row.
    promote
        The settings of the gate; then ``settled`` comes from `job.run.promotion.decided`.
    done
        The status of keys for which the run succeeded: trained or scored.

    Returns
    -------
    pyarrow.Table
        With `CHANGES`.
    """
    listed_at = pa.scalar(plan.listed_at, pa.timestamp("us", "UTC"))

    def of_status(status: str) -> pa.Table:
        chosen = pc.equal(settled["status"], status)
        # A filter would copy the rows even if it keeps all of them.
        return settled if settled.num_rows and pc.all(chosen).as_py() else settled.filter(chosen)

    trained, touched = of_status(done), of_status("unchanged")
    failed = _without_known(of_status("failed"), known)
    skipped = _without_known(of_status("skipped"), known.filter(pc.equal(known["state"], STALE)))
    described = (*_OF_DATA, "rows")
    gated: tuple[str, ...] = ()
    stays, becomes = trained.slice(0, 0), trained
    if promote is not None and promote.metric is not None:
        gated = ("against", *_OF_GATE)
        live = promotion.replaces(trained, promote)
        becomes, stays = trained.filter(live), trained.filter(pc.invert(live))
    tables = [
        _rows(
            becomes,
            (*_OF_DATA, *promotion.OF_MODEL, *gated),
            listed_at,
            state=LIVE,
            action=PUT,
            run=run,
            versions=versions,
            trained_at=pc.cast(pc.multiply(becomes["finished_at"], 1e6), pa.int64(), safe=False).cast(
                pa.timestamp("us", "UTC")
            ),
        ),
        _rows(
            stays,
            (*_OF_DATA, *gated),
            listed_at,
            action=KEEP,
            judged_until=promotion.judged_until(stays),
            challenger=stays["digest"],
            challenger_row=promotion.kept_rows(stays, run=run, versions=versions),
        ),
        _rows(failed, ("reason", "message", "source", "bytes"), listed_at, state=FAILED, action=PUT, run=run),
        _rows(skipped, ("reason", "message", *described), listed_at, state=SKIPPED, action=PUT, run=run),
        _rows(touched, _OF_DATA, listed_at, action=TOUCH),
    ]
    here = pa.chunked_array(
        [chunk for table in (trained, failed, skipped, touched) for chunk in table["key"].chunks], pa.string()
    )
    returned = plan.returned.filter(pc.invert(pc.is_in(plan.returned, value_set=here)))
    tables.append(_rows(pa.table({"key": returned}), (), listed_at, action=TOUCH))
    tables.append(_rows(pa.table({"key": plan.gone}), (), listed_at, action=RETIRE if retire_gone else GONE))
    return pa.concat_tables([table for table in tables if table.num_rows] or tables[:1]).unify_dictionaries()


def _without_known(outcomes: pa.Table, known: pa.Table) -> pa.Table:
    def signature(table: pa.Table) -> Any:
        texts = [pc.fill_null(table[name].cast(pa.string()), "") for name in ("key", "reason", "message")]
        return pc.binary_join_element_wise(*texts, "\0")

    if not outcomes.num_rows or not known.num_rows:
        return outcomes
    return outcomes.filter(pc.invert(pc.is_in(signature(outcomes), value_set=signature(known).combine_chunks())))


def _rows(table: pa.Table, columns: tuple[str, ...], listed_at: pa.Scalar, **constant: Any) -> pa.Table:
    size = table.num_rows
    given = {**constant, "listed_at": listed_at}
    arrays = []
    for field in _CODED:
        value = table[field.name] if field.name == "key" or field.name in columns else given.get(field.name)
        if isinstance(value, pa.Array | pa.ChunkedArray):
            coded = pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(value.type)
            arrays.append(value.dictionary_encode() if coded else value.cast(field.type))
            continue
        if value is None and field.name in _NEVER_NULL:
            value = ""  # these texts are never null in the table, and a failure has none
        arrays.append(_constant(value, field.type, size))
    return pa.table(arrays, schema=_CODED)


def _constant(value: Any, kind: pa.DataType, size: int) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return pa.repeat(pa.scalar(value, kind), size)
    if value is None:
        return pa.nulls(size, kind)
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([value], kind.value_type))


_OF_DATA = (*TOUCHED, "bytes")
"""Columns of an outcome that describe the data, recipe and environment of its model."""
_OF_GATE = ("gate", "gate_champion", "gate_challenger", "gate_gain", "gate_rows", "gate_p", "gate_note")
_NEVER_NULL = {"data", "recipe", "environment"}
_CODED = fields(CHANGES, CHANGES.names, REPEATED)
"""Schema of the rows, with dictionaries for texts that repeat: a million rows hold each of them once."""
