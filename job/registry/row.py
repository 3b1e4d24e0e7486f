"""The published row, what a release may change about it, and the rules by which changes are applied.

`job.run.release_rows` makes a `CHANGES` table, `job.registry.index` has it merged. Pure.

======== =============================================================================================================
action   meaning; every row needs ``key`` and ``listed_at`` (the store's clock when the input was listed)
======== =============================================================================================================
put      a new outcome, all columns given. ``state`` is ``live`` (a new model), ``failed`` or ``skipped`` (no new
         model). A failure over an existing model keeps that model: the row becomes ``stale`` with the new reason and
         message, and everything else still describes the model.
touch    with ``data``: the data is (again) that of the row's model. Either the ETag is new and the bytes are equal, or
         the data of a stale key is again as it was. Of ``data, content, source, bytes, recipe, environment`` those
         that are not null and not "" replace the row's, and a row with a model is ``live`` again. Without ``data``:
         the key was gone and is back. A failed row only loses its ``gone_since``. With ``content``: refused if the
         published model was not made of this content.
keep     the gate keeps the live model. The columns that the next run compares (``data, content, source, bytes,
         recipe, environment``) and those of the gate become the challenger's; the others still describe the model.
gone     the complete listing no longer has the key: ``gone_since`` is set unless it is set already; the model stays.
retire   the key leaves the table.
======== =============================================================================================================

A put, keep or touch clears ``gone_since``. A release has no row for keys that are unchanged and not marked gone.

An older run never brings back older models: a row is applied only if its ``listed_at`` is not older than that of the
published row. `Fences` do the same for keys without a published row, and for whole versions. A time later than
`Fences.credible` is ignored, so that a clock that was once ahead does not stop publication until that time.
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
"""How much the clocks of two machines that publish may differ. A time that is further ahead is an error of a clock."""

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

``gate`` and the columns whose names begin with it describe the last comparison. ``challenger`` is the digest of a model
that was not better, ``challenger_row`` the JSON of the row that it would get. Rows that version 0.1 has written have
nulls in the columns from ``estimator`` on.
"""

CHANGES = ROW.append(pa.field("action", pa.string())).append(pa.field("against", pa.string()))
"""The rows of `Index.release`. A row with ``against`` is applied only if this is the live model
(`job.outcome.champion_token`)."""

_NEVER_NULL = ("data", "recipe", "environment")
# Dictionary-encoded, a million rows of these columns take a few megabytes instead of a quarter of a gigabyte.
REPEATED = (
    *("state", "reason", "message", "warnings", "recipe", "environment", "versions", "run", "action"),
    *("estimator", "until", "judged_until", "gate", "gate_note"),
)
TOUCHED = ("data", "content", "source", "recipe", "environment", "reading")
"""Columns that describe the data, recipe and environment of a model. A touch and a keep replace them, and ``bytes``."""
_GATE = ("gate", "gate_champion", "gate_challenger", "gate_gain", "gate_rows", "gate_p", "gate_note")
_JUDGED = (*_GATE, "judged_until", "challenger", "challenger_row")
"""Further columns that a keep replaces, and a touch does not."""


@dataclass(frozen=True, kw_only=True)
class Fences:
    """Limits for ``listed_at``, in microseconds since the epoch: rows of an older listing are refused."""

    everything: int = 0
    """limit for all rows: the last complete release (which also confirms keys it has no row for), or last rollback"""
    insertions: int = 0
    """limit for new keys: the last retirement, as a run that listed earlier would insert the retired key again"""
    credible: int | None = None
    """published times that are later than this are ignored; None: none is"""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Which rows of a release change a version of the table."""

    effective: pa.Table
    """the rows that change it, with `CHANGES`"""
    superseded: tuple[str, ...]
    """keys of the refused rows, sorted; all other rows would change nothing"""
    disbelieved: int = 0
    """number of published rows that the release replaces although their ``listed_at`` is later (a clock was ahead)"""


def changes(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Make a `CHANGES` table from dicts. Columns that a row does not name are null; the default action is ``put``."""
    return pa.Table.from_pylist([{"action": PUT, **row} for row in rows], schema=CHANGES)


def checked(rows: pa.Table) -> pa.Table:
    """Cast the rows to `CHANGES`. Raises AccountingError for rows that cannot be published: a bug of manyfit."""
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
    # Only masks of single columns: a filtered copy of a million rows would take half a gigabyte.
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
    """Decide which rows of a release are applied to the published rows, and which are refused.

    Parameters
    ----------
    source
        The rows of the release, as `checked` returns them.
    current
        Published rows with the columns ``key``, ``listed_at`` and ``gone_since``; at least those of the source's keys.
    fences
        The fences of the same version.
    models
        Published rows with the columns ``key``, ``content``, ``recipe`` and ``environment``; at least those that are
        touched with a content. Such a touch refers to the model that was published when its run was planned. If
        another model has been published since, the touch is refused, and the next run compares again.
    champions
        Published rows with the columns ``key``, ``digest`` and ``judged_until``; at least those of `contested_keys`.
        If another model is live by now, or the same model was judged again, the change is refused, because the gate
        would have to decide again.
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
    """A mask of the times that are later than ``credible``."""
    if credible is None:
        return pc.and_(pc.is_valid(moments), False)
    return pc.fill_null(pc.greater(moments, pa.scalar(credible, pa.int64()).cast(_TIME)), False)


def contested_keys(source: pa.Table) -> list[str]:
    """The keys whose change depends on the live model, or on there being none."""
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
    """The keys that are touched with the content of their model."""
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
    """Apply effective rows of a release to published rows. Called after `decide`; it compares ``listed_at`` again.

    Parameters
    ----------
    published
        Some rows of the table, with `ROW`.
    source
        For each of them the effective row with the same key, with `CHANGES`; nulls if there is none.
    credible
        As in the `Fences` of the decision.
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
    # A failed row keeps its empty fingerprints; else the next plan would take the key for unchanged.
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
