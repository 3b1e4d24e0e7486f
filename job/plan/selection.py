"""Selection: turn a listing into keys, and select some of the keys. Pure; tables in, tables out."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import ascending, whole
from job.config.settings import InputSettings
from job.errors import ConfigurationError, InputError
from job.formats import COMPRESSIONS, SUFFIXES
from job.keys import hive_columns, hive_key, suffix
from job.plan import table_marks
from job.plan.globs import pattern

# A regular expression for columns of a million names. tests/support/names.py has the rule for one name.
_HIDDEN = r"(^|/)(\.[^/]*|_[^=/]*)(/|$)|/$|^$|_\$folder\$$"


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The selected keys and their objects."""

    objects: pa.Table
    """key, name, size, etag, modified; sorted by key, then name"""
    ignored: int
    """number of objects that are not data: markers, hidden files"""
    unmatched: int
    """number of objects that input.match leaves out"""
    complete: bool
    """whether no filter on keys was set: then a key that is neither in ``objects`` nor in ``elsewhere`` is gone"""
    elsewhere: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    """keys of objects that input.match leaves out: they are neither planned nor gone"""


def select(listing: pa.Table, settings: InputSettings, seed: int) -> Selected:
    """Select the keys to plan, and their objects.

    Raises
    ------
    InputError
        Two objects have the same key (layout ``objects``), a key of ``input.only`` does not exist, or there is no
        object.
    ConfigurationError
        A path lacks a hive level, or does not match the expression ``input.key``.
    """
    matched, ignored, unmatched = matching(listing, settings)
    if settings.table_files == "refuse":
        table_marks.refuse(listing["name"], matched["name"], settings.uri)
    keyed = matched.append_column("key", _keys(matched["name"], settings))
    if not ascending(keyed["key"]):
        keyed = keyed.take(pc.sort_indices(keyed, sort_keys=[("key", "ascending"), ("name", "ascending")]))
    keyed = keyed.select(["key", "name", "size", "etag", "modified"]).combine_chunks()
    if settings.layout == "objects":
        _refuse_doubles(keyed)
    chosen = choose(starts(keyed["key"]).keys, settings, seed)
    complete = chosen is None
    if chosen is not None:
        keyed = keyed.filter(pc.is_in(keyed["key"], value_set=chosen)).combine_chunks()
        if not keyed.num_rows:
            raise InputError(
                "no key is left after input.include, exclude, only, sample and limit",
                hint=f"There were {len(starts(matched['name']).keys)} objects before; loosen the filters.",
            )
    elsewhere = _keys_elsewhere(listing, matched, settings) if complete and unmatched else pa.array([], pa.string())
    return Selected(objects=keyed, ignored=ignored, unmatched=unmatched, complete=complete, elsewhere=elsewhere)


def of_keys(keys: pa.Array, settings: InputSettings, seed: int) -> Selected:
    """Select keys that have no data, for forecasts. Each key gets an empty object.

    Parameters
    ----------
    keys
        The keys, sorted and unique.

    Raises
    ------
    InputError
        No key is left, or one of ``input.only`` does not exist.
    """
    chosen = choose(keys, settings, seed)
    planned = keys if chosen is None else chosen
    if not len(planned):
        raise InputError("no key is left", hint="The set of models is empty, or the filters in input are too narrow.")
    count = len(planned)
    objects = pa.table(
        {
            "key": planned,
            "name": planned,
            "size": pa.repeat(pa.scalar(0, pa.int64()), count),
            "etag": pa.nulls(count, pa.string()),
            "modified": pa.nulls(count, pa.timestamp("us", "UTC")),
        }
    )
    return Selected(objects=objects, ignored=0, unmatched=0, complete=chosen is None)


def _keys_elsewhere(listing: pa.Table, matched: pa.Table, settings: InputSettings) -> pa.Array:
    """Keys of the objects that input.match leaves out, if they have one: a narrower match must make no key gone."""
    names = listing["name"].filter(pc.invert(pc.is_in(listing["name"], value_set=whole(matched["name"]))))
    if settings.layout == "objects" and settings.key is None:
        return _keys(names, settings)
    keys = []
    for name in names.to_pylist():
        with contextlib.suppress(ConfigurationError):
            keys += _keys(pa.chunked_array([[name]]), settings).to_pylist()
    return pa.array(keys, pa.string())


def matching(listing: pa.Table, settings: InputSettings, *, hidden: bool = False) -> tuple[pa.Table, int, int]:
    """The objects that match ``input.match``, and the numbers of ignored (markers, hidden files) and unmatched objects.

    Parameters
    ----------
    hidden
        Whether hidden files can match, too.

    Raises
    ------
    InputError
        No object is left.
    """
    visible = listing
    if not hidden:
        is_hidden = pc.match_substring_regex(listing["name"], _HIDDEN)
        marks = table_marks.folder_marks(listing["name"], listing["size"])
        if marks:
            is_hidden = pc.or_(is_hidden, pc.is_in(listing["name"], value_set=pa.array(marks, pa.string())))
        # A filter would copy a million names even if it keeps all of them.
        visible = listing.filter(pc.invert(is_hidden)) if pc.any(is_hidden).as_py() else listing
    matched = visible
    if settings.match != ["**"]:
        matched = visible.filter(pc.match_substring_regex(visible["name"], "^" + pattern(settings.match) + "$"))
    ignored, unmatched = listing.num_rows - visible.num_rows, visible.num_rows - matched.num_rows
    if not matched.num_rows:
        raise InputError(
            f"no object to read in {settings.uri}: {listing.num_rows} listed, {ignored} of them hidden or markers, "
            f"{unmatched} not matched by input.match {settings.match}",
            hint="Check input.uri and input.match; globs match the path below input.uri, and only ** crosses '/'.",
        )
    return matched, ignored, unmatched


