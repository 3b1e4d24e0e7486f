"""Forget keys: the ``forget`` command. What is theirs is found, shown, and removed, in an order that can be repeated.

The table first, in one commit, so that nobody new looks; then the record that the key is forgotten; then what others
might take over (segments of runs that did not finish), so that nothing names a model that is gone; then models,
predictions and logs. Each step finds again what is left: after a death in between the command is called again.

Like ``gc`` it holds a notice while it removes (`job.run.notice`), and refuses while a run may be at work.
"""

from __future__ import annotations

import html
import io
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from job.arrow import decode, encode
from job.errors import ConfigurationError, NotFoundError
from job.keys import key_path
from job.outcome import REPEATED
from job.registry import forgetting, forgotten
from job.registry.forgetting import Holding
from job.registry.forgotten import Forgotten, rows_of
from job.registry.index import RETIRE, Index, changes
from job.registry.predictions import Predictions
from job.run.notice import Removal
from job.run.past_runs import Runs
from job.store import LISTING, Store

_MODEL = re.compile(r"[0-9a-f]{64}\.joblib")


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Everything that an output holds of some keys, by the names of objects."""

    keys: tuple[str, ...]
    published: tuple[str, ...]
    """of the keys, those in the current version of the published table"""
    version: int | None
    """of the published table"""
    models: tuple[tuple[str, int], ...]
    """model files of all versions, with their sizes"""
    predictions: tuple[Holding, ...]
    """files of predictions of all versions, and of runs that did not finish"""
    errors: tuple[Holding, ...]
    """files of the errors of predictions"""
    logs: tuple[str, ...]
    """tracebacks, pages and marks: removed"""
    tables: tuple[str, ...]
    """outcomes, lists and results of runs, that name other keys too: written anew"""
    settings: tuple[str, ...]
    """settings of runs that name the key: they stay"""
    known: tuple[str, ...]
    """keys that were forgotten before"""
    at_work: tuple[str, ...]
    """runs that may be at work"""

    @property
    def empty(self) -> bool:
        """Nothing is left of the keys."""
        return not any((self.published, self.models, self.predictions, self.errors, self.logs, self.tables))


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of `forget`."""

    version: int | None
    """of the published table"""
    objects: int
    """removed"""
    rewritten: int
    """objects of runs that were written anew without the keys"""
    asked: str | None
    """the run that began meanwhile and asked to stop; not all is done then"""


def find(store: Store, keys: Iterable[str]) -> Traces:
    """All that lies in an output of some keys; nothing is changed.

    Raises
    ------
    ConfigurationError
        There is no trace of a key, and it was not forgotten either.
    """
    wanted = tuple(sorted(set(keys)))
    index = Index(store)
    published = set(index.read(columns=["key"], keys=wanted)["key"].to_pylist())
    models = {key: _models(store, key) for key in wanted}
    predictions = {key: forgetting.holding(store, forgetting.PREDICTIONS, [key]) for key in wanted}
    errors = forgetting.holding(store, forgetting.ERRORS_TABLE, wanted)
    runs = _of_runs(store, wanted)
    known = tuple(key for key in wanted if forgotten.of(store, key) is not None)
    unknown = [
        key
        for key in wanted
        if not (key in published or models[key] or predictions[key] or key in runs.keys or key in known)
    ]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        raise ConfigurationError(
            f"{store.uri} holds nothing of {shown}",
            hint="`manyfit models OUTPUT` lists the published keys; nothing was removed.",
        )
    return Traces(
        keys=wanted,
        published=tuple(sorted(published)),
        version=index.version(),
        models=tuple(each for key in wanted for each in models[key]),
        predictions=_each_once(each for key in wanted for each in predictions[key]),
        errors=tuple(errors),
        logs=runs.logs,
        tables=runs.tables,
        settings=runs.settings,
        known=known,
        at_work=Runs(store, store.now(), 0.0).alive,
    )


def _each_once(files: Iterable[Holding]) -> tuple[Holding, ...]:
    found: dict[str, Holding] = {}
    for each in files:
        rows = each.rows + (found[each.name].rows if each.name in found else 0)
        found[each.name] = Holding(name=each.name, size=each.size, rows=rows, current=each.current)
    return tuple(found.values())


def forget(store: Store, traces: Traces, *, sealed: Callable[[int | None], object] = lambda version: None) -> Done:
    """Remove what was found.

    Parameters
    ----------
    store
        The output.
    traces
        Of the same output.
    sealed
        Signs a new version.

    Raises
    ------
    ConfigurationError
        A run may be at work: it could put back what is removed.
    """
    with Removal(store) as removal:
        # Again, after the notice: whoever began before it is seen here, and whoever begins after it waits.
        if at_work := Runs(store, store.now(), 0.0).alive:
            raise ConfigurationError(
                f"the run {at_work[0]} may be at work in {store.uri}: nothing was forgotten",
                hint="Wait until it has ended; one that died counts as at work for 10 minutes.",
            )
        keys = traces.keys
        before = {key: forgotten.of(store, key) or Forgotten(version=None) for key in keys}
        parts = frozenset(each.name.removeprefix("predictions/") for each in traces.predictions)
        for key in keys:
            forgotten.put(store, key, Forgotten(version=None, parts=before[key].parts | parts))
        run = f"forget-{store.now():%Y%m%dT%H%M%S}-{random.getrandbits(32):08x}"
        forgetting.take_out(store, keys, run=run)
        version = _unpublish(store, keys, run)
        if traces.published:
            sealed(version)
        for key in keys:
            forgotten.put(store, key, Forgotten(version=version, parts=before[key].parts | parts))
        rewritten = sum(removal.may_go_on() and _rewrite(store, name, keys) for name in traces.tables)
        names = [
            *(name for name, _ in traces.models),
            *(each.name for each in (*traces.predictions, *traces.errors)),
            *traces.logs,
        ]
        objects = removal.remove(names) if rewritten == len(traces.tables) else 0
        return Done(version=version, objects=objects, rewritten=rewritten, asked=removal.asked_by())


