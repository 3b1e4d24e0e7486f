"""The task lists of a plan: which task trains which keys. The driver writes them, and the workers read them."""

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
"""Matches names of objects that are not compressed, so that their size is about that of their rows in memory."""


_COPIED = ["content", "reading", "bytes"]
"""Columns of the plan that are copied to a task list."""


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
    """Write one list for each task. In a list the key with the highest cost comes first.

    Lists are made one at a time, so that a million keys stay in Arrow tables.

    Parameters
    ----------
    output, run, plan_id
        The store and the ids that give the names of the lists.
    plan
        The plan, which names the objects of each key.
    due
        Shape (due keys,): the rows of ``plan.keys`` that are to be trained.
    costs
        Shape (due keys,): the cost of each of these keys.
    assigned
        Shape (due keys,): the task of each of these keys (`job.plan.packing.pack`).
    champions
        The live models for the comparison by the gate (`job.run.promotion.CHAMPION`); None without a gate.
    beside
        Returns further columns of a task's list.
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
    """Estimate the bytes of memory that each task may need, from its largest partition.

    Parameters
    ----------
    plan
        The plan, which has the sizes and the names of the objects.
    due
        Shape (due keys,): the rows of ``plan.keys`` that are to be trained.
    assigned
        Shape (due keys,): the task of each of these keys.
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
    """Write the files that the tasks of a table need beside their lists: who reads which piece, who trains which key.

    Parameters
    ----------
    output, run, plan_id
        The store and the ids that give the names of these files.
    layout
        The files and pieces of the table.
    keys, costs
        The keys to be trained, and their costs, as in `write_tasks`.
    placement
        The task that trains each key, and the task that reads each piece.
    """
    order = np.lexsort((-costs, placement.assigned))
    places = pa.table([keys.take(pa.array(order)), pa.array(placement.assigned[order])], schema=KEYS_SCHEMA)
    output.ensure(run_paths.table_keys(run, plan_id), encode(places))
    table = pieces_of(layout, placement.piece, placement.reader)
    output.ensure(run_paths.pieces(run, plan_id), encode(table))


def pieces_of(layout: TableLayout, piece: np.ndarray, reader: np.ndarray) -> pa.Table:
    """Describe pieces of a table's files to the tasks that read them.

    Parameters
    ----------
    layout
        The files and pieces of the table.
    piece
        Shape (n,): rows of ``layout.files.pieces``.
    reader
        Shape (n,): the task that reads each of these pieces.

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
