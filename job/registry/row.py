"""The published row, what a release may change about it, and the rules by which changes are applied.

`job.run.release_rows` makes a `CHANGES` table, `job.registry.index` has it merged. Pure.

======== =============================================================================================================
action   meaning; every row needs ``key`` and ``listed_at`` (the store's clock when the input was listed)
======== =============================================================================================================
put      a new outcome, all columns given. ``state`` is ``live`` (a new model), ``failed`` or ``skipped`` (no new
         model). A failure over an existing model keeps that model: the row becomes ``stale`` with the new reason and
         message, and everything else still describes the model.
touch    with ``data``: the data is (again) what the row's model was made of, be it a new ETag over equal bytes or a
         stale key whose data went back: ``data, content, source, bytes, recipe, environment`` replace the row's
         where they are given (not null, not ""), and a row with a model is ``live`` again. Without ``data``: the
         key is there, no more (it was gone and is back). A failed row only loses its ``gone_since``. With
         ``content``, the touch is of the model made of it, and refused where that is not the published one any more.
keep     the gate keeps the live model: what the next run compares with (``data, content, source, bytes, recipe,
         environment``) becomes the challenger's, as do the columns of the gate; all else still describes the model.
gone     the complete listing no longer has the key: ``gone_since`` is set unless it is set already; the model stays.
retire   the key leaves the table.
======== =============================================================================================================

A put, keep or touch clears ``gone_since``. Keys that are unchanged and not marked gone are not handed over at all.

An older run never brings back older models: a row is applied only if its ``listed_at`` is not older than the published
row's. `Fences` cover what rows alone cannot tell. A clock that was once ahead must not stop publication for as long:
moments later than `credible` are heeded by nobody.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.errors import AccountingError

LIVE, STALE, FAILED, SKIPPED = "live", "stale", "failed", "skipped"
PUT, KEEP, TOUCH, GONE, RETIRE = "put", "keep", "touch", "gone", "retire"

AHEAD = timedelta(minutes=15)
"""How far the clocks of two machines that publish may be apart; what lies further ahead is a mistake of a clock."""

_TIME = pa.timestamp("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ROW = pa.schema(
    [
        ("key", pa.string()),
        ("state", pa.string()),
        ("digest", pa.string()),
        ("size", pa.int64()),
        ("rows", pa.int64()),
        ("metrics", pa.string()),
        ("warnings", pa.string()),
        ("seconds", pa.float64()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("data", pa.string()),
        ("content", pa.string()),
        ("recipe", pa.string()),
        ("environment", pa.string()),
        ("versions", pa.string()),
        ("source", pa.string()),
        ("bytes", pa.int64()),
        ("run", pa.string()),
        ("trained_at", _TIME),
        ("listed_at", _TIME),
        ("gone_since", _TIME),
        ("estimator", pa.string()),
        ("skill", pa.float64()),
        ("windows", pa.string()),
        ("horizons", pa.string()),
        ("residuals", pa.string()),
        ("until", pa.string()),
        ("judged_until", pa.string()),
        ("gate", pa.string()),
        ("gate_champion", pa.float64()),
        ("gate_challenger", pa.float64()),
        ("gate_gain", pa.float64()),
        ("gate_rows", pa.int64()),
        ("gate_p", pa.float64()),
        ("gate_note", pa.string()),
        ("challenger", pa.string()),
        ("challenger_row", pa.string()),
        ("reading", pa.int64()),
    ]
)
"""One published key. ``digest`` is null when there is no model; ``run`` and ``trained_at`` are those of the model.

``gate`` and what begins with it are of the last comparison; ``challenger`` is the digest of a model that was not
better, ``challenger_row`` the JSON of what its row would say. The columns from ``estimator`` on came after version 0.1
and are null in older rows.
"""

CHANGES = ROW.append(pa.field("action", pa.string())).append(pa.field("against", pa.string()))
"""What `Index.release` takes. ``against``: the row holds only while this is the live model
(`job.outcome.champion_token`)."""

_NEVER_NULL = ("data", "recipe", "environment")
# As dictionaries, a million rows of these take a few megabytes instead of a quarter of a gigabyte.
REPEATED = (
    *("state", "reason", "message", "warnings", "recipe", "environment", "versions", "run", "action"),
    *("estimator", "until", "judged_until", "gate", "gate_note"),
)
TOUCHED = ("data", "content", "source", "recipe", "environment", "reading")
"""Columns that say what a model was made of: a touch and a keep replace them, as they do ``bytes``."""
_GATE = ("gate", "gate_champion", "gate_challenger", "gate_gain", "gate_rows", "gate_p", "gate_note")
_JUDGED = (*_GATE, "judged_until", "challenger", "challenger_row")
"""Columns that a keep replaces beside those of a touch."""


@dataclass(frozen=True, kw_only=True)
class Fences:
    """Limits, in microseconds since the epoch: an older listing changes nothing, whatever the published rows are."""

    everything: int = 0
    """the last complete release, which confirms also the keys that it does not mention, or the last rollback"""
    insertions: int = 0
    """the last retirement: a run that listed before it would put the retired key back"""
    credible: int | None = None
    """the latest moment that rows are believed; None for any"""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Which rows of a release change a version of the table."""

    effective: pa.Table
    """`CHANGES` rows that do"""
    superseded: tuple[str, ...]
    """keys that are refused, sorted; the remaining rows would change nothing"""
    disbelieved: int = 0
    """published rows that were listed by a clock which was ahead, and that the release replaces"""


