"""The task lists of a plan: who trains what, written below the run for the workers to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.arrow import digest_letters, encode, whole
from job.plan.packing import FIT_MEMORY, UNPACKED
from job.plan.placing import Placement
from job.plan.plan import Plan
from job.plan.table_layout import TableLayout
from job.store import Store
from job.worker.work import KEYS_SCHEMA, PIECES_SCHEMA, TASK_SCHEMA

_PLAIN = r"\.(csv|txt|tsv|jsonl|ndjson|json|arrow|feather|ipc)$"
"""Names of objects whose bytes are those of the rows."""


_COPIED = ["content", "reading", "bytes"]
"""Columns of the plan that a task list has as they are."""


def write_tasks(
    output: Store,
    run: str,
    plan_id: str,
    plan: Plan,
    due: np.ndarray,
    costs: np.ndarray,
    assigned: np.ndarray,
    champions: pa.Table | None = None,
    beside: Callable[[Plan, int, np.ndarray], Mapping[str, Sequence[str]]] = lambda plan, task, rows: {},
) -> None:
    """One list for each task, the dearest first; lists are made one at a time, so that a million keys stay in Arrow.

    Parameters
    ----------
    output, run, plan_id
        Where the lists go.
    plan
        The plan, for the objects.
    due
        The numbers of the rows of ``plan.keys`` that are to be trained.
    costs
        Of each of them.
    assigned
        The task of each row (`job.plan.packing.pack`).
    champions
        The live models that new ones are compared with (`job.run.promotion.CHAMPION`), if they are.
    beside
        Further columns of a task's list.
    """
    tasks = int(assigned.max()) + 1
    order = np.lexsort((-costs, assigned))
    bounds = np.append(0, np.cumsum(np.bincount(assigned, minlength=tasks)))
    keys = plan.keys.select(["key", "data", "content", "reading", "bytes", "first", "count"])
    described = ("name", "etag", "size", "modified")
    columns = [whole(plan.objects[name]) for name in described]

    def write(task: int) -> None:
        numbers = due[order[bounds[task] : bounds[task + 1]]]
        rows = keys.take(pa.array(numbers)).combine_chunks()
        count = rows["count"].to_numpy()
        at = np.repeat(rows["first"].to_numpy(), count) + _within(count)
        structs = pa.StructArray.from_arrays([column.take(pa.array(at)) for column in columns], names=described)
        offsets = pa.array(np.concatenate([[0], np.cumsum(count)]), pa.int32())
        objects = pa.ListArray.from_arrays(offsets, structs)
        more = beside(plan, task, numbers)
        given = [pa.array(more.get(name, [None] * rows.num_rows), pa.string()) for name in ("chunk", "model")]
        table = pa.table(
            [
                rows["key"],
                digest_letters(rows["data"].chunk(0)),
                *rows.select(_COPIED).columns,
                objects,
                _champions(rows["key"], champions),
                *given,
            ],
            schema=TASK_SCHEMA,
        )
        output.ensure(run_paths.task_list(run, plan_id, task), encode(table))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(tasks)))


def _champions(keys: pa.ChunkedArray, champions: pa.Table | None) -> pa.Array:
    kind = TASK_SCHEMA.field("champion").type
    if champions is None or not champions.num_rows:
        return pa.nulls(len(keys), kind)
    at = whole(pc.index_in(keys, value_set=whole(champions["key"])))
    columns = [whole(champions[field.name]).take(at) for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=pc.is_null(at))


def memory_needs(plan: Plan, due: np.ndarray, assigned: np.ndarray) -> tuple[int, ...]:
    """The bytes of memory that each task may need: its largest partition, read and fitted.

    Parameters
    ----------
    plan
        The plan, for the sizes and the names of the objects.
    due
        The numbers of the rows of ``plan.keys`` that are to be trained.
    assigned
        The task of each of them.
    """
    chosen = plan.keys.select(["bytes", "first"]).take(pa.array(due))
    names = whole(plan.objects["name"]).take(chosen["first"].combine_chunks())
    plain = pc.match_substring_regex(names, _PLAIN, ignore_case=True).to_numpy(zero_copy_only=False)
    each = chosen["bytes"].to_numpy() * np.where(plain, 1.0, UNPACKED) * FIT_MEMORY
    most = np.zeros(int(assigned.max()) + 1)
    np.maximum.at(most, assigned, each)
    return tuple(most.astype(np.int64).tolist())


def write_table(
    output: Store, run: str, plan_id: str, layout: TableLayout, keys: pa.Array, costs: np.ndarray, placement: Placement
) -> None:
    """Write what the tasks of a table need beside their lists: which task reads which piece and trains which key.

    Parameters
    ----------
    output, run, plan_id
        Where it goes.
    layout
        The table.
    keys, costs
        The keys to be trained, as `write_tasks` is given them.
    placement
        Who trains and who reads.
    """
    order = np.lexsort((-costs, placement.assigned))
    places = pa.table([keys.take(pa.array(order)), pa.array(placement.assigned[order])], schema=KEYS_SCHEMA)
    output.ensure(run_paths.table_keys(run, plan_id), encode(places))
    table = pieces_of(layout, placement.piece, placement.reader)
    output.ensure(run_paths.pieces(run, plan_id), encode(table))


def pieces_of(layout: TableLayout, piece: np.ndarray, reader: np.ndarray) -> pa.Table:
    """Some pieces of a table's files as they are told to who reads them.

    Parameters
    ----------
    layout
        The table.
    piece
        Rows of ``layout.files.pieces``.
    reader
        Who reads each.

    Returns
    -------
    pyarrow.Table
        With `job.worker.work.PIECES_SCHEMA`.
    """
    pieces = layout.files.pieces.take(pa.array(piece))
    files = layout.files.table.select(["name", "size", "etag", "given"]).take(pieces["file"])
    columns = {"reader": pa.array(reader)}
    for name in PIECES_SCHEMA.names:
        if name not in columns:
            columns[name] = files[name] if name in files.column_names else pieces[name]
    return pa.table([columns[name] for name in PIECES_SCHEMA.names], schema=PIECES_SCHEMA)


def _within(count: np.ndarray) -> np.ndarray:
    """0, 1, … count-1 for each count, one after the other."""
    total = int(count.sum())
    starts = np.repeat(np.cumsum(count) - count, count)
    within: np.ndarray = np.arange(total) - starts
    return within
