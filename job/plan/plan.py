"""The plan: which keys are trained and which are not, with the reason for each. Pure.

A plan consists of Arrow tables, and is complete before anything runs. Each key takes about 300 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import digest_column, digest_letters, give_back, whole
from job.plan.compare import CODE, WHY, Fingerprints, compare
from job.plan.fingerprint import data_fingerprint
from job.plan.packing import BASE_COST, COST_PER_BYTE
from job.plan.selection import Selected, refuse_unknown, starts

if TYPE_CHECKING:
    from job.plan.spark_read import TableRead
    from job.plan.table_layout import TableLayout

TRAIN, UNCHANGED, SKIP, ADOPT = "train", "unchanged", "skip", "adopt"
DECIDED = "decided"
"""Action of a scoring: the key has no model that may be used, so its outcome is known without a task."""

_ACTIONS = (TRAIN, UNCHANGED, SKIP, ADOPT)
_ACTION_OF = {"unchanged": UNCHANGED, "skipped": SKIP, "finished": ADOPT}
"""The action for these reasons; for all other reasons a key is trained."""

_SLICE = 16_384
"""Number of rows that are converted to Python objects at a time."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The keys of a run, with the action and the reason for each."""

    keys: pa.Table
    """key, action, why, bytes, first and count (of rows of ``objects``), data, content, reading, cost; sorted by key"""
    objects: pa.Table
    """key, name, size, etag, modified; sorted by key and name"""
    gone: pa.Array
    """published keys that a complete listing no longer has"""
    returned: pa.Array
    """planned keys that were marked gone and are in the input again"""
    published: int
    """number of keys in the index"""
    ignored: int
    """number of objects that are not data: markers, hidden files"""
    unmatched: int
    """number of objects that input.match leaves out"""
    complete: bool
    """whether nothing was left out: then each published key is planned or gone"""
    filtered: bool
    """whether a filter on keys was set: then no key is known to be gone"""
    listed_at: datetime
    """the time of the listing, by the store's clock"""
    read: TableRead | None = None
    """how ``spark.read`` reads the input; None if the tasks themselves read it"""
    table: TableLayout | None = None
    """layout ``columns``: the files and pieces that the tasks themselves read"""
    files: pa.Table | None = None
    """layout ``columns``: the table's files in the listing"""

    @property
    def planned(self) -> int:
        """Number of keys."""
        return int(self.keys.num_rows)

    def count(self, action: str) -> int:
        """Number of keys with one action."""
        return int(pc.sum(pc.equal(self.keys["action"], action)).as_py() or 0)

    def with_action(self, action: str) -> pa.Table:
        """The rows of ``keys`` with one action."""
        return self.keys.filter(pc.equal(self.keys["action"], action))

    def due(self) -> np.ndarray:
        """The numbers of the rows of ``keys`` to be trained. (A copy of the rows could be as large as the plan.)"""
        return np.flatnonzero(pc.equal(self.keys["action"], TRAIN).to_numpy()).astype(np.int32)

    def forget_objects(self) -> None:
        """Free the objects of the plan, a third of its memory, after the task lists have been written."""
        object.__setattr__(self, "objects", self.objects.schema.empty_table())
        object.__setattr__(self, "table", None)

    def reasons(self) -> dict[str, int]:
        """Number of keys for each reason of the plan, most frequent first."""
        counts = pc.value_counts(self.keys["why"]).to_pylist()
        return {each["values"]: each["counts"] for each in sorted(counts, key=lambda each: -each["counts"])}