def changes(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A `CHANGES` table from plain rows; columns that a row does not name are null, its action ``put``."""
    return pa.Table.from_pylist([{"action": PUT, **row} for row in rows], schema=CHANGES)


def checked(rows: pa.Table) -> pa.Table:
    """The rows as `CHANGES`, refused if they cannot be published: that would be a mistake of ours."""
    if "action" not in rows.column_names:
        rows = rows.append_column("action", pa.repeat(pa.scalar(PUT), rows.num_rows))
    rows = pa.table([_column(rows, field) for field in CHANGES], names=CHANGES.names)
    for name in ("key", "listed_at", "action"):
        if rows.column(name).null_count:
            raise AccountingError(f"{rows.column(name).null_count} rows to publish have no {name}")
    if pc.count_distinct(rows.column("key")).as_py() != rows.num_rows:
        counts = pc.value_counts(rows.column("key").combine_chunks())
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
        raise AccountingError(f"{len(twice)} keys occur twice among the rows to publish, for example {twice[0]!r}")
    # Masks alone, column by column: a filtered copy of a million rows would cost half a gigabyte.
    put = pc.equal(rows.column("action"), PUT)
    live = pc.fill_null(pc.equal(rows.column("state"), LIVE), False)
    odd = pc.and_(put, pc.not_equal(live, pc.is_valid(rows.column("digest"))))
    if pc.any(odd).as_py():
        key = rows.column("key").filter(odd)[0]
        raise AccountingError(f"the row to publish of {key} is neither live with a digest nor failed without")
    return rows


def _column(rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in rows.column_names:
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)], field.type)
    column = rows.column(field.name)
    if field.name in REPEATED and column.num_chunks:
        column = column if pa.types.is_dictionary(column.type) else column.cast(field.type).dictionary_encode()
    else:
        column = column.cast(field.type)
    return pc.fill_null(column, "") if field.name in _NEVER_NULL and column.null_count else column


def decide(
    source: pa.Table,
    current: pa.Table,
    fences: Fences,
    models: pa.Table | None = None,
    champions: pa.Table | None = None,
) -> Decision:
    """Compare a release with the published rows: which rows of it are applied, and which are refused.

    Parameters
    ----------
    source
        Checked `CHANGES`.
    current
        Columns ``key``, ``listed_at`` and ``gone_since`` of at least the rows that have one of the source's keys.
    fences
        Of the same version.
    models
        Columns ``key``, ``content``, ``recipe`` and ``environment`` of at least the rows touched with contents.
        Such a touch was made of the model that was published when its run was planned; where another one has been
        published since, it is refused, and the next run looks again.
    champions
        Columns ``key``, ``digest`` and ``judged_until`` of at least the rows whose change was decided against a live
        model (`contested_keys`). Where another model is live by now, or the same one was judged again, the change is
        refused: it would have to be decided anew.
    """
    position = pc.index_in(source.column("key"), value_set=current.column("key"))
    absent = pc.is_null(position)
    published = current.column("listed_at").take(position)
    action, listed = source.column("action"), source.column("listed_at")

    def is_(name: str) -> Any:
        return pc.equal(action, name)

    def before(moment: int) -> Any:
        return pc.less(listed, pa.scalar(moment, pa.int64()).cast(_TIME))

    mistaken = _mistaken(published, fences.credible)
    later = pc.and_(pc.less(listed, published), pc.invert(mistaken))
    older = pc.or_(before(fences.everything), pc.fill_null(later, False))
    needs_row = pc.or_(is_(TOUCH), is_(KEEP))
    misplaced = pc.and_(absent, pc.or_(needs_row, pc.and_(is_(PUT), before(fences.insertions))))
    refused = pc.or_(pc.or_(older, misplaced), _of_another_model(source, models))
    if champions is not None:
        refused = pc.or_(refused, _against_another_model(source, champions))
    marked = pc.and_(is_(GONE), pc.is_valid(current.column("gone_since").take(position)))
    idle = pc.or_(marked, pc.and_(absent, pc.or_(is_(GONE), is_(RETIRE))))
    apply = pc.invert(pc.or_(refused, idle))
    return Decision(
        effective=source if pc.all(apply).as_py() else source.filter(apply),
        superseded=tuple(sorted(source.column("key").filter(refused).to_pylist())),
        disbelieved=pc.sum(pc.and_(apply, mistaken)).as_py() or 0,
    )


def _mistaken(moments: Any, credible: int | None) -> Any:
    """Which moments lie further ahead than clocks may be apart."""
    if credible is None:
        return pc.and_(pc.is_valid(moments), False)
    return pc.fill_null(pc.greater(moments, pa.scalar(credible, pa.int64()).cast(_TIME)), False)


def contested_keys(source: pa.Table) -> list[str]:
    """Keys whose change depends on which model is live (or on there being none)."""
    keys: list[str] = source.column("key").filter(pc.is_valid(source.column("against"))).to_pylist()
    return keys


def tokens(champions: pa.Table) -> pa.ChunkedArray:
    """`job.outcome.champion_token` of each row."""
    judged = pc.fill_null(champions.column("judged_until").cast(pa.string()), "")
    token = pc.binary_join_element_wise(champions.column("digest").cast(pa.string()), judged, "@")
    return pc.fill_null(token, "")


def _against_another_model(source: pa.Table, champions: pa.Table) -> Any:
    position = pc.index_in(source.column("key"), value_set=champions.column("key"))
    live = pc.fill_null(tokens(champions).take(position), "")
    return pc.fill_null(pc.not_equal(source.column("against"), live), False)


def touched_keys(source: pa.Table) -> list[str]:
    """Keys whose touch says what their model was made of."""
    with_content = pc.and_(pc.equal(source.column("action"), TOUCH), pc.is_valid(source.column("content")))
    keys: list[str] = source.column("key").filter(with_content).to_pylist()
    return keys


def _of_another_model(source: pa.Table, models: pa.Table | None) -> Any:
    if models is None or not models.num_rows:
        return pa.scalar(False)
    position = pc.index_in(source.column("key"), value_set=models.column("key"))
    other: Any = pa.scalar(False)
    for name in ("content", "recipe", "environment"):
        given, has = source.column(name).cast(pa.string()), models.column(name).take(position)
        differs = pc.and_(pc.not_equal(given, ""), pc.not_equal(given, has))
        other = pc.or_(other, pc.fill_null(differs, False))
    return pc.and_(other, pc.and_(pc.equal(source.column("action"), TOUCH), pc.is_valid(source.column("content"))))


def latest_credible(now: datetime) -> int:
    """The latest moment, in microseconds since the epoch, that another machine's clock may show."""
    return micros(now + AHEAD)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)  # pa.scalar would import pandas: a second for a rollback


