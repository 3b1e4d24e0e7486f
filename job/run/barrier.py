"""The barrier between training and publishing: one outcome per planned key, or an error that names what is missing.

Pure: it gets the outcomes as tables that were read from the store. The values that tasks return are not used, because
a task that died may still have written outcomes.
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
"""Number of outcomes whose fingerprints of data are compared at a time."""
_RANKED = [TRAINED, SCORED, UNCHANGED, SKIPPED, FAILED]
"""Statuses by precedence: of several outcomes of one key, the status that comes first here wins."""


def settle(plan: Plan, outcomes: pa.Table, adopted: pa.Table, fingerprints: Fingerprints) -> pa.Table:
    """One outcome for each key that was to be trained or adopted, by a fixed rule.

    An outcome counts only if its fingerprints of data, recipe and environment are those of the plan. If a key has
    several, the status decides: trained (or scored), unchanged, skipped, failed, in this order. Then an outcome of this
    run goes before an adopted one, and then the lowest digest wins. Which attempt or driver wrote it does not matter.

    Parameters
    ----------
    plan
        The plan of the run.
    outcomes
        The outcomes of all segments of this run, with `SCHEMA`.
    adopted
        Trained outcomes of runs that did not finish, with `SCHEMA`.

    Returns
    -------
    pyarrow.Table
        With `SCHEMA`, one row for each planned key, ordered by key.

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
    # Only row numbers are filtered and sorted, and the rows are copied once at the end: a copy of a million rows takes
    # half a gigabyte. The keys of the plan ascend, so that the position of a key in the plan stands for the key.
    # `whole` makes one chunk: Arrow 25 crashes on a column without chunks, which a run has that trained nothing.
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
    # A driver that was started again finds the segments of its first start among its own. So the plan, not the
    # segment, tells which outcomes were adopted.
    taken = plan.keys["key"].filter(pc.equal(plan.keys["action"], ADOPT))
    return settled.set_column(
        SCHEMA.get_field_index("adopted"), "adopted", pc.is_in(settled["key"], value_set=whole(taken))
    )


def _same(data: pa.ChunkedArray, planned: pa.Array, at: pa.Array) -> pa.ChunkedArray:
    """Whether each outcome has the planned fingerprint of data; ``at`` is the row of its key in the plan."""
    found = []
    for begin in range(0, len(at), _SLICE):
        place = at.slice(begin, _SLICE)
        expected = digest_letters(planned.take(pc.fill_null(place, 0))) if len(planned) else pa.nulls(len(place))
        same = pc.fill_null(pc.equal(whole(data.slice(begin, _SLICE)), expected), False)
        found.append(pc.and_(same, pc.is_valid(place)))
    return pa.chunked_array(found, pa.bool_())