def make_good(store: Store) -> None:
    """Take keys out of the published table that were taken out of the predictions, where that died in between."""
    newest = Predictions(store).newest()
    if newest is None or newest.operation != "forget" or newest.run is None:
        return
    index = Index(store)
    if index.released(newest.run) is not None:
        return
    unfinished = [each for each, record in forgotten.every(store).items() if record.version is None]
    if unfinished:
        keys = index.read(columns=["key"])["key"]
        gone = forgotten.holds(keys, unfinished)
        _unpublish(store, keys.filter(pa.array(gone)).to_pylist(), newest.run)


def _unpublish(store: Store, keys: Sequence[str], run: str) -> int | None:
    index = Index(store)
    there = index.read(columns=["key"], keys=keys)["key"].to_pylist()
    if not there:
        return index.version()
    now = store.now()
    rows = changes({"key": key, "listed_at": now, "action": RETIRE} for key in sorted(there))
    return index.forget(rows, run=run).version


def _models(store: Store, key: str) -> list[tuple[str, int]]:
    """Model files of a key; those of keys below it (``a/b`` of ``a``) lie in the same folder, and are not its own."""
    folder = f"models/{key_path(key)}/"
    listing = _list(store, folder)
    names = zip(listing["name"].to_pylist(), listing["size"].to_pylist(), strict=True)
    return [(name, size) for name, size in names if _MODEL.fullmatch(name.removeprefix(folder))]


@dataclass(frozen=True, kw_only=True)
class _OfRuns:
    """What the runs, and the counted keys, hold of some keys."""

    logs: tuple[str, ...]
    tables: tuple[str, ...]
    settings: tuple[str, ...]
    keys: frozenset[str]
    """keys of which something is there; a page alone does not tell, as it is searched for a text"""


def _of_runs(store: Store, keys: Sequence[str]) -> _OfRuns:
    failures = {f"/failures/{key_path(key)}.txt": key for key in keys}
    marks = {forgotten.digest(key): key for key in keys}
    pages = {key: _page_pattern(key) for key in keys}

    def held(name: str) -> set[str]:
        last = name.rpartition("/")[2]
        if "/failures/" in name:
            return {key for path, key in failures.items() if name.endswith(path)}
        if "/marks/" in name:
            return {marks[each] for each in (last.partition("-")[2][:64],) if each in marks}
        if name.endswith((".arrow", ".parquet")):
            table = _table(store, name, ["key"])
            if table is None:
                return set()
            return set(table["key"].cast(pa.string()).filter(pa.array(rows_of(table["key"], keys))).to_pylist())
        if last == "report.html":
            text = bytes(store.get(name)).decode("utf-8", "replace")
            return {key for key in keys if pages[key].search(text)}
        if last in ("run.json", "progress.json", "result.json"):
            return set(keys).intersection(_texts(json.loads(bytes(store.get(name)))))
        return set()

    names = [*_list(store, "runs")["name"].to_pylist(), *_list(store, "keys")["name"].to_pylist()]
    with ThreadPoolExecutor(16) as pool:
        found = [(name, mine) for name, mine in zip(names, pool.map(held, names), strict=True) if mine]
    kinds: dict[str, list[str]] = {"logs": [], "tables": [], "settings": []}
    for name, _ in found:
        last = name.rpartition("/")[2]
        if last == "run.json":
            kinds["settings"].append(name)
        elif last == "result.json" or (name.startswith("runs/") and name.endswith((".arrow", ".parquet"))):
            kinds["tables"].append(name)
        else:
            kinds["logs"].append(name)
    sure = [mine for name, mine in found if not name.endswith(("run.json", "report.html"))]
    lists = {kind: tuple(names) for kind, names in kinds.items()}
    return _OfRuns(**lists, keys=frozenset(key for mine in sure for key in mine))


def _page_pattern(key: str) -> re.Pattern[str]:
    spellings = {key, html.escape(key), json.dumps(key)[1:-1]}
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(spellings)))})(?!\w)")


def _texts(tree: object) -> Iterator[str]:
    """All texts in a document."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _texts(each)


def _table(store: Store, name: str, columns: list[str] | None = None) -> pa.Table | None:
    """A table of a run; None if it has no column with keys."""
    data = store.get(name)
    if name.endswith(".parquet"):
        return pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)
    table = decode(data)
    if "key" not in table.column_names:
        return None
    return table if columns is None else table.select(columns)


def _rewrite(store: Store, name: str, keys: Sequence[str]) -> bool:
    """Put an object of a run again without the keys."""
    if name.endswith(".json"):
        told = json.loads(bytes(store.get(name)))
        told["examples"] = [each for each in told.get("examples", ()) if each["key"] not in keys]
        told["superseded"] = [each for each in told.get("superseded", ()) if each not in keys]
        store.put(name, json.dumps(told, ensure_ascii=False, indent=1).encode())
        return True
    table = _table(store, name)
    assert table is not None
    left = table.filter(pa.array(~rows_of(table["key"], keys)))
    if name.endswith(".parquet"):
        sink = io.BytesIO()
        pq.write_table(left, sink, compression="zstd", use_dictionary=list(REPEATED), store_schema=False)
        store.put(name, sink.getvalue())
    else:
        store.put(name, encode(left))
    return True


def _list(store: Store, prefix: str) -> pa.Table:
    try:
        return store.list(prefix)
    except NotFoundError:
        return LISTING.empty_table()