def _keys(names: pa.ChunkedArray, settings: InputSettings) -> pa.Array:
    if settings.layout == "objects" and settings.key is None:
        stem = pc.replace_substring_regex(names, suffix(COMPRESSIONS), r"\1")
        return whole(pc.replace_substring_regex(stem, suffix(SUFFIXES), r"\1"))
    if settings.layout == "objects":
        return pa.array(_expression_keys(names, str(settings.key)), pa.string())
    return pa.array(_hive_keys(names, settings.keys), pa.string())


def _expression_keys(names: pa.ChunkedArray, expression: str) -> list[str]:
    compiled = re.compile(expression)
    group: str | int = "key" if "key" in compiled.groupindex else 1
    keys = []
    for name in names.to_pylist():
        match = compiled.search(name)
        if match is None or match[group] is None:
            raise ConfigurationError(
                f"input.key {expression!r} does not match the object {name!r}",
                hint="Leave other objects out with input.match, or widen the expression.",
            )
        keys.append(match[group])
    return keys


def _hive_keys(names: pa.ChunkedArray, levels: list[str] | None) -> list[str]:
    cache: dict[str, str] = {}
    keys = []
    for name in names.to_pylist():
        folder = name.rpartition("/")[0]
        key = cache.get(folder)
        if key is None:
            columns = hive_columns(name)
            wanted = levels or list(columns)
            absent = [each for each in wanted if each not in columns]
            if absent or not wanted:
                raise ConfigurationError(
                    f"the object {name!r} has no directory level {absent[0] + '=' if absent else 'k=v'}; "
                    f"it has {', '.join(columns) or 'none'}",
                    hint="Set input.keys to levels that every path has, or leave the object out with input.match.",
                )
            key = cache[folder] = hive_key(columns, wanted)
        keys.append(key)
    return keys


def _refuse_doubles(objects: pa.Table) -> None:
    keys = whole(objects["key"])
    if len(keys) < 2:
        return
    same = pc.equal(keys[1:], keys[:-1])
    if pc.any(same).as_py():
        at = pc.index(same, True).as_py()
        first, second = objects["name"][at].as_py(), objects["name"][at + 1].as_py()
        raise InputError(
            f"two objects have one key {keys[at].as_py()!r}: {first!r} and {second!r}",
            hint="Leave one out with input.match, or tell them apart with input.key, a regular expression on the path.",
        )


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The unique keys of a sorted column, with the first row and the number of rows of each."""

    keys: pa.Array
    first: np.ndarray
    """shape (keys,), int32 like ``count``: more than 2 ** 31 objects do not fit into a driver"""
    count: np.ndarray


def starts(keys: pa.ChunkedArray) -> Runs:
    """Unique values of a sorted string column with their first row and number of rows."""
    array = whole(keys)
    if not len(array):
        return Runs(keys=array, first=np.zeros(0, np.int32), count=np.zeros(0, np.int32))
    new = np.ones(len(array), bool)
    new[1:] = pc.not_equal(array[1:], array[:-1]).to_numpy(zero_copy_only=False)
    first = np.flatnonzero(new).astype(np.int32)
    unique = array if len(first) == len(array) else array.take(pa.array(first))
    return Runs(keys=unique, first=first, count=np.diff(first, append=np.int32(len(array))))


def choose(keys: pa.Array, settings: InputSettings, seed: int) -> pa.Array | None:
    """The keys that include, exclude, only, sample and limit select, sorted; None if none of them is set.

    Raises
    ------
    InputError
        A key of ``input.only`` does not exist; the message names the most similar key.
    """
    if not any((settings.include, settings.exclude, settings.only, settings.sample, settings.limit)):
        return None
    if settings.only:
        wanted = pa.array(settings.only, pa.string())
        refuse_unknown(wanted, keys, "input.only")
        keys = keys.filter(pc.is_in(keys, value_set=wanted))
    if settings.include:
        keys = keys.filter(pc.match_substring_regex(keys, "^" + pattern(settings.include) + "$"))
    if settings.exclude:
        keys = keys.filter(pc.invert(pc.match_substring_regex(keys, "^" + pattern(settings.exclude) + "$")))
    if settings.sample:
        size = round(settings.sample * len(keys)) if settings.sample < 1 else int(settings.sample)
        ranked = sorted(
            keys.to_pylist(), key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "replace")).digest()
        )
        keys = pa.array(sorted(ranked[: max(size, 1)]), pa.string())
    if settings.limit:
        keys = keys[: settings.limit]
    return keys


def refuse_unknown(wanted: pa.Array, keys: pa.Array, setting: str) -> None:
    """Refuse a key that a setting names and the input does not have.

    Raises
    ------
    InputError
        A key does not exist; the hint names the most similar key.
    """
    absent = wanted.filter(pc.invert(pc.is_in(wanted, value_set=keys))).to_pylist()
    if not absent:
        return
    known = keys.to_pylist()[:100_000]
    # The comparison with every key takes a second for each name, and five names show what went wrong.
    near = [difflib.get_close_matches(each, known, n=1) for each in absent[:5]]
    meant = ", ".join(repr(each[0]) for each in near if each)
    more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
    what = "a key that does not exist" if len(absent) == 1 else f"{len(absent):,} keys that do not exist"
    raise InputError(
        f"{setting} names {what}: {', '.join(map(repr, absent[:5]))}{more}",
        hint=f"Did you mean {meant}?" if meant else "`manyfit plan --keys` without it lists the keys.",
    )