def make(
    selected: Selected,
    index: Iterable[pa.Table],
    finished: pa.Table,
    fingerprints: Fingerprints,
    *,
    listed_at: datetime,
    retrain: Sequence[str] = (),
    mixed: Callable[[pa.Array, pa.Array], pa.Array] = lambda keys, data: data,
) -> Plan:
    """Compare the listed input with the published table: an action and a reason for each key.

    Parameters
    ----------
    selected
        The selected keys and their objects.
    index
        Slices of the published rows, with `job.plan.compare.INDEX_COLUMNS`.
    finished
        Outcomes (key, data, recipe, environment, digest) of runs that did not finish, status trained.
    fingerprints
        The fingerprints of this job's recipe and of the environment.
    listed_at
        The time of the listing, by the store's clock.
    retrain
        Keys that are trained even if nothing has changed (``run.retrain``).
    mixed
        Takes the keys and the fingerprints of their data, and returns one fingerprint for each key. A scoring adds the
        model of the key.

    Raises
    ------
    InputError
        A key of ``run.retrain`` is not planned.
    """
    objects = selected.objects
    runs = starts(objects["key"])
    sizes = objects["size"].to_numpy()
    # If each key has one object, the sizes of objects are those of keys: no second column of a million is needed.
    total = sizes if len(runs.first) == len(sizes) else np.add.reduceat(sizes, runs.first)
    data = mixed(runs.keys, _data_fingerprints(objects, runs.first, runs.count))
    known = compare(runs.keys, data, index, fingerprints)
    why = known.why
    if finished.num_rows:
        taken = _finished(runs.keys, data, finished, fingerprints)
        why[taken & ~np.isin(why, [CODE[each] for each in _ACTION_OF])] = CODE["finished"]
    content = known.content
    if retrain:
        again = _again(runs.keys, retrain)
        why[again] = CODE["retrain"]
        # Without the digest of the published data, the task fits the key even if the data is equal.
        content = pc.if_else(pa.array(~again), content, None)
    action = np.array([_ACTIONS.index(_ACTION_OF.get(each, TRAIN)) for each in WHY], np.int8)[why]
    keys = pa.table(
        {
            "key": runs.keys,
            "action": pa.DictionaryArray.from_arrays(action, list(_ACTIONS)),
            "why": pa.DictionaryArray.from_arrays(why, list(WHY)),
            "bytes": pa.array(total, pa.int64()),
            "first": pa.array(runs.first, pa.int32()),
            "count": pa.array(runs.count, pa.int32()),
            "data": data,
            "content": content,
            "reading": pa.array(known.reading),
            "cost": pa.array(np.maximum(BASE_COST + COST_PER_BYTE * total, known.seconds), pa.float64()),
        }
    )
    gone = _gone(known.absent, selected)
    return Plan(
        keys=keys,
        objects=objects,
        gone=gone,
        returned=known.returned,
        published=known.published,
        ignored=selected.ignored,
        unmatched=selected.unmatched,
        # Keys of objects that input.match leaves out are neither planned nor gone.
        complete=selected.complete and len(gone) == len(known.absent),
        filtered=not selected.complete,
        listed_at=listed_at,
    )


def _again(keys: pa.Array, retrain: Sequence[str]) -> np.ndarray:
    wanted = pa.array(retrain, pa.string())
    refuse_unknown(wanted, keys, "run.retrain")
    found: np.ndarray = pc.is_in(keys, value_set=wanted).to_numpy(zero_copy_only=False)
    return found


def _gone(absent: pa.Array, selected: Selected) -> pa.Array:
    """Those of the published, not planned keys that the input no longer has."""
    if not selected.complete:
        return absent[:0]
    if not len(selected.elsewhere):
        return absent
    return absent.filter(pc.invert(pc.is_in(absent, value_set=selected.elsewhere)))


def _finished(keys: pa.Array, data: pa.Array, finished: pa.Table, fingerprints: Fingerprints) -> np.ndarray:
    """A mask of the keys that an unfinished run has trained with the fingerprints of this plan.

    ``finished`` may hold a key several times, also with other data.
    """
    done = finished.filter(
        pc.and_(
            pc.and_(
                pc.equal(finished["recipe"], fingerprints.recipe),
                pc.equal(finished["environment"], fingerprints.environment),
            ),
            pc.equal(finished["reading"], fingerprints.reading),
        )
    )
    taken = np.zeros(len(keys), bool)
    at = whole(pc.index_in(done["key"], value_set=keys))
    for begin in range(0, len(at), _SLICE):
        part = at.slice(begin, _SLICE)
        planned = pc.is_valid(part)
        place = part.drop_null()
        same = pc.equal(done["data"].slice(begin, _SLICE).filter(planned), digest_letters(data.take(place)))
        taken[place.filter(whole(same)).to_numpy()] = True
    return taken


def _data_fingerprints(objects: pa.Table, first: np.ndarray, count: np.ndarray) -> pa.Array:
    """The fingerprint of the data of each key. It works in slices and writes into one buffer, to save memory."""
    data = bytearray(32 * len(first))
    for begin in range(0, len(first), _SLICE):
        block = slice(begin, begin + _SLICE)
        low = int(first[block][0])
        high = int(first[block][-1] + count[block][-1])
        part = objects.slice(low, high - low)
        rows = list(zip(part["name"].to_pylist(), part["size"].to_pylist(), part["etag"].to_pylist(), strict=True))
        bounds = zip((first[block] - low).tolist(), count[block].tolist(), strict=True)
        found = "".join([data_fingerprint(rows[begins : begins + length]) for begins, length in bounds])
        data[32 * begin : 32 * (begin + len(found) // 64)] = bytes.fromhex(found)
    give_back()
    return digest_column(data)
