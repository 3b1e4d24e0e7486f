"""The barrier between training and publishing: one outcome per planned key, or an error that names what is missing.

Reads what lies in the store; what a task returned is a hint and is not looked at. Pure but for that reading.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import digest_letters, whole
from job.errors import AccountingError
from job.outcome import FAILED, SCHEMA, SCORED, SKIPPED, TRAINED, UNCHANGED
from job.plan.compare import Fingerprints
from job.plan.plan import ADOPT, DECIDED, TRAIN, Plan

_SLICE = 65_536
"""Outcomes whose data is looked at at a time."""
_RANKED = [TRAINED, SCORED, UNCHANGED, SKIPPED, FAILED]
"""Which status goes before which."""


def settle(plan: Plan, outcomes: pa.Table, adopted: pa.Table, fingerprints: Fingerprints) -> pa.Table:
    """One outcome for each key that was to be trained or adopted, by a fixed rule.

    Only outcomes of exactly what was planned count (data, recipe and environment agree). Of several, trained goes
    before unchanged before skipped before failed, then the lowest digest: whichever attempt of whichever driver wrote
    it.

    Parameters
    ----------
    plan
        What was to be done.
    outcomes
        All segments of this run, `SCHEMA`.
    adopted
        Trained outcomes of runs that did not finish, `SCHEMA`.

    Raises
    ------
    AccountingError
        A planned key has no outcome; names the keys.
    """
    wanted = pc.is_in(plan.keys["action"].cast(pa.string()), value_set=pa.array([TRAIN, ADOPT, DECIDED]))
    due = plan.keys.select(["key", "data"])
    due = due if pc.all(wanted).as_py() else due.filter(wanted)
    adopted = adopted.set_column(
        SCHEMA.get_field_index("adopted"), "adopted", pa.array([True] * adopted.num_rows, pa.bool_())
    )
    every = pa.concat_tables([each for each in (outcomes, adopted) if each.num_rows] or [outcomes]).unify_dictionaries()
    at = pc.index_in(every["key"], value_set=whole(due["key"]))
    at = whole(at)
    fits = pc.and_(
        _same(every["data"], whole(due["data"]), at),
        pc.and_(
            pc.equal(every["recipe"], fingerprints.recipe), pc.equal(every["environment"], fingerprints.environment)
        ),
    )
    # Row numbers are filtered and sorted, and the rows taken once: a million of them are half a gigabyte a copy. The
    # place of a key in the plan, whose keys ascend, stands for the key.
    # In one piece: Arrow 25 crashes on a column of no piece, which is what a run has that trained nothing.
    rows = pc.indices_nonzero(whole(fits))
    ranked = pa.table(
        {
            "at": at.take(rows),
            "rank": pc.index_in(every["status"].take(rows).cast(pa.string()), value_set=pa.array(_RANKED)),
            "adopted": every["adopted"].take(rows),
            "digest": every["digest"].take(rows),
        }
    )
    order = pc.sort_indices(
        ranked,
        sort_keys=[("at", "ascending"), ("rank", "ascending"), ("adopted", "ascending"), ("digest", "ascending")],
    )
    places = ranked["at"].take(order).to_numpy()
    first = np.flatnonzero(np.append(True, places[1:] != places[:-1])[: len(places)])
    settled = every.take(rows.take(order.take(pa.array(first))))
    if settled.num_rows != due.num_rows:
        have = whole(settled["key"])
        missing = due["key"].filter(pc.invert(pc.is_in(due["key"], value_set=have))).to_pylist()
        shown = ", ".join(repr(key) for key in missing[:10]) + (" …" if len(missing) > 10 else "")
        raise AccountingError(
            f"{len(missing)} planned partitions have no outcome: {shown}",
            hint="Nothing was published. Run again: what is finished is taken over. If it happens again, report it.",
        )
    # A driver that was started again finds its first life's segments among its own: what was planned as taken over is.
    taken = plan.keys["key"].filter(pc.equal(plan.keys["action"], ADOPT))
    return settled.set_column(
        SCHEMA.get_field_index("adopted"), "adopted", pc.is_in(settled["key"], value_set=whole(taken))
    )


def _same(data: pa.ChunkedArray, planned: pa.Array, at: pa.Array) -> pa.ChunkedArray:
    """Whether each outcome is of the data that its key was planned with; ``at`` is the place of its key in the plan."""
    found = []
    for begin in range(0, len(at), _SLICE):
        place = at.slice(begin, _SLICE)
        expected = digest_letters(planned.take(pc.fill_null(place, 0))) if len(planned) else pa.nulls(len(place))
        same = pc.fill_null(pc.equal(whole(data.slice(begin, _SLICE)), expected), False)
        found.append(pc.and_(same, pc.is_valid(place)))
    return pa.chunked_array(found, pa.bool_())