def _not_older(source: pa.Table, published: pa.Table) -> Any:
    return pc.greater_equal(source.column("listed_at"), published.column("listed_at"))


def applied(published: pa.Table, source: pa.Table, credible: int | None = None) -> pa.Table:
    """The published rows after a release. Called after `decide`; compares the listings once more.

    Parameters
    ----------
    published
        Some rows of the table, `ROW`.
    source
        For each of them the effective row with its key; nulls where there is none.
    credible
        As in the `Fences` that it was decided with.
    """
    newer = pc.or_(_not_older(source, published), _mistaken(published.column("listed_at"), credible))

    def where(*conditions: Any) -> Any:
        return functools.reduce(pc.and_, [pc.fill_null(each, False) for each in conditions])

    def given(name: str) -> Any:
        return source.column(name)

    def has(name: str) -> Any:
        return published.column(name)

    def is_(name: str) -> Any:
        return where(newer, pc.equal(given("action"), name))

    modelled = pc.is_valid(has("digest"))
    stale = where(is_(PUT), modelled, pc.not_equal(given("state"), LIVE))
    put = where(is_(PUT), pc.invert(stale))
    keep = where(is_(KEEP), modelled)
    touch, gone = pc.or_(is_(TOUCH), keep), is_(GONE)
    confirmed = where(touch, modelled, pc.not_equal(given("data"), ""))
    # A failed row keeps its empty fingerprints, or it would pass for unchanged.
    described = where(touch, pc.invert(where(pc.equal(has("state"), FAILED))))
    seen = pc.or_(pc.or_(put, stale), touch)

    def column(field: pa.Field) -> Any:
        new, old = given(field.name), has(field.name)
        nothing = pa.scalar(None, field.type)
        if field.name == "listed_at":
            return pc.if_else(pc.or_(seen, gone), new, old)
        if field.name == "gone_since":
            return pc.if_else(seen, nothing, pc.if_else(gone, pc.coalesce(old, given("listed_at")), old))
        if field.name == "state":
            old = pc.if_else(stale, STALE, pc.if_else(confirmed, LIVE, old))
        elif field.name in ("reason", "message"):
            old = pc.if_else(stale, new, pc.if_else(confirmed, nothing, old))
        elif field.name in TOUCHED:
            said = pc.if_else(pc.equal(new, ""), nothing, new) if field.name in _NEVER_NULL else new
            old = pc.if_else(described, pc.coalesce(said, old), old)
        elif field.name in _JUDGED:
            old = pc.if_else(keep, new, old)
        elif field.name == "bytes":
            old = pc.if_else(touch, pc.coalesce(new, old), old)
        return pc.if_else(put, new, old)

    return pa.table([column(field) for field in ROW], schema=ROW).filter(pc.invert(is_(RETIRE)))
